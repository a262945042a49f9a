# The network swallows what the primary says, or what it should hear: it loses its lease, because
# only an answer to its own question renews it.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Partition qw(cut_off_primary);
use Test::More;

for my $case ([ 'mute', 'n1>n2', 'n1>n3' ], [ 'deaf', 'n2>n1', 'n3>n1' ])
{
	my ($what, @ways) = @$case;
	my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
	cut_off_primary($what, $cluster, silent => 1,
		cut => sub { $cluster->relay->cut($_) for @ways },
		heal => sub { $cluster->relay->heal });
	$cluster->end;
}

done_testing();
