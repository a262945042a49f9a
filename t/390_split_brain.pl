# A standby that somebody promotes by hand, in mode observe: found and told, nothing else happens.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(marks counts_of events_since standby_coordinator);
use Orchestra::Wait qw(wait_for);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3, mode => 'observe')->form;
my ($n1, $n2, $n3) = $cluster->nodes;
my $coordinator = standby_coordinator($cluster, $n1);
my ($promoted) = grep { $_ != $coordinator } $n2, $n3;
my $marks = marks($cluster);

sub finding
{
	my ($node) = @_;
	my ($row) = $node->rows(q(SELECT * FROM orchestra_analysis() WHERE source = 'rules'));
	return $row;
}

is(finding($coordinator)->{code}, 'NoProblem', 'nothing is wrong');
$promoted->safe_psql('postgres', 'SELECT pg_promote()');
my $found = wait_for('every node finds it', sub {
	my @found = map { finding($_) } $n1, $n2, $n3;
	return (grep { $_->{code} ne 'SplitBrain' } @found) ? undef : $found[0] });
is($found->{action}, 'detect', 'found by every node');
like($found->{evidence}, qr/, \Q${\ $promoted->name}\E takes writes too, on timeline 2/,
	'the evidence names the server');
wait_for('the coordinator tells', sub {
	grep { $_->{event} eq 'detected' && $_->{reason} =~ /^SplitBrain: / }
	  events_since($marks, $coordinator) });
pass('the coordinator tells');
is(join(' ', map { $_->role } $n1, $promoted, $coordinator), 'MASTER MASTER STANDBY',
	'nothing is done about it');
is(counts_of($cluster, $marks, qw(fence_started fenced promoting)), '', 'no failover');

$promoted->stop;
wait_for('it is over with the server', sub {
	finding($coordinator)->{code} eq 'StandbyNotReplicating' });
pass('it is over with the server');

$cluster->end;
done_testing();
