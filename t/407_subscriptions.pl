# A subscription of a cluster: its publisher, which forgets what it is told of, is told of nothing
# that a failover of the subscriber could lose.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Session;
use Orchestra::Wait qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->append_conf('postgresql.conf', 'max_prepared_transactions = 10');
$publisher->start;
$publisher->safe_psql('postgres',
	'CREATE TABLE p (n int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE p');

my $cluster = Orchestra::Cluster->new(nodes => 3, mode => 'manual', relay => 0,
	lease_ttl_ms => 1000, settings => { max_prepared_transactions => 10 });
my ($n1, $n2, $n3) = $cluster->form->nodes;
$n1->safe_psql('postgres', 'CREATE TABLE p (n int PRIMARY KEY)');
$n1->safe_psql('postgres', 'CREATE SUBSCRIPTION p CONNECTION $$' . $publisher->connstr('postgres')
	  . '$$ PUBLICATION p WITH (two_phase = on)');

sub has { my ($n) = @_; return $n1->value("SELECT count(*) FROM p WHERE n = $n") }

# Where the publisher's WAL ends, to ask later whether it was told of what came then.
sub here { return $publisher->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()') }
sub told
{
	my ($here) = @_;
	return $publisher->safe_psql('postgres',
		"SELECT confirmed_flush_lsn > '$here' FROM pg_replication_slots WHERE slot_name = 'p'") eq 't';
}

# Pid of the subscription's worker, once it is in that wait.
sub worker_in
{
	my ($wait, $not) = @_;
	return wait_for("the worker waits: $wait", sub {
		my $pid = $n1->value('SELECT pid FROM pg_stat_activity WHERE '
			  . "backend_type = 'logical replication worker' AND $wait");
		$pid ne ($not // '') && $pid });
}
my $synced = q(wait_event = 'SyncRep');

sub freeze
{
	my @pids = map { $_->worker('walreceiver') } $n2, $n3;
	kill(STOP => @pids) == 2 or die 'no two WAL receivers';
	return @pids;
}

my $start = here();
$publisher->safe_psql('postgres', 'INSERT INTO p VALUES (1)');
wait_for('the first row', sub { has(1) });
wait_for('the publisher is told', sub { told($start) });
wait_for('two phases are in use', sub {
	$n1->value('SELECT subtwophasestate FROM pg_subscription') eq 'e' });
is($n1->value('SELECT subsynccommit FROM pg_subscription'), 'off',
	'a subscription asks for less, by default');

# ---- no standby confirms

my @frozen = freeze();
my $here = here();
$publisher->safe_psql('postgres', 'INSERT INTO p VALUES (2)');
my $worker = worker_in($synced);
ok(!told($here), 'lifted: the publisher is not told while no standby confirms');
$n1->value("SELECT pg_terminate_backend($worker)");
worker_in($synced, $worker);
is(has(2), 1, 'the wait was ended: committed here');
ok(!told($here), 'and not told of by the next worker either');
kill CONT => @frozen;
wait_for('the publisher is told', sub { told($here) });

# ---- in two phases

$publisher->safe_psql('postgres', q(BEGIN; INSERT INTO p VALUES (3); PREPARE TRANSACTION 'three'));
wait_for('prepared', sub { $n1->value('SELECT count(*) FROM pg_prepared_xacts') });
wait_for('idle', sub {
	told($publisher->safe_psql('postgres', 'SELECT pg_current_wal_lsn() - 1')) });
@frozen = freeze();
$here = here();
$publisher->safe_psql('postgres', q(COMMIT PREPARED 'three'));
worker_in($synced);
ok(!told($here), 'COMMIT PREPARED: not told while no standby confirms');
kill CONT => @frozen;
wait_for('the publisher is told', sub { told($here) });
is(has(3), 1, 'and the row is there');

# ---- the gate is closed

my $session = Orchestra::Session->new($n1);
$session->ask('BEGIN; LOCK TABLE p');
$here = here();
$publisher->safe_psql('postgres', 'INSERT INTO p VALUES (4)');
worker_in(q(wait_event_type = 'Lock'));
my $consensus = $n1->worker('orchestra consensus');
kill STOP => $consensus;
wait_for('the gate closes', sub { $n1->value('SELECT open FROM orchestra_gate()') eq 'f' });
my $log = length $n1->log_text;
$session->ask('ROLLBACK');
# One refused commit, and at least one worker that gets no further than its first transaction.
wait_for('the worker is refused twice', sub {
	(() = substr($n1->log_text, $log) =~ /FATAL:  this node is fenced/g) >= 2 });
is(has(4), 0, 'closed: nothing is applied');
ok(!told($here), 'closed: the publisher is not told');
kill CONT => $consensus;
wait_for('open: applied', sub { has(4) });
wait_for('open: told', sub { told($here) });

unlike($n1->log_text, qr/PANIC|terminated by signal/, 'nothing crashed');
$cluster->end;
$publisher->stop('immediate');
done_testing();
