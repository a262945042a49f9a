# The lease time is changed by a reload on the primary while clients write, to longer and to
# shorter: the register takes it, no lease is lost, and a failover goes by the new one. A reload
# elsewhere changes nothing, and a start with another value only says so.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(marks counts_of standby_coordinator);
use Orchestra::Wait qw(wait_for now);
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
my ($n1, $n2, $n3) = $cluster->nodes;
standby_coordinator($cluster, $n1);
my $writer = $cluster->writer('w');
$writer->wait_for_acknowledged(500);
my $marks = marks($cluster);

sub ttl { my ($node) = @_; return $node->register->{lease_ttl_ms} }

sub problem
{
	my ($node) = @_;
	my %status = $node->status;
	return $status{ $node->name }{problem} // '';
}

sub set_ttl
{
	my ($node, $ttl) = @_;
	$node->write_settings('orchestra.lease_ttl_ms' => $ttl);
	$node->reload;
	return;
}

sub longest_lease_seen
{
	my ($node) = @_;
	my $longest = 0;
	for (1 .. 20)
	{
		my $left = $node->value(q(SELECT lease_ms_left FROM orchestra_status() WHERE name = 'n1'));
		$longest = $left if $left > $longest;
	}
	return $longest;
}

is(ttl($n1), 2000, 'two seconds at first');

# ---- Where no primary runs a reload is no wish.
set_ttl($n2, 7000);
wait_for('n2 has loaded it', sub { $n2->value('SHOW orchestra.lease_ttl_ms') eq '7s' });

for my $ttl (5000, 600, 1000)
{
	my $log = -s $n1->logfile;
	my $began = now();
	set_ttl($n1, $ttl);
	for my $node ($n1, $n2, $n3)
	{
		my $seen = '';
		eval { wait_for('the register', sub { ($seen = ttl($node)) == $ttl }, 30) };
		is($seen, $ttl, "$ttl ms in the register of " . $node->name);
	}
	wait_for('its log tells', sub { slurp_file($n1->logfile, $log) =~
		  /orchestra: setting_changed node=n1 reason="orchestra.lease_ttl_ms=$ttl is in the reg/ });
	$writer->wait_for_acknowledged(500, after => now());
	# Long enough for every grant of before to be over, too.
	$writer->wait_for_acknowledged(1, after => $began + 6);
	is(counts_of($cluster, $marks, qw(lease_lost gate_closed fence_started)), '',
		"$ttl ms: no lease was lost");
	is(problem($n1), '', "$ttl ms: no problem");
	my $longest = longest_lease_seen($n1);
	cmp_ok($longest, '<=', $ttl * 0.8, "$ttl ms: no lease is longer than it may be");
	cmp_ok($longest, '>', $ttl * 0.3, "$ttl ms: nor much shorter");
}
is(join(' ', map { scalar grep { $_->[1] !~ /^$/ } $_->failed } $writer), '0', 'no write failed');

# ---- A failover by the new lease time.
standby_coordinator($cluster, $n1);
my $killed = $n1->kill_all;
my $primary = $cluster->wait_for_primary(not => $n1, seconds => 60);
$writer->wait_for_acknowledged(500, after => $killed);
note sprintf 'with a lease of 1 s: %s says MASTER, first new commit after %.2f s', $primary->name,
  $writer->first_after($killed);
is(ttl($primary), 1000, 'the new primary keeps the lease time');
is($writer->stop->verdict($primary, $killed)->{problem}, '', 'nothing is lost');

# ---- Its own setting differs: it says so, and nothing changes.
my $own = $primary == $n2 ? 7000 : 2000;
wait_for('the new primary tells of its setting', sub { problem($primary) =~
	  /orchestra.lease_ttl_ms is $own here and 1000 in the register, which counts/ });
is(ttl($primary), 1000, 'what counts is the register');
set_ttl($primary, 1000);
wait_for('set as it is', sub { problem($primary) eq '' });
is(counts_of($cluster, $marks, 'setting_refused'), '', 'no wish was refused');
$cluster->end;
done_testing();
