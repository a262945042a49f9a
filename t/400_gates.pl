# Every statement that makes something durable is refused while the gate is closed, leaves nothing
# behind, and works with the gate open: as superuser, with what may be SET to get round it, with the
# primary cut off from its peers and with its consensus worker stopped.
# negative-control: no_gate
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Session;
use Orchestra::Wait qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;

# In mode manual nobody fails over meanwhile: the gate opens again.
my $cluster = Orchestra::Cluster->new(nodes => 3, mode => 'manual', lease_ttl_ms => 1000,
	settings => { max_prepared_transactions => 20, allow_in_place_tablespaces => 'on',
		lock_timeout => '2s', autovacuum => 'off' });
my ($n1) = $cluster->form->nodes;

# name, statement, setup, what it would leave behind (a value), and whether it may run in a block.
sub relation { my ($name) = @_; return "SELECT relfilenode FROM pg_class WHERE relname = '$name'" }
sub number_in { my ($table) = @_; return "SELECT count(*) FROM $table" }
sub exists_as { my ($name) = @_; return "SELECT count(*) FROM pg_class WHERE relname = '$name'" }
sub large_objects { my ($oid) = @_;
	return "SELECT count(*) FROM pg_largeobject_metadata WHERE oid = $oid" }
my $parallel = $n1->pg_version < 16 ? 'force_parallel_mode' : 'debug_parallel_query';
my $table = sub {
	return "CREATE TABLE $_[0] (n int PRIMARY KEY, w int); INSERT INTO $_[0] VALUES (1, 1)" };
my @rows = (
	[ insert => 'INSERT INTO t_insert VALUES (2)', $table->('t_insert'), number_in('t_insert') ],
	[ update => 'UPDATE t_update SET w = 2', $table->('t_update'), 'SELECT sum(w) FROM t_update' ],
	[ delete => 'DELETE FROM t_delete', $table->('t_delete'), number_in('t_delete') ],
	[ merge => 'MERGE INTO t_merge USING (SELECT 2 AS m) s ON n = m '
		  . 'WHEN NOT MATCHED THEN INSERT VALUES (m)', $table->('t_merge'), number_in('t_merge') ],
	[ with => 'WITH i AS (INSERT INTO t_with VALUES (2) RETURNING n) SELECT n FROM i',
		$table->('t_with'), number_in('t_with') ],
	[ explain => 'EXPLAIN ANALYZE INSERT INTO t_explain VALUES (2)', $table->('t_explain'),
		number_in('t_explain') ],
	[ prepared_statement => 'PREPARE p AS INSERT INTO t_prep VALUES (2); EXECUTE p; DEALLOCATE p',
		$table->('t_prep'), number_in('t_prep') ],
	[ lock_rows => 'SELECT * FROM t_lock FOR UPDATE', $table->('t_lock') ],
	[ truncate => 'TRUNCATE t_truncate', $table->('t_truncate'), number_in('t_truncate') ],
	[ copy => q(COPY t_copy FROM PROGRAM 'printf "2\t2\n"'), $table->('t_copy'),
		number_in('t_copy') ],
	[ begun => 'DELETE FROM t_begun', $table->('t_begun'), number_in('t_begun') ],
	[ unlogged => 'INSERT INTO t_unlogged VALUES (1)', 'CREATE UNLOGGED TABLE t_unlogged (n int)',
		number_in('t_unlogged') ],
	[ function => 'SELECT put(2)', $table->('t_put') . '; CREATE FUNCTION put(int) RETURNS void '
		  . "LANGUAGE sql AS 'INSERT INTO t_put VALUES (\$1)'", number_in('t_put') ],
	[ call => 'CALL put_commit(2)', $table->('t_call')
		  . '; CREATE PROCEDURE put_commit(int) LANGUAGE plpgsql AS '
		  . '$$ BEGIN INSERT INTO t_call VALUES ($1); COMMIT; END $$', number_in('t_call'), 1 ],
	[ do => 'DO $$ BEGIN INSERT INTO t_do VALUES (2); COMMIT; END $$', $table->('t_do'),
		number_in('t_do'), 1 ],
	[ do_set => q(DO $$ BEGIN BEGIN PERFORM set_config('transaction_read_only', 'off', false);
		EXCEPTION WHEN OTHERS THEN NULL; END; INSERT INTO t_set VALUES (2); END $$),
		$table->('t_set'), number_in('t_set') ],
	[ parallel => "SET $parallel = on; CREATE TABLE t_parallel AS "
		  . "SELECT count(*) FROM pg_class; RESET $parallel", '', exists_as('t_parallel') ],
	[ create_table => 'CREATE TABLE t_create (n int)', '', exists_as('t_create') ],
	[ alter_table => 'ALTER TABLE t_alter ADD x int', $table->('t_alter'),
		q(SELECT count(*) FROM pg_attribute WHERE attrelid = 't_alter'::regclass) ],
	[ drop_table => 'DROP TABLE t_drop', $table->('t_drop'), exists_as('t_drop') ],
	[ create_index => 'CREATE INDEX i_create ON t_insert (w)', '', exists_as('i_create') ],
	[ create_index_concurrently => 'CREATE INDEX CONCURRENTLY i_conc ON t_insert (w)', '',
		exists_as('i_conc'), 1 ],
	[ drop_index_concurrently => 'DROP INDEX CONCURRENTLY i_drop', $table->('t_idrop')
		  . '; CREATE INDEX i_drop ON t_idrop (w)', exists_as('i_drop'), 1 ],
	[ detach_concurrently => 'ALTER TABLE t_parts DETACH PARTITION t_part CONCURRENTLY',
		'CREATE TABLE t_parts (n int) PARTITION BY LIST (n); '
		  . 'CREATE TABLE t_part PARTITION OF t_parts FOR VALUES IN (1)',
		'SELECT count(*) FROM pg_inherits', 1 ],
	[ reindex => 'REINDEX TABLE t_reindex', $table->('t_reindex'), relation('t_reindex_pkey') ],
	[ reindex_concurrently => 'REINDEX TABLE CONCURRENTLY t_rconc', $table->('t_rconc'),
		relation('t_rconc_pkey'), 1 ],
	[ cluster => 'CLUSTER t_cluster USING t_cluster_pkey', $table->('t_cluster'),
		relation('t_cluster') ],
	[ vacuum => 'VACUUM t_vacuum', $table->('t_vacuum'),
		q(SELECT relallvisible FROM pg_class WHERE relname = 't_vacuum'), 1 ],
	[ vacuum_full => 'VACUUM FULL t_full', $table->('t_full'), relation('t_full'), 1 ],
	[ analyze => 'ANALYZE t_analyze', $table->('t_analyze'),
		q(SELECT count(*) FROM pg_stats WHERE tablename = 't_analyze') ],
	[ refresh => 'REFRESH MATERIALIZED VIEW v_refresh', $table->('t_refresh')
		  . '; CREATE MATERIALIZED VIEW v_refresh AS SELECT * FROM t_refresh WITH NO DATA',
		q(SELECT relispopulated FROM pg_class WHERE relname = 'v_refresh') ],
	[ grant => 'GRANT SELECT ON t_insert TO app', '', q(SELECT relacl::text FROM pg_class
		WHERE relname = 't_insert') ],
	[ comment => q(COMMENT ON TABLE t_insert IS 'x'), '', 'SELECT count(*) FROM pg_description '
		  . q(WHERE objoid = 't_insert'::regclass) ],
	[ add_value => q(ALTER TYPE color ADD VALUE 'blue'), q(CREATE TYPE color AS ENUM ('red')),
		'SELECT count(*) FROM pg_enum' ],
	[ create_role => 'CREATE ROLE new', '', 'SELECT count(*) FROM pg_roles' ],
	[ role_setting => 'ALTER ROLE app SET work_mem = 1024', '',
		'SELECT count(*) FROM pg_db_role_setting' ],
	[ database_setting => 'ALTER DATABASE d_alter SET work_mem = 1024', 'CREATE DATABASE d_alter',
		'SELECT count(*) FROM pg_db_role_setting' ],
	[ create_database => 'CREATE DATABASE d_create', '', 'SELECT count(*) FROM pg_database '
		  . q(WHERE datname = 'd_create'), 1 ],
	[ drop_database => 'DROP DATABASE d_drop', 'CREATE DATABASE d_drop', 'SELECT count(*) '
		  . q(FROM pg_database WHERE datname = 'd_drop' AND datconnlimit = -1), 1 ],
	[ move_database => 'ALTER DATABASE d_alter SET TABLESPACE s_move',
		q(CREATE TABLESPACE s_move LOCATION ''), 'SELECT dattablespace FROM pg_database '
		  . q(WHERE datname = 'd_alter'), 1 ],
	[ create_tablespace => q(CREATE TABLESPACE s_create LOCATION ''), '',
		q(SELECT count(*) FROM pg_tablespace WHERE spcname = 's_create'), 1 ],
	[ drop_tablespace => 'DROP TABLESPACE s_drop', q(CREATE TABLESPACE s_drop LOCATION ''),
		q(SELECT count(*) FROM pg_tablespace WHERE spcname = 's_drop'), 1 ],
	[ create_subscription => q(CREATE SUBSCRIPTION n CONNECTION 'host=/nowhere' PUBLICATION p
		WITH (connect = false)), '', q(SELECT count(*) FROM pg_subscription WHERE subname = 'n') ],
	[ drop_subscription => 'DROP SUBSCRIPTION s', q(CREATE SUBSCRIPTION s CONNECTION
		'host=/nowhere' PUBLICATION p WITH (connect = false); ALTER SUBSCRIPTION s
		SET (slot_name = NONE)), q(SELECT count(*) FROM pg_subscription WHERE subname = 's') ],
	[ lo_create => 'SELECT lo_create(1001)', '', large_objects(1001) ],
	[ lo_put => q(SELECT lo_put(1002, 0, 'abc')), 'SELECT lo_create(1002)',
		'SELECT length(lo_get(1002))' ],
	[ lo_unlink => 'SELECT lo_unlink(1003)', 'SELECT lo_create(1003)', large_objects(1003) ],
	[ nextval => q(SELECT nextval('s_next')), q(CREATE SEQUENCE s_next; SELECT nextval('s_next')),
		'SELECT last_value FROM s_next' ],
	[ nextval_cached => q(SELECT nextval('s_cache')),
		'CREATE SEQUENCE s_begun; CREATE SEQUENCE s_cache CACHE 10',
		'SELECT is_called FROM s_cache' ],
	[ setval => q(SELECT setval('s_set', 5)), 'CREATE SEQUENCE s_set',
		'SELECT last_value FROM s_set' ],
	[ message => q(SELECT pg_logical_emit_message(true, 'a', 'b')) ],
	[ origin => q(SELECT pg_replication_origin_create('o')), '',
		'SELECT count(*) FROM pg_replication_origin' ],
	[ prepare => q(BEGIN; SELECT lo_create(1004); PREPARE TRANSACTION 'new'), '',
		q(SELECT count(*) FROM pg_prepared_xacts WHERE gid = 'new'), 1 ],
	[ prepare_nothing => q(BEGIN; PREPARE TRANSACTION 'nothing'), '',
		q(SELECT count(*) FROM pg_prepared_xacts WHERE gid = 'nothing'), 1 ],
	[ commit_prepared => q(COMMIT PREPARED 'one'), $table->('t_one')
		  . q(; BEGIN; INSERT INTO t_one VALUES (2); PREPARE TRANSACTION 'one'),
		number_in('t_one'), 1 ],
	[ rollback_prepared => q(ROLLBACK PREPARED 'two'),
		q(BEGIN; SELECT lo_create(1005); PREPARE TRANSACTION 'two'),
		q(SELECT count(*) FROM pg_prepared_xacts WHERE gid = 'two'), 1 ],
	[ notify => 'NOTIFY channel' ],
);
@rows = grep { $_->[0] ne 'merge' } @rows if $n1->pg_version < 15;

# One psql for a whole list of [ name, SQL ]: what each said on standard error.
sub run
{
	my (@list) = @_;
	my $script = join '', map { "\\warn row $_->[0]\n$_->[1];\n" } @list;
	my (undef, undef, $err) = $n1->psql('postgres', $script, on_error_stop => 0,
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	my (undef, %said) = split /^(?:.*?: )?row (\w+)\n/m, $err;
	$said{ $_->[0] } //= 'was not reached' for @list;
	return \%said;
}

sub errors { my ($text) = @_; return join ' ', $text =~ /^.*(?:ERROR|FATAL|PANIC):  (\w{5}):/mg }

# What is there now, by row.
sub left_behind
{
	my @rows = grep { $_->[3] } @rows;
	my $out = $n1->safe_psql('postgres',
		join '', map { "SELECT '$_->[0]', ($_->[3])::text;\n" } @rows);
	return { map { split /\|/, $_, 2 } split /\n/, $out };
}

sub is_open { return $n1->value('SELECT open FROM orchestra_gate()') eq 't' }
sub wait_open { return wait_for('the gate opens', \&is_open) }
sub wait_closed { return wait_for('the gate closes', sub { !is_open() }) }

# Every row, each time after `prefix`; `block`: between BEGIN READ WRITE and COMMIT.
sub all_refused
{
	my ($what, %how) = @_;
	my @list = grep { !$how{block} || !$_->[4] } @rows;
	my ($begin, $end) = $how{block} ? ('BEGIN READ WRITE; ', '; COMMIT') : ($how{prefix} // '', '');
	my $said = run(map { [ $_->[0], "$begin$_->[1]$end" ] } @list);
	my @wrong = grep { errors($said->{ $_->[0] }) !~ /^25006(?: 25P02)*$/ } @list;
	is(join("\n", map { "$_->[0]: $said->{ $_->[0] }" } @wrong), '', "$what: all are refused");
	return scalar @list;
}

$n1->safe_psql('postgres', 'CREATE TABLE t_auto AS SELECT n FROM generate_series(1, 1000) n');
my $said = run(map { [ $_->[0], $_->[2] ] } grep { $_->[2] } @rows);
my $failed = join ' ', map { errors($_) ? $_ : () } values %$said;
is($failed, '', 'setup');
my $before = left_behind();

# Transactions from before: what they wrote is refused at their end.
my @begun = map { [ @$_, Orchestra::Session->new($n1) ] } (
	[ insert => 'INSERT INTO t_begun VALUES (3)', 'COMMIT' ],
	[ ddl => 'CREATE TABLE t_begun_too (n int)', 'COMMIT' ],
	[ nextval => q(SELECT nextval('s_begun')), 'COMMIT' ],
	[ large_object => 'SELECT lo_create(1010)', 'COMMIT' ],
	[ prepare => 'INSERT INTO t_begun VALUES (4)', q(PREPARE TRANSACTION 'begun') ],
	[ cursor => q(DECLARE c CURSOR FOR SELECT nextval('s_set') FROM generate_series(1, 9)),
		'FETCH c' ],
);
for my $begun (@begun)
{
	my (undef, $statement, undef, $session) = @$begun;
	$session->ask("BEGIN; $statement");
}

# ---- cut off from the peers

my $refused = $n1->value('SELECT refused FROM orchestra_gate()');
$cluster->relay->cut('n1', $_, 'peer') for qw(n2 n3);
wait_closed();
$n1->write_settings(autovacuum => 'on', autovacuum_naptime => '1s');
$n1->value('SELECT pg_reload_conf()');
all_refused('closed');
all_refused('SET transaction_read_only', prefix => 'SET transaction_read_only = off; ');
all_refused('settings', prefix => 'SET default_transaction_read_only = off; '
	. 'SET session_replication_role = replica; SET synchronous_commit = off; '
	. 'SET orchestra.enforce_durability = off; ');
all_refused('BEGIN READ WRITE', block => 1);
for my $begun (@begun)
{
	my ($name, undef, $end, $session) = @$begun;
	like($session->ask($end), qr/ERROR:  25006: /, "begun before: $name");
}
cmp_ok($n1->value('SELECT refused FROM orchestra_gate()'), '>', $refused, 'counted');

# pg_notify() is no statement that could be refused; nobody is told of its commit.
my ($status, $out, $err) = $n1->psql('postgres', "SELECT pg_notify('channel', ''); \\echo told");
unlike($out, qr/told/, 'pg_notify: not told');
like($err, qr/connection to server was lost|server closed the connection/, 'pg_notify: dropped');

# Autovacuum is refused like anybody, and tries again.
wait_for('autovacuum is refused', sub {
	$n1->log_text =~ /ERROR:\ \ this\ node\ is\ fenced.*\n.*HINT:.*\n
		.*CONTEXT:\ \ automatic\ analyze\ of\ table\ "postgres.public.t_auto"/x });

# What changes nothing that could be lost goes on.
$said = run(map { [ "row$_->[0]", $_->[1] ] } (
	[ 1 => 'SELECT count(*) FROM t_insert' ], [ 2 => 'LISTEN channel' ], [ 3 => 'CHECKPOINT' ],
	[ 4 => 'SELECT pg_current_xact_id()' ], [ 5 => 'SET work_mem = 1024' ],
	[ 6 => 'COPY t_insert TO PROGRAM \'cat >/dev/null\'' ], [ 7 => 'SELECT pg_switch_wal()' ],
	[ 8 => 'BEGIN; LOCK t_insert IN SHARE MODE; COMMIT' ]));
is(join('', map { errors($_) } values %$said), '', 'what a closed gate lets through');
$cluster->relay->heal;
wait_open();
is_deeply(left_behind(), $before, 'nothing is left behind');

# ---- the consensus worker is stopped: the gate closes by the clock

my $worker = $n1->worker('orchestra consensus');
kill STOP => $worker;
wait_closed();
all_refused('by the clock');
all_refused('by the clock, BEGIN READ WRITE', block => 1);
kill CONT => $worker;
wait_open();
is_deeply(left_behind(), $before, 'by the clock: nothing is left behind');

# ---- the same statements with the gate open

$said = run(@rows);
is(join("\n", map { errors($said->{ $_->[0] }) ? "$_->[0]: $said->{ $_->[0] }" : () } @rows), '',
	'open: all are done');
my $after = left_behind();
my @same = map { $before->{$_} eq $after->{$_} ? "$_: $before->{$_}" : () } sort keys %$before;
is("@same", '', 'open: each leaves something behind');
is($n1->psql('postgres', "SELECT pg_notify('channel', '')"), 0, 'open: pg_notify');
# A sequence hands out no value twice, however often it was refused.
is($n1->value(q(SELECT nextval('s_next') > 2)), 't', 'a sequence goes on');

wait_for('open: autovacuum', sub { $n1->value(
	q(SELECT autoanalyze_count > 0 FROM pg_stat_user_tables WHERE relname = 't_auto')) eq 't' });

unlike($n1->log_text, qr/PANIC|terminated by signal/, 'nothing crashed');
$cluster->end;
done_testing();
