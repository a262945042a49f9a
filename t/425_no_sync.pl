# No standby is left that could confirm commits, while a majority of the voters lives. on_no_sync =
# degrade: writes go on with one copy, loudly, and nobody else is promoted when that copy dies,
# until it is back. on_no_sync = refuse: commits wait.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(standby_coordinator marks events_since counts_of);
use Orchestra::Wait qw(wait_for now);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3, lease_ttl_ms => 1000)->form;
my ($n1, $n2, $n3) = $cluster->nodes;
my $limit = 30;

# The two no longer get WAL; everybody still hears everybody.
sub cut_wal
{
	$cluster->relay->cut('n1', $_, 'pg') for qw(n2 n3);
	$cluster->relay->reset('n1', $_, 'pg') for qw(n2 n3);
	return now();
}

sub rule { return ($_[0]->rows(q(SELECT * FROM orchestra_analysis() WHERE source = 'rules')))[0] }

sub wait_for_sync
{
	my ($k, $nodes) = @_;
	wait_for("k = $k of ($nodes)", sub {
		my $register = $n1->register;
		"$register->{sync_k} @{ $register->{sync_nodes} }" eq "$k $nodes" }, $limit);
	return pass("k = $k of ($nodes)");
}

$n1->safe_psql('postgres', q(SELECT orchestra_set('on_no_sync', 'degrade')));
my $coordinator = standby_coordinator($cluster, $n1);
wait_for_sync(1, 'n2 n3');
my $writer = $cluster->writer('w', patience_ms => 30_000);
$writer->wait_for_acknowledged(300);

# ---- degrade: one copy
my $cut = cut_wal();
$writer->wait_for_acknowledged(300, after => $cut);
cmp_ok($writer->first_after($cut), '<', 10, 'degrade: writes go on by themselves');
note sprintf 'commits %.2f s after the last standby was lost', $writer->first_after($cut);
wait_for_sync(0, '');
is($n1->value('SHOW synchronous_standby_names'), '', 'degrade: PostgreSQL waits for nobody');
for my $node ($n1, $coordinator)
{
	wait_for($node->name . ' finds it', sub {
		my $rule = rule($node);
		$rule->{code} eq 'SyncSetDegraded' && $rule->{action} eq 'detect' }, $limit);
	pass('degrade: a finding on ' . $node->name);
}

# ---- The one copy dies: nobody else has everything.
my $epoch = $n2->register->{epoch};
my $marks = marks($cluster);
my $killed = $n1->kill_all;
my $blocked = wait_for('the failover is blocked', sub {
	(grep { $_->{event} eq 'failover_blocked' } map { events_since($marks, $_) } $n2, $n3)[0]
}, $limit);
is($blocked->{reason}, 'the last commits may be on n1 alone: it is awaited',
	'one copy dies: the failover is blocked');
$cluster->relay->heal;
like(($n2->psql('postgres', q(SELECT orchestra_failover('n3', wait => '2 s'))))[2],
	qr/no failover: not done within 2 s/, 'one copy dies: nor is there one by call');
for my $node ($n2, $n3)
{
	is($node->role, 'STANDBY', 'one copy dies: ' . $node->name . ' stays a standby');
	is($node->value('SELECT pg_is_in_recovery()'), 't', '... in recovery');
}
is($n2->register->{epoch}, $epoch, 'one copy dies: no new epoch');
is(scalar($writer->acknowledged_after($killed)), 0, 'one copy dies: nobody writes');

# ---- It comes back, and the standbys catch up.
$n1->start;
is($cluster->wait_for_primary(seconds => 60)->name, 'n1', 'the copy is back: it is the primary');
$writer->wait_for_acknowledged(300, after => $killed);
wait_for_sync(1, 'n2 n3');
wait_for('the finding is gone', sub { rule($n1)->{code} eq 'NoProblem' }, $limit);
is($writer->stop->verdict($n1, $killed, before => 300, after => 300)->{problem}, '',
	'the copy is back: nothing is lost');

# ---- refuse: commits wait
$n1->safe_psql('postgres', q(SELECT orchestra_set('on_no_sync', 'refuse')));
standby_coordinator($cluster, $n1);
my $patient = $cluster->writer('patient', patience_ms => 60_000);
$patient->wait_for_acknowledged(100);
my $again = marks($cluster);
$cut = cut_wal();
wait_for('status says that commits wait', sub {
	my %status = $n1->status;
	($status{n1}{problem} // '') =~ /synchronous commits wait: 0 of 1 needed of \(n2, n3\)/ }, $limit);
is($n1->register->{sync_k}, 1, 'refuse: k stays');
is(scalar($patient->acknowledged_after($cut)), 0, 'refuse: commits wait');
$cluster->relay->heal;
my $healed = now();
$patient->wait_for_acknowledged(100, after => $healed);
wait_for_sync(1, 'n2 n3');
is($patient->stop->verdict($n1, $cut, before => 100, after => 100)->{problem}, '',
	'refuse: nothing is lost');
is(counts_of($cluster, $again, qw(lease_lost fence_started)), '', 'refuse: no failover');
$cluster->end;
done_testing();
