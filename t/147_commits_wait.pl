# No standby gets WAL any more, while all servers still hear each other: synchronous commits wait,
# status says so, nobody is failed over, and the commits complete when one standby is back.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(standby_coordinator marks counts_of);
use Orchestra::Wait qw(wait_for now);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
my ($n1, $n2, $n3) = $cluster->nodes;
my $coordinator = standby_coordinator($cluster, $n1);
my $epoch = $n1->register->{epoch};
my $writer = $cluster->writer('w', patience_ms => 120_000);
$writer->wait_for_acknowledged(1000);
my $marks = marks($cluster);

for my $name (qw(n2 n3))
{
	$cluster->relay->cut('n1', $name, 'pg');
	$cluster->relay->reset('n1', $name, 'pg');
}
my $cut = now();
wait_for('the coordinator finds that no standby streams', sub {
	my ($rule) = $coordinator->rows(q(SELECT * FROM orchestra_analysis() WHERE source = 'rules'));
	$rule->{code} eq 'AllStandbyNotReplicating' && $rule->{action} eq 'detect' });
pass('found on the coordinator');
for my $node ($n1, $n2, $n3)
{
	my $name = $node->name;
	wait_for("status on $name says that commits wait", sub {
		my %status = $node->status;
		($status{n1}{problem} // '') =~ /synchronous commits wait: 0 of 1 needed of \(n2, n3\)/
		  && !grep { $status{$_}{state} eq 'streaming' } qw(n2 n3) });
	pass("status on $name says that commits wait");
}
wait_for('a commit waits', sub {
	$n1->value(q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep')) == 1 });
is($n1->role, 'MASTER', 'still the primary');
is(scalar($writer->acknowledged_after($cut)), 0, 'nothing is acknowledged meanwhile');

$cluster->relay->heal;
my $healed = now();
$writer->wait_for_acknowledged(500, after => $healed);
my ($waited) = grep { $_->[3] / 1e9 < $healed && $_->[0] > $healed } $writer->acknowledged;
ok($waited, 'the commit that waited is acknowledged');
wait_for('status has no problem any more', sub {
	my %status = $n1->status;
	!defined $status{n1}{problem} });
is($n1->register->{epoch}, $epoch, 'the same epoch');
is(counts_of($cluster, $marks, qw(lease_lost gate_closed fence_started fenced)), '',
	'no lease lost, no failover');
is($writer->stop->verdict($n1, $cut)->{problem}, '', 'nothing lost');
is(scalar($writer->failed), 0, 'no commit failed');
$cluster->end;
done_testing();
