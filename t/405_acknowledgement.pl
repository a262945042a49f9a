# No client is told of a commit that too few standbys hold: not when PostgreSQL's wait for them is
# cancelled, terminated, or ended by a reload or a shutdown; and whoever asks for less than the
# cluster needs waits all the same. The standbys' WAL receivers are frozen meanwhile: all servers
# hear each other, the lease is held, and no standby confirms anything.
# negative-control: no_gate
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Session;
use Orchestra::Wait qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3, mode => 'manual', relay => 0,
	lease_ttl_ms => 6000, settings => { max_prepared_transactions => 20 });
my ($n1, $n2, $n3) = $cluster->form->nodes;
$n1->safe_psql('postgres', $_) for
  'CREATE TABLE t (what text PRIMARY KEY)', 'CREATE SEQUENCE s', 'CREATE DATABASE weak',
  'CREATE ROLE weak LOGIN SUPERUSER',
  'CREATE PROCEDURE put(text) LANGUAGE plpgsql AS $$ BEGIN '
  . 'INSERT INTO t VALUES ($1); COMMIT; PERFORM 1; END $$';
$n1->safe_psql('weak', 'CREATE TABLE t (what text PRIMARY KEY)');

sub receivers { return map { $_->worker('walreceiver') } $n2, $n3 }
sub freeze
{
	my @pids = receivers();
	kill(STOP => @pids) == 2 or die 'no two WAL receivers';
	return @pids;
}

sub waiting
{
	my ($count) = @_;
	my $pids;
	wait_for("$count commits wait", sub {
		$pids = $n1->value(q(SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity
			WHERE wait_event = 'SyncRep')) // '';
		split(/,/, $pids) == $count });
	return split /,/, $pids;
}

sub gate { return ($n1->rows('SELECT * FROM orchestra_gate()'))[0] }

# What reached the table although nobody was told of it.
sub rows_like
{
	my ($like) = @_;
	return $n1->value("SELECT count(*) FROM t WHERE what LIKE '$like'");
}

# ---- the wait is ended

my @ways = (
	[ plain => "INSERT INTO t VALUES ('%s plain')" ],
	[ block => "BEGIN; INSERT INTO t VALUES ('%s block'); COMMIT" ],
	[ prepare => "BEGIN; INSERT INTO t VALUES ('%s prepare'); PREPARE TRANSACTION '%s prepare'" ],
	[ prepared => "COMMIT PREPARED '%s prepared'",
		"BEGIN; INSERT INTO t VALUES ('%s prepared'); PREPARE TRANSACTION '%s prepared'" ],
	[ undone => "ROLLBACK PREPARED '%s undone'",
		"BEGIN; INSERT INTO t VALUES ('%s undone'); PREPARE TRANSACTION '%s undone'" ],
	[ call => "CALL put('%s call')" ],
	[ do => "DO \$\$ BEGIN INSERT INTO t VALUES ('%s do'); COMMIT; PERFORM 1; END \$\$" ]);

# All ways of committing at once, so that one act ends all of their waits.
sub nobody_is_told
{
	my ($name, $act, %chosen) = @_;
	my @sessions = map {
		my ($way, $commit, $before) = @$_;
		my $session = Orchestra::Session->new($n1);
		$session->ask($before =~ s/%s/$name/gr) if $before;
		[ $way, $commit =~ s/%s/$name/gr, $session ] } @ways;
	my $before = gate();
	my @frozen = freeze();
	$_->[2]->say("$_->[1];\n\\echo told\n") for @sessions;
	my @pids = waiting(scalar @sessions);
	$act->(@pids);
	for (@sessions)
	{
		my ($way, undef, $session) = @$_;
		wait_for("$name, $way: the connection ends", sub {
			$session->text =~ /server closed the connection|connection to server was lost/
			  || $session->text =~ /^told$/m });
		unlike($session->text, qr/^(?:told|COMMIT.*|PREPARE TRANSACTION|CALL|DO|ROLLBACK.*)$/m,
			"$name, $way: nobody is told");
	}
	if (!$chosen{last})
	{
		my $after = gate();
		is($after->{suppressed} - $before->{suppressed}, scalar @sessions, "$name: all are counted");
		is(rows_like("$name %"), 5, "$name: they did commit, as before a crash");
	}
	kill CONT => @frozen;
	return;
}

nobody_is_told('cancel', sub { $n1->value("SELECT pg_cancel_backend($_)") for @_ });
nobody_is_told('terminate', sub { $n1->value("SELECT pg_terminate_backend($_)") for @_ });
# The worker that would put the setting back is stopped, for less than the lease.
my $worker = $n1->worker('orchestra consensus');
nobody_is_told('reload', sub {
	kill STOP => $worker;
	$n1->append_conf('postgresql.auto.conf', "synchronous_standby_names = ''");
	$n1->value('SELECT pg_reload_conf()');
	waiting(0);
	ok(gate()->{open}, 'reload: the lease is held');
	kill CONT => $worker });
wait_for('the setting is put back', sub {
	$n1->value('SHOW synchronous_standby_names') =~ /^ANY 1 / });

# ---- whoever asks for less

my @levels = qw(off local remote_write on remote_apply);
my %by = (
	session => sub { my ($level) = @_;
		return Orchestra::Session->new($n1, "options='-c synchronous_commit=$level'") },
	role => sub { my ($level) = @_;
		$n1->safe_psql('postgres', "ALTER ROLE weak SET synchronous_commit = $level");
		return Orchestra::Session->new($n1, 'user=weak') },
	database => sub { my ($level) = @_;
		$n1->safe_psql('postgres', "ALTER DATABASE weak SET synchronous_commit = $level");
		return Orchestra::Session->new($n1, 'dbname=weak') });
my %session;
for my $by (sort keys %by)
{
	for my $level (@levels)
	{
		my $session = $session{"$by $level"} = $by{$by}->($level);
		$session->ask('SHOW synchronous_commit') =~ /^$level$/m or die "$by: not $level";
	}
}
$n1->safe_psql('postgres', 'ALTER DATABASE weak RESET synchronous_commit');
# In two phases, and where SET LOCAL asks for it.
$session{'prepared'} = Orchestra::Session->new($n1, "options='-c synchronous_commit=off'");
$session{'prepared'}->ask("BEGIN; INSERT INTO t VALUES ('two'); PREPARE TRANSACTION 'two'");
$session{$_} = Orchestra::Session->new($n1) for 'set local', 'nextval';

my $before = gate();
my @frozen = freeze();
for my $name (keys %session)
{
	my $statement = $name eq 'prepared' ? "COMMIT PREPARED 'two'"
	  : $name eq 'set local'
	  ? "BEGIN; SET LOCAL synchronous_commit = off; INSERT INTO t VALUES ('$name'); COMMIT"
	  : $name eq 'nextval' ? q(SELECT nextval('s'))
	  : "INSERT INTO t VALUES ('$name')";
	$session{$name}->say("$statement;\n\\echo told\n");
}
waiting(scalar keys %session);
for my $name (sort keys %session)
{
	unlike($session{$name}->text, qr/^told$/m, "synchronous_commit by $name: waits");
}
is(gate()->{lifted} - $before->{lifted}, 3 * 3 + 2, 'what asked for less is counted');

# A value that was logged ahead, by a transaction that still waits, is handed out at once: it may
# come again, unless its transaction writes too.
is($n1->value(q(SELECT nextval('s'))), 2, 'a prefetched value of a sequence waits for nobody');

# A superuser may allow it; then it is counted, too.
for my $level (qw(off local))
{
	my ($status) = $n1->psql('postgres', "SET orchestra.enforce_durability = off; "
		  . "SET synchronous_commit = $level; INSERT INTO t VALUES ('weak $level')", timeout => 10);
	is($status, 0, "allowed to be weaker: $level does not wait");
}
my $after = gate();
is($after->{weak} - $before->{weak}, 2, 'weak commits are counted');
is($after->{suppressed}, $before->{suppressed}, 'and told');
my ($status, undef, $err) = $n1->psql('postgres',
	'SET ROLE app; SET orchestra.enforce_durability = off');
like($err, qr/permission denied to set parameter/, 'nobody else may allow it');

kill CONT => @frozen;
for my $name (sort keys %session)
{
	wait_for("$name: told", sub {
		my $text = $session{$name}->text;
		$text =~ /^told$/m or die $text });
	my ($by, $level) = split / /, $name;
	next unless $by{$by};
	like($session{$name}->ask('SHOW synchronous_commit'), qr/^$level$/m, "$name: as before");
}
is(gate()->{suppressed}, $before->{suppressed}, 'all are told');

# What asked for less and was allowed to is told while nobody confirms; under writes in parallel
# whoever waited is told always.
my ($prepares, $bad) = (0, '');
{
	my $writer = $cluster->writer('w');
	$writer->wait_for_acknowledged(100);
	for my $i (1 .. 20)
	{
		my ($status, undef, $err) = $n1->psql('postgres',
			"BEGIN; INSERT INTO t VALUES ('busy $i'); PREPARE TRANSACTION 'busy $i';\n"
			  . "COMMIT PREPARED 'busy $i'");
		$status == 0 ? $prepares++ : ($bad = $err);
	}
	$writer->stop;
}
is("$prepares $bad", '20 ', 'a busy server: every PREPARE is told');

# ---- a shutdown

nobody_is_told('shutdown', sub { kill INT => $n1->{_pid} }, last => 1);
unlike($n1->log_text, qr/PANIC|terminated by signal/, 'nothing crashed');
$cluster->end;
done_testing();
