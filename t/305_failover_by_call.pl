# A failover by call of a primary that nobody writes to: to the node that was named, asked for on
# another one, and nothing is lost. A call that makes no sense is refused and interrupts nobody.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(standby_coordinator marks counts_of);
use Orchestra::Wait qw(wait_for now);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
my ($n1, $n2, $n3) = $cluster->nodes;
standby_coordinator($cluster, $n1);
my $writer = $cluster->writer('w');
$writer->wait_for_acknowledged(1000);
my $marks = marks($cluster);
for my $case ([ q('n1'), qr/55000: no failover: it is the primary already/ ],
	[ q('n7'), qr/42704: "n7" is no member/ ],
	[ q('n2', wait => '1 month'), qr/22023: wait must be/ ])
{
	my ($status, $out, $err) =
	  $n2->psql('postgres', "\\set VERBOSITY verbose\nSELECT orchestra_failover($case->[0])");
	like($err, $case->[1], "refused: $case->[0]");
}
is(counts_of($cluster, $marks, qw(lease_lost fence_started gate_closed)), '',
	'what is refused interrupts nobody');

$writer->stop;
my $epoch = $n1->register->{epoch};
my $began = now();
# What the primary writes in the last moment, such as the record of this very call, may not be on n3
# yet: then n3 is fed.
my ($status, $text, $err) =
  $n2->psql('postgres', q(SELECT orchestra_failover('n3', wait => '60 s')), timeout => 90);
is($err, '', 'no error');
like($text, qr/^n3 is the primary of epoch \d/, 'the named node is the primary');
note sprintf 'after %.2f s', now() - $began;
wait_for('n3 says MASTER', sub { $n3->role eq 'MASTER' });
isnt($n3->register->{epoch}, $epoch, 'a new epoch');
isnt($n1->role, 'MASTER', 'the former primary is none any more');
my $after = $cluster->writer('after');
$after->wait_for_acknowledged(500);
wait_for('n2 streams from it', sub {
	my %status = $n3->status;
	$status{n2}{state} eq 'streaming' });
is($cluster->turns($writer, $after), 'n1 n3', 'one writer at every moment');
is($writer->verdict($n3, $began, after => 0)->{problem}, '', 'nothing is lost');
is($after->stop->verdict($n3, $began, before => 0)->{problem}, '', 'nor later');
wait_for('it is recorded', sub {
	grep { $_->{failed_node} eq 'n1' && $_->{new_primary} eq 'n3' }
	  $n3->rows('SELECT * FROM orchestra_recoveries()') });
$cluster->end;
done_testing();
