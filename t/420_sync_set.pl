# The synchronous set under a writer: standbys die, freeze and come back; it shrinks within its own
# time limit and grows when they have caught up; copies and zones. What PostgreSQL enforces is at
# every look within what the register counts on.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(marks counts_of);
use Orchestra::Wait qw(wait_for now);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3, lease_ttl_ms => 1000)->form;
my ($n1, $n2, $n3) = $cluster->nodes;
my $limit = 30;
my $slack = 16 << 20;    # so near a standby may join the set: it confirms nothing that it has not

# ---- Every look at the register compares it with the setting.
my (@outside, $looks);

# What is outside of what: "n3" or "k", or ''. Both are as they were at one moment, or nearly.
sub outside
{
	my ($register) = @_;
	my $setting = $n1->value('SHOW synchronous_standby_names');
	my ($k, $names) = $setting =~ /^ANY (\d+) \((.*)\)$/;
	return $register->{sync_k} > 0 ? "k in '$setting'" : '' unless $k;
	my %counted = map { $_ => 1 } @{ $register->{sync_nodes} };
	return "k in '$setting'" if $k < $register->{sync_k};
	return join ' ', $register->{sync_k} == 0 ? () : grep { !$counted{$_} } $names =~ /"(\w+)"/g;
}

# What this node knows of the register is up to 100 ms old: what is outside is so twice, of the
# same version.
sub look
{
	my $register = $n1->register;
	$looks++;
	my $what = outside($register) or return $register;
	my $since = now();
	wait_for('a later look', sub { now() - $since > 0.3 });
	my $again = $n1->register;
	push @outside, "$register->{version}: $what"
	  if $again->{version} == $register->{version} && outside($again) eq $what;
	return $again;
}

# The set becomes this; returns the seconds that it took.
sub becomes
{
	my ($what, $k, @nodes) = @_;
	my $began = now();
	wait_for("$what: k = $k of (@nodes)", sub {
		my $register = look();
		$register->{sync_k} == $k && "@{ $register->{sync_nodes} }" eq "@nodes" }, $limit);
	my $took = now() - $began;
	pass(sprintf '%s: k = %d of (%s)', $what, $k, "@nodes");
	note sprintf '%s: after %.1f s', $what, $took;
	my $value = $k ? sprintf 'ANY %d (%s)', $k, join ', ', map { qq("$_") } @nodes : '';
	wait_for("$what: PostgreSQL does so", sub {
		$n1->value('SHOW synchronous_standby_names') eq $value }, $limit);
	return $took;
}

sub set
{
	my ($name, $value) = @_;
	$n1->safe_psql('postgres', "SELECT orchestra_set('$name', '$value')");
	return;
}

sub position { my ($node, $function) = @_; return $node->value("SELECT $function - '0/0'::pg_lsn") }

becomes('at first', 1, qw(n2 n3));
my $marks = marks($cluster);
my $begun = now();
my $writer = $cluster->writer('w', patience_ms => 30_000);
$writer->wait_for_acknowledged(200);

# ---- One dies and comes back: nobody waits for it.
my $killed = now();
$n3->kill_all;
cmp_ok(becomes('n3 is killed', 1, 'n2'), '<', 6, 'within its time limit');
$n3->start;
becomes('n3 is back', 1, qw(n2 n3));
my ($longest, $last) = (0, $killed);
for my $at (map { $_->[0] } grep { $_->[0] > $killed } $writer->acknowledged)
{
	$longest = $at - $last if $at - $last > $longest;
	$last = $at;
}
cmp_ok($longest, '<', 2, 'writes never paused');

# ---- One freezes, and has much to catch up when it thaws.
$n3->freeze;
becomes('n3 is frozen', 1, 'n2');
$n1->safe_psql('postgres', q(SELECT pg_logical_emit_message(false, 'fill', repeat('x', 1 << 20))
                               FROM generate_series(1, 48)));
my $goal = position($n1, 'pg_current_wal_flush_lsn()');
$n3->thaw;
my $joined = wait_for('n3 is counted again', sub {
	my $register = look();
	return unless grep { $_ eq 'n3' } @{ $register->{sync_nodes} };
	position($n1, q((SELECT flush_lsn FROM pg_stat_replication
	                  WHERE application_name = 'n3'))) }, $limit);
cmp_ok($joined, '>=', $goal - $slack, 'n3 thaws: counted once it has caught up');
becomes('n3 thaws', 1, qw(n2 n3));

# ---- Two copies.
set('sync_copies', 2);
becomes('two copies', 2, qw(n2 n3));
my $now = now();
$writer->wait_for_acknowledged(50, after => $now);
my ($id) = map { $_->[1] } ($writer->acknowledged)[-1];
wait_for($_->name . ' replays it', sub {
	$_->value("SELECT count(*) FROM writes WHERE id = $id") == 1 }) for $n2, $n3;
my $frozen = now();
$n3->freeze;
becomes('two copies, n3 is frozen', 1, 'n2');
$writer->wait_for_acknowledged(50, after => $frozen + 1);
$n3->thaw;
becomes('two copies, n3 thaws', 2, qw(n2 n3));

# ---- Two at least: refuse, then degrade.
set('min_sync_copies', 2);
$n3->freeze;
wait_for('commits wait', sub {
	look();
	my %status = $n1->status;
	($status{n1}{problem} // '') =~ /synchronous commits wait: 1 of 2 needed/ }, $limit);
is(look()->{sync_k}, 2, 'two at least: k stays');
set('on_no_sync', 'degrade');
becomes('two at least, degrade', 1, 'n2');
wait_for('it is a finding', sub {
	my ($rule) = $n1->rows(q(SELECT * FROM orchestra_analysis() WHERE source = 'rules'));
	$rule->{evidence} =~ /min_sync_copies is 2/ }, $limit);
pass('two at least, degrade: a finding');
$writer->wait_for_acknowledged(50, after => now());
$n3->thaw;
becomes('two at least, n3 thaws', 2, qw(n2 n3));
set('min_sync_copies', 1);
set('sync_copies', 1);
set('on_no_sync', 'refuse');
becomes('one copy again', 1, qw(n2 n3));

# ---- Zones.
isnt($n1->psql('postgres', q(SELECT orchestra_set('sync_zone', 'other'))), 0,
	'another zone is asked for, and there is none');
my %zone = (n1 => 'north', n2 => 'north', n3 => 'south');
$n1->safe_psql('postgres', "SELECT orchestra_set_node('$_', zone => '$zone{$_}')") for keys %zone;
wait_for('every node knows the zones', sub {
	for my $node ($cluster->nodes)
	{
		my %status = $node->status;
		return if grep { ($status{$_}{zone} // '') ne $zone{$_} } keys %zone;
	}
	1 }, $limit);
set('sync_zone', 'other');
becomes('another zone', 1, 'n3');
set('on_no_sync', 'degrade');
$n3->freeze;
becomes('another zone, n3 is frozen', 1, 'n2');
$n3->thaw;
becomes('another zone, n3 thaws', 1, 'n3');
set('sync_zone', 'any');
becomes('any zone', 1, qw(n2 n3));

is(join(', ', @outside), '', 'the setting was within the register');
cmp_ok($looks, '>', 50, 'at each of many looks');
is(counts_of($cluster, $marks, qw(lease_lost fence_started)), '', 'no lease lost, no failover');
is($writer->stop->verdict($n1, $begun, before => 0, after => 2000)->{problem}, '', 'nothing lost');
$cluster->end;
done_testing();
