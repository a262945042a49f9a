# Only the primary's consensus worker is frozen: its server goes on, and so does the WAL to its
# standbys. Its gate closes by itself, when the lease that the worker last saw is over.
# negative-control: no_gate
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Partition qw(cut_off_primary);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
my ($n1) = $cluster->nodes;
my $worker = $n1->worker('orchestra consensus');
cut_off_primary('worker', $cluster, silent => 0,
	cut => sub { kill STOP => $worker },
	heal => sub { kill CONT => $worker });

done_testing();
