# What the gates cost.
#   perl bench/gates.pl     inside tools/stage.sh (make bench-gates)
#   PAIRS=50    short runs of pgbench with and without orchestra, of each kind
# Three nodes each, the same server programs: a cluster in durability quorum, and plain PostgreSQL
# with the same synchronous_standby_names; and the same with one node each. Runs alternate (with,
# without, without, with, ...), and who is not measured is stopped meanwhile.
use strict;
use warnings;
use List::Util qw(sum);
use Orchestra::Cluster;
use Orchestra::Wait qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;

my $pairs = $ENV{PAIRS} || 50;
my $calls = 20_000;

# ---- nanoseconds of each gate, on a primary with two standbys

sub gate_times
{
	my ($what, $cluster, @gates) = @_;
	my ($primary) = $cluster->nodes;
	my $write = 'INSERT INTO writes SELECT coalesce(max(id), 0) + 1 FROM writes';
	for my $gate (@gates)
	{
		my $time = "SELECT gate_time('$gate', $calls)";
		my @statements = $gate =~ /^(?:commit|acknowledgement)$/
		  ? ($write, 'BEGIN', $write, $time, 'ROLLBACK') : $time;
		note sprintf '%-28s %-16s %7.1f ns', $what, $gate, $primary->safe_psql('postgres',
			join('', map { "$_;\n" } @statements), connstr => $cluster->client_conninfo);
	}
	return;
}

# ---- pgbench

my $settings = <<'END';
fsync = off
autovacuum = off
checkpoint_timeout = 1h
max_wal_size = 4GB
shared_buffers = 128MB
END

# Primary and standbys of which orchestra knows nothing yet.
sub replicating
{
	my ($nodes, $prefix) = @_;
	my $cluster = Orchestra::Cluster->new(nodes => $nodes, relay => 0, lease_ttl_ms => 60_000,
		names => [ map { "$prefix$_" } 1 .. $nodes ]);
	$cluster->init_primary;
	my ($primary, @standbys) = $cluster->nodes;
	$primary->append_conf('postgresql.conf', $settings);
	$primary->restart;
	$cluster->add_standby($_) for @standbys;
	for my $standby (@standbys)
	{
		$standby->append_conf('postgresql.conf', $settings);
		$standby->restart;
	}
	return $cluster;
}

sub with_orchestra
{
	my ($nodes) = @_;
	my $cluster = replicating($nodes, 'o');
	$cluster->create;
	my ($primary) = $cluster->nodes;
	my $copies = $nodes > 1 ? 1 : 0;
	wait_for('commits wait for standbys', sub { $primary->register->{sync_k} == $copies
		  && @{ $primary->register->{sync_nodes} } == $nodes - 1 });
	return $cluster;
}

sub without
{
	my ($nodes, $names) = @_;
	my $cluster = replicating($nodes, 'p');
	my ($primary) = $cluster->nodes;
	for my $node ($cluster->nodes)
	{
		$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
		$node->append_conf('postgresql.conf', "synchronous_standby_names = '$names'");
		$node->restart;
	}
	wait_for('its standbys stream', sub { $nodes - 1 == $primary->value(
		q(SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum')) });
	return $cluster;
}

# CPU seconds of the server's processes that are dead.
sub cpu
{
	my ($node) = @_;
	my @fields = split ' ', slurp_file("/proc/$node->{_pid}/stat") =~ s/.*\) //r;
	return ($fields[13] + $fields[14]) / 100;    # USER_HZ
}

# Seconds that one transaction takes, and CPU seconds of its session.
sub run
{
	my ($cluster, @options) = @_;
	my ($node) = $cluster->nodes;
	my ($cpu, $processes) = (cpu($node), scalar $node->pids);
	my ($out, $err) = run_command([ 'pgbench', '-n', @options, $node->connstr('bench') ]);
	wait_for('its sessions are gone', sub { $node->pids <= $processes });
	my ($done) = $out =~ m{actually processed: (\d+)} or die "pgbench: $err";
	my ($a_second) = $out =~ /^tps = ([\d.]+)/m;
	return { seconds => 1 / $a_second, cpu => (cpu($node) - $cpu) / $done };
}

# Their geometric mean and what 95 % of such means are within, and their median, which a busy
# machine disturbs less.
sub percent
{
	my (@ratios) = @_;
	my @logs = sort { $a <=> $b } map { log } @ratios;
	my $mean = sum(@logs) / @logs;
	my $deviation = sqrt(sum(map { ($_ - $mean)**2 } @logs) / $#logs);
	my $student = 1.96 + 2.37 / $#logs + 2.8 / $#logs**2;    # to 1 % from 5 degrees of freedom on
	my $half = $student * $deviation / sqrt @logs;
	return sprintf '%+5.1f %% (%+.1f to %+.1f), median %+.1f %%', map { 100 * (exp($_) - 1) }
	  $mean, $mean - $half, $mean + $half, ($logs[ $#logs / 2 ] + $logs[ @logs / 2 ]) / 2;
}

sub in_pairs
{
	my ($what, $with, $without, @options) = @_;
	my %of = (with => $with, without => $without);
	my (%taken, %results);
	my $turn = sub {
		my ($name) = @_;
		$_->freeze for map { $_->nodes } grep { $_ != $of{$name} } values %of;
		my $result = run($of{$name}, @options);
		$_->thaw for grep { $_->{frozen} } map { $_->nodes } values %of;
		return $result };
	$turn->($_) for qw(with without);    # to warm up
	for my $pair (1 .. $pairs)
	{
		my %result = map { $_ => $turn->($_) } $pair % 2 ? qw(with without) : qw(without with);
		for my $kind (qw(seconds cpu))
		{
			push @{ $taken{$kind} }, $result{with}{$kind} / $result{without}{$kind};
			push @{ $results{$_}{$kind} }, $result{$_}{$kind} for qw(with without);
		}
	}
	my $mean = sub { my ($name, $kind) = @_;
		1e6 * sum(@{ $results{$name}{$kind} }) / @{ $results{$name}{$kind} } };
	note sprintf '%-38s %-7s %8.1f us, without %8.1f us: %s', $what,
	  $_ eq 'cpu' ? 'CPU' : 'latency', $mean->('with', $_), $mean->('without', $_),
	  percent(@{ $taken{$_} })
	  for qw(seconds cpu);
	return;
}

for my $nodes (1, 3)
{
	my $with = with_orchestra($nodes);
	my ($primary) = $with->nodes;
	my $names = $primary->value('SHOW synchronous_standby_names');
	my $without = without($nodes, $names =~ s/\bo(\d)/p$1/gr);
	for my $node ($primary, ($without->nodes)[0])
	{
		$node->safe_psql('postgres', 'CREATE DATABASE bench');
		system_or_bail('pgbench', '-iq', '-s', '5', $node->connstr('bench'));
	}
	$primary->safe_psql('postgres', q(CREATE FUNCTION gate_time(text, int) RETURNS float8
		AS 'orchestra_test', 'orchestra_test_gate_time' LANGUAGE C STRICT));
	my $what = $nodes == 1 ? 'one node' : 'quorum, 1 of 2 standbys';
	gate_times($what, $with, 'nothing', 'lease', 'login', 'statement', 'reading commit', 'commit',
		'acknowledgement');
	in_pairs("$what, simple-update", $with, $without, qw(-N -M prepared -t 1000));
	if ($nodes == 1)
	{
		in_pairs("$what, select-only", $with, $without, qw(-S -M prepared -t 10000));
		in_pairs("$what, login each", $with, $without, qw(-S -C -t 100));
	}
	$_->end for $with, $without;
}
done_testing() if ok(1, 'measured');
