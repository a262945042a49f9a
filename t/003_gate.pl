# The gate of commits. The test gives and takes the lease itself, while the consensus worker is
# stopped: what happens at which moment is not left to chance.
use strict;
use warnings;
use Orchestra::Wait qw(wait_for);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('gate');
$node->init;
$node->append_conf('postgresql.conf', <<'EOC');
shared_preload_libraries = 'orchestra'
orchestra.role_port = 0
max_prepared_transactions = 10
autovacuum = off
lock_timeout = 10s
EOC
$node->start;
$node->safe_psql('postgres', <<'EOC');
CREATE FUNCTION lease(ms int) RETURNS void
	AS 'orchestra_test', 'orchestra_test_lease' LANGUAGE C;
CREATE FUNCTION gate_is_open() RETURNS boolean
	AS 'orchestra_test', 'orchestra_test_gate_is_open' LANGUAGE C;
CREATE FUNCTION close_at_commit() RETURNS void
	AS 'orchestra_test', 'orchestra_test_close_at_commit' LANGUAGE C;
CREATE FUNCTION consensus_pid() RETURNS int
	AS 'orchestra_test', 'orchestra_test_consensus_pid' LANGUAGE C;
CREATE TABLE t (n int);
CREATE DATABASE other;
BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'one';
BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION 'two';
EOC

my $hour = 3_600_000;
sub lease { my ($ms) = @_; $node->safe_psql('postgres', "SELECT lease($ms)"); return }
sub rows { return $node->safe_psql('postgres', 'SELECT count(*) FROM t') }

my $fenced = qr/ERROR:  this node is fenced: it holds no lease of the primary role\nHINT:/;
my $read_only = qr/ERROR:  cannot execute .* in a read-only transaction/;

sub refused
{
	my ($statement, $pattern, $what) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $statement);
	like($err, $pattern, $what // $statement);
	return;
}

# Sessions from before: one idle, one in a transaction that has written already, one with a cursor.
my %session = map {
	$_ => $node->background_psql('postgres', on_error_stop => 0, on_error_die => 0)
} qw(idle writing open);
$session{writing}->query('BEGIN; INSERT INTO t VALUES (3)');
$session{open}->query('BEGIN READ WRITE');

my $consensus = $node->safe_psql('postgres', 'SELECT consensus_pid()');
kill STOP => $consensus or die "kill: $!";
lease($hour);
is($node->safe_psql('postgres', 'INSERT INTO t VALUES (4) RETURNING n'), 4, 'a lease: writes');
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), 1, 'and reads');

# ---- without a lease

lease(1);
ok(wait_for('end of the lease',
		sub { $node->safe_psql('postgres', 'SELECT gate_is_open()') eq 'f' }),
	'a lease ends by itself');

refused('INSERT INTO t VALUES (5)', $read_only);    # every statement: 400_gates.pl
refused($_, $fenced) for 'VACUUM t', "COMMIT PREPARED 'one'", 'DROP DATABASE other';
refused("SELECT txid_current(), pg_logical_emit_message(true, 'a', 'b')",
	$fenced, 'a commit that no statement gave away');

$session{writing}->query('COMMIT');
like($session{writing}->{stderr}, $fenced, 'COMMIT of a transaction that wrote before');
$session{open}->query('INSERT INTO t VALUES (6)');
like($session{open}->{stderr}, $read_only, 'a transaction from before');
$session{idle}->query('INSERT INTO t VALUES (7)');
like($session{idle}->{stderr}, $read_only, 'a session from before');

is($node->safe_psql('postgres', 'SHOW transaction_read_only; SELECT count(*) FROM t'), "on\n1",
	'reading works');
is($node->safe_psql('other', 'SELECT 1'), 1, 'DROP DATABASE has not touched it');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), 2,
	'prepared transactions wait');

# ---- the lease ends between commit and acknowledgement: no answer, and the row is there

my $before = rows();
my $nth = 0;
for my $statement (
	'INSERT INTO t VALUES (10)',
	'BEGIN; INSERT INTO t VALUES (11); COMMIT',
	"BEGIN; INSERT INTO t VALUES (12); PREPARE TRANSACTION 'three'",
	"COMMIT PREPARED 'one'",
	'DO $$ BEGIN INSERT INTO t VALUES (13); END $$',
	'DO $$ BEGIN INSERT INTO t VALUES (14); COMMIT; PERFORM 1; END $$')
{
	lease($hour);
	my ($status, $out, $err) = $node->psql('postgres',
		"SELECT close_at_commit() \\gset\n$statement;\n\\echo acknowledged", on_error_stop => 1);
	unlike($out, qr/acknowledged|INSERT|COMMIT|DO/, "no acknowledgement: $statement");
	like($err, qr/connection to server was lost|server closed the connection/, 'but the end');
}
lease($hour);
is(rows(), $before + 5, 'what was committed is there');
is($node->safe_psql('postgres',
		q(SELECT string_agg(gid, ',' ORDER BY gid) FROM pg_prepared_xacts)),
	'three,two', 'and so are prepared transactions');

# The same for a driver that uses the extended protocol.
my $script = $node->basedir . '/extended.sql';
append_to_file($script, "SELECT close_at_commit();\nINSERT INTO t VALUES (20);\n");
$node->command_checks_all(
	[ 'pgbench', '-n', '-t', '1', '-M', 'extended', '-f', $script, 'postgres' ],
	2, [qr{processed: 0/1}], [qr/aborted in command 1 .*backend died/],
	'no acknowledgement: extended protocol');
lease($hour);
is($node->safe_psql('postgres', 'SELECT count(*) FROM t WHERE n = 20'), 1, 'it was committed');

# ---- healed
lease($hour);
is($node->safe_psql('postgres', "COMMIT PREPARED 'two'; INSERT INTO t VALUES (30) RETURNING n"),
	30, 'with a lease again: writes');
$session{idle}->query('INSERT INTO t VALUES (31)');
is($node->safe_psql('postgres', 'SELECT count(*) FROM t WHERE n = 31'), 1, 'old sessions too');
$node->safe_psql('postgres', 'SELECT lease(NULL)');
kill CONT => $consensus;
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal/, 'nothing crashed');
eval { $_->quit } for values %session;
$node->stop;
done_testing();
