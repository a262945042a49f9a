# What a client sees of a failover, and what the workers cost while nothing happens.
#   perl bench/cluster.pl [ROUNDS]     inside tools/stage.sh (make bench)
# Failover: kill -9 of the primary and its children under a writer; seconds until the first commit
# that was asked for afterwards is acknowledged, through a multi-host conninfo. The reference is the
# lease, which no failover may undercut while nobody knows that the primary is dead.
# Idle: CPU seconds of all of orchestra's workers of a node, against one core, over ten seconds.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Wait qw(wait_for now);
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = shift // 3;

sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[ $#sorted / 2 ] }

# CPU seconds that the node's workers have used so far.
sub worker_seconds
{
	my ($node) = @_;
	my $ticks = 0;
	for my $pid ($node->pids)
	{
		open my $cmdline, '<', "/proc/$pid/cmdline" or next;
		next unless (<$cmdline> // '') =~ /: orchestra /;
		open my $stat, '<', "/proc/$pid/stat" or next;
		my @fields = split ' ', (<$stat> // '') =~ s/.*\) //r;
		$ticks += $fields[11] + $fields[12];
	}
	return $ticks / 100;    # USER_HZ
}

sub idle
{
	my ($cluster) = @_;
	my %before = map { $_->name => worker_seconds($_) } $cluster->nodes;
	my $start = now();
	wait_for('ten seconds pass', sub { now() - $start > 10 });
	for my $node ($cluster->nodes)
	{
		note sprintf "idle      %s  %-8s %5.2f %% of a core", $node->name, $node->role,
		  100 * (worker_seconds($node) - $before{ $node->name }) / (now() - $start);
	}
	return;
}

for my $lease_ms (2000, 500)
{
	my @seconds;
	for my $round (1 .. $rounds)
	{
		my $cluster = Orchestra::Cluster->new(nodes => 3,
			settings => { 'orchestra.lease_ttl_ms' => $lease_ms })->form;
		my ($n1) = $cluster->nodes;
		$cluster->coordinator;    # has moved to a standby
		idle($cluster) if $round == 1;
		my $writer = $cluster->writer('w');
		$writer->wait_for_acknowledged(200);
		my $killed = $n1->kill_all;
		$writer->wait_for_acknowledged(100, after => $killed);
		push @seconds, $writer->stop->first_after($killed);
		$cluster->end;
	}
	note sprintf "failover  lease %4d ms  first new commit after %s s, median %.2f s = %.2f leases",
	  $lease_ms, join(' ', map { sprintf '%.2f', $_ } @seconds), median(@seconds),
	  1000 * median(@seconds) / $lease_ms;
}
done_testing() if ok(1, 'measured');
