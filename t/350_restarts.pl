# Restarts: all nodes at once by kill -9, and one after the other. The cluster writes again within
# a bound, under the primary that has the most WAL, and nothing is lost. Afterwards a standby is
# the coordinator, and stays so.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(standby_coordinator marks events_since counts_of);
use Orchestra::Wait qw(wait_for now);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
my ($n1, $n2, $n3) = $cluster->nodes;
my @elections = qw(coordinator_elected coordinator_lost);

# Nobody takes the coordinator's place for some seconds, in which clients write.
sub coordinator_stays
{
	my ($what, $primary, $writer) = @_;
	my $coordinator = standby_coordinator($cluster, $primary);
	my ($marks, $began, %seen) = (marks($cluster), now());
	wait_for('some seconds pass', sub {
		$seen{ $_->register->{coordinator} // 'nobody' } = 1 for $cluster->nodes;
		now() > $began + 4 });
	is(join(' ', sort keys %seen), $coordinator->name, "$what: the coordinator stays one standby");
	is(counts_of($cluster, $marks, @elections), '', "$what: no election");
	$writer->wait_for_acknowledged(500, after => $began);
	return $coordinator;
}

sub elections_since
{
	my ($marks) = @_;
	return scalar grep { $_->{event} eq 'coordinator_elected' }
	  map { events_since($marks, $_) } $cluster->nodes;
}

# ---- One after the other, standbys first: no failover, no lease lost.
my $writer = $cluster->writer('w', patience_ms => 5000);
$writer->wait_for_acknowledged(1000);
my $marks = marks($cluster);
my $coordinator = standby_coordinator($cluster, $n1);
my $began = now();
for my $node ((grep { $_ != $coordinator } $n2, $n3), $coordinator)
{
	my $restarted = now();
	$node->restart;
	standby_coordinator($cluster, $n1);
	wait_for('it counts again', sub { @{ $n1->register->{sync_nodes} } == 2 }, 60);
	$writer->wait_for_acknowledged(500, after => $restarted);
}
is(counts_of($cluster, $marks, qw(lease_lost gate_closed fence_started)), '',
	'standbys restarted: no lease lost, no failover');
is($cluster->turns($writer), 'n1', 'standbys restarted: one node acknowledged all of it');
coordinator_stays('standbys restarted', $n1, $writer);

# ---- All at once.
my $epoch = $n1->register->{epoch};
$marks = marks($cluster);
$_->kill_all for $n2, $n3;
my $killed = $n1->kill_all;    # the last one: it has the most WAL
my @order = ($n3, $n1, $n2);
$_->start for @order;
my $primary = $cluster->wait_for_primary(seconds => 60);
$writer->wait_for_acknowledged(500, after => $killed);
my $pause = $writer->first_after($killed);
note sprintf 'all restarted: writes again %.2f s after the last kill, %d elections', $pause,
  elections_since($marks);
is($primary->name, 'n1', 'all restarted: the one with the most WAL is the primary');
cmp_ok($pause, '<', 15, 'all restarted: writes again');
is($writer->verdict($primary, $killed)->{problem}, '', 'all restarted: nothing lost');
coordinator_stays('all restarted', $n1, $writer);
cmp_ok(elections_since($marks), '<=', 4, 'all restarted: few elections');

# ---- The primary itself, as the last one of a rolling restart.
$marks = marks($cluster);
my $stopped = now();
$n1->stop;
my $down = now();
$n1->start;
$primary = $cluster->wait_for_primary(seconds => 60);
$writer->wait_for_acknowledged(500, after => $down);
note sprintf 'the primary restarted: %s writes %.2f s after it was down', $primary->name,
  $writer->first_after($down);
is($writer->stop->verdict($primary, $stopped)->{problem}, '',
	'the primary restarted: nothing lost');
is(join(' ', map { $_->name } grep { $_->role eq 'MASTER' } $cluster->nodes), $primary->name,
	'the primary restarted: one primary');
like($cluster->turns($writer), qr/^n1(?: n[23])?$/, 'the primary restarted: one writer at a time');
is(join(' ', $cluster->passwords_in_logs), '', 'no password in any log');
$cluster->end;
done_testing();
