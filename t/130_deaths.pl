# kill -9 of servers that are not the primary, of two of three, and of all three: writes go on
# wherever they may, nobody commits where they may not, no failover without a dead primary.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(standby_coordinator marks counts_of);
use Orchestra::Wait qw(wait_for now);
use Test::More;

my @failover = qw(fence_started fenced candidate_chosen promoting);
my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
my ($n1, $n2, $n3) = $cluster->nodes;
my $epoch = $n1->register->{epoch};
my $marks = marks($cluster);
my $writer = $cluster->writer('w');
$writer->wait_for_acknowledged(1000);
my $first_fault = now();

# What every case ends with.
sub same_primary
{
	my ($what) = @_;
	is($n1->role, 'MASTER', "$what: the same primary");
	is($n1->register->{epoch}, $epoch, "$what: in the same epoch");
	is(counts_of($cluster, $marks, @failover), '', "$what: no failover");
	return;
}

sub wait_for_finding
{
	my ($node, $code) = @_;
	return wait_for($node->name . " finds $code", sub {
		my ($finding) = $node->rows(q(SELECT * FROM orchestra_analysis() WHERE source = 'rules'));
		return $finding->{code} eq $code ? $finding : undef;
	});
}

# ---- the coordinator, a standby
my $coordinator = standby_coordinator($cluster, $n1);
my ($other) = grep { $_ != $coordinator } $n2, $n3;
my $killed = $coordinator->kill_all;
$writer->wait_for_acknowledged(500, after => $killed);
is($n1->role, 'MASTER', 'coordinator killed: writes go on');
wait_for('the other standby coordinates', sub {
	!grep { ($_->register->{coordinator} // '') ne $other->name } $n1, $other });
pass('coordinator killed: the other standby coordinates');
cmp_ok($writer->first_after($killed), '<', 2, 'coordinator killed: no write waited');
my $finding = wait_for_finding($other, 'StandbyNotReplicating');
wait_for('the log says so', sub {
	counts_of($cluster, $marks, 'detected') =~ /StandbyNotReplicating/ });
is($finding->{action}, 'detect', 'coordinator killed: found as a missing standby');
same_primary('coordinator killed');
$coordinator->start;

# ---- a standby that does not coordinate
$coordinator = standby_coordinator($cluster, $n1);
($other) = grep { $_ != $coordinator } $n2, $n3;
$marks = marks($cluster);
$killed = $other->kill_all;
$finding = wait_for_finding($coordinator, 'StandbyNotReplicating');
like($finding->{evidence}, qr/1 of 2 standbys reachable, 1 of 2 streaming/,
	'standby killed: the evidence counts it');
$writer->wait_for_acknowledged(500, after => $killed);
same_primary('standby killed');
wait_for('status says so', sub {
	my %status = $n1->status;
	$status{ $other->name }{state} eq 'unreachable' });
$other->start;

# ---- both standbys: no majority, no commit
standby_coordinator($cluster, $n1);
$marks = marks($cluster);
$_->kill_all for $n2, $n3;
$killed = now();
my $failed = $writer->failed;
wait_for('the gate closes', sub { $n1->role eq 'FENCED' });
wait_for('writes are refused', sub { $writer->failed > $failed + 2 }, 60);
is(scalar($writer->acknowledged_after($killed)), 0, 'two of three killed: nobody commits');
isnt($n1->psql('postgres', 'INSERT INTO writes VALUES (-1)'), 0,
	'two of three killed: not even the superuser');
wait_for_finding($n1, 'AllNodesUnreachable');
my %status = $n1->status;
is($status{n1}{state}, 'closed', 'two of three killed: status says that the gate is closed');
wait_for('two of three killed: and that no majority is there',
	sub { $n1->register->{reachable_voters} == 1 });
$n2->start;
$writer->wait_for_acknowledged(500, after => now());
is($n1->role, 'MASTER', 'one of them back: the same primary writes');
$n3->start;

# ---- the primary and a standby: the survivor alone does nothing
$coordinator = standby_coordinator($cluster, $n1);
($other) = grep { $_ != $coordinator } $n2, $n3;
$marks = marks($cluster);
$_->kill_all for $n1, $other;
$killed = now();
wait_for_finding($coordinator, 'AllNodesUnreachable');
wait_for('it counts itself alone', sub { $coordinator->register->{reachable_voters} == 1 });
is($coordinator->value('SELECT pg_is_in_recovery()'), 't', 'alone: it stays a standby');
is(counts_of($cluster, $marks, @failover), '', 'alone: it fences and promotes nobody');
is(scalar($writer->acknowledged_after($killed)), 0, 'alone: nobody commits');

# ---- all three; n1 first, since the other two would be a majority without it
$coordinator->kill_all;
$_->start for $n1, $n2, $n3;
my $restarted = now();
is($cluster->wait_for_primary(seconds => 60)->name, 'n1', 'all restarted: the same primary');
$writer->wait_for_acknowledged(500, after => $restarted);
is($n1->register->{primary_node}, 'n1', 'all restarted: by the register');
standby_coordinator($cluster, $n1);
is(join(' ', map { $_->role } $cluster->nodes), 'MASTER STANDBY STANDBY', 'all restarted: one');

my $verdict = $writer->stop->verdict($n1, $first_fault);
is($verdict->{problem}, '', 'nothing lost');
$cluster->end;
done_testing();
