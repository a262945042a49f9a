# What a client sees of a failover, and what a node costs while nothing happens.
#   perl bench/cluster.pl [ROUNDS]     inside tools/stage.sh (make bench); 0: no failovers
# Idle: for ten seconds the CPU of orchestra's processes and of the whole server, against one core;
# then their memory, and what the server has reserved as shared memory. Without the extension, and
# with it in mode observe and automatic.
# Failover: kill -9 of the primary and its children under a writer; seconds until the first commit
# that was asked for afterwards is acknowledged, through a multi-host conninfo. The reference is the
# lease, which no failover may undercut while nobody knows that the primary is dead.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(standby_coordinator);
use Orchestra::Wait qw(wait_for now);
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = shift // 3;

sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[ $#sorted / 2 ] }

sub sum { my $sum = 0; $sum += $_ for @_; return $sum }

# The node's processes: pid => which of orchestra's workers it is; 'sessions', as which the monitors
# of all nodes are logged in here; or ''.
sub processes
{
	my ($node) = @_;
	my %title;
	for my $pid ($node->pids)
	{
		open my $cmdline, '<', "/proc/$pid/cmdline" or next;
		my $text = <$cmdline> // '';
		$title{$pid} = $text =~ /: orchestra (consensus|monitor|probe)/ ? $1
		  : $text =~ /: orchestra / ? 'sessions' : '';
	}
	return %title;
}

sub cpu_seconds
{
	my ($pid) = @_;
	open my $stat, '<', "/proc/$pid/stat" or return 0;
	my @fields = split ' ', (<$stat> // '') =~ s/.*\) //r;
	return ($fields[11] + $fields[12]) / 100;    # USER_HZ
}

# kB of a process: resident; its share of that, where each page counts once however many map it; and
# what it alone has.
sub kilobytes
{
	my ($pid) = @_;
	my %of = (Rss => 0, Pss => 0, Private => 0);
	open my $rollup, '<', "/proc/$pid/smaps_rollup" or return \%of;
	while (my $line = <$rollup>)
	{
		$of{$1} += $2 if $line =~ /^(Rss|Pss|Private)(?:_Clean|_Dirty)?: +(\d+) kB/;
	}
	return \%of;
}

sub idle
{
	my ($what, $node) = @_;
	my %title = processes($node);
	my %before = map { $_ => cpu_seconds($_) } keys %title;
	my $start = now();
	wait_for('ten seconds pass', sub { now() - $start > 10 });
	my $percent = 100 / (now() - $start);
	my %spent = map { $_ => $percent * (cpu_seconds($_) - $before{$_}) } keys %title;
	my %memory = map { $_ => kilobytes($_) } keys %title;
	for my $name (qw(consensus monitor probe sessions server))
	{
		my @pids = grep { $name eq 'server' || $title{$_} eq $name } keys %title or next;
		note sprintf '%-21s %s %-9s  %5.2f %% of a core  RSS %7d kB  PSS %7d kB  private %6d kB',
		  $what, $node->name, $name, sum(@spent{@pids}),
		  map { my $kind = $_; sum(map { $memory{$_}{$kind} } @pids) } qw(Rss Pss Private);
	}
	note sprintf '%-21s %s shared memory: %s', $what, $node->name, $node->value(
		q(SELECT format('%s bytes of orchestra, %s in all',
			coalesce(sum(allocated_size) FILTER (WHERE name = 'orchestra'), 0),
			sum(allocated_size)) FROM pg_shmem_allocations));
	return;
}

# Primary and standbys, of which orchestra knows nothing yet.
sub replicating
{
	my $cluster = Orchestra::Cluster->new(nodes => 3);
	my (undef, @standbys) = $cluster->nodes;
	$cluster->init_primary;
	$cluster->add_standby($_) for @standbys;
	return $cluster;
}

sub formed
{
	my ($mode, $lease_ms) = @_;
	my $cluster = replicating();
	my ($n1) = $cluster->nodes;
	my $names = join ',', map { $_->name } $cluster->nodes;
	$n1->safe_psql('postgres', "SELECT orchestra_create_cluster('{$names}', mode => '$mode',
		lease_ttl_ms => $lease_ms)");
	$cluster->wait_for_primary;
	standby_coordinator($cluster, $n1);
	return $cluster;
}

sub idle_cluster
{
	my ($what, $cluster) = @_;
	my ($n1, $n2, $n3) = $cluster->nodes;
	my ($coordinator) = grep { $what ne 'without' && $_->register->{coordinator} eq $_->name }
	  $n2, $n3;
	idle("$what primary", $n1);
	idle($what . ($coordinator ? ' coordinator' : ' standby'), $coordinator // $n2);
	idle("$what standby", $coordinator == $n2 ? $n3 : $n2) if $coordinator;
	$cluster->end;
	return;
}

my $without = replicating();
for my $node ($without->nodes)
{
	$node->append_conf('postgresql.conf', q(shared_preload_libraries = ''));
	$node->restart;
}
my ($primary) = $without->nodes;
wait_for('two standbys stream', sub { 2 == $primary->value(
	q(SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming')) });
idle_cluster('without', $without);
idle_cluster($_, formed($_, 2000)) for qw(observe automatic);

for my $lease_ms ($rounds ? (2000, 500) : ())
{
	my @seconds;
	for my $round (1 .. $rounds)
	{
		my $cluster = formed('automatic', $lease_ms);
		my ($n1) = $cluster->nodes;
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
