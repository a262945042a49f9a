# The network between the nodes breaks: first only between the coordinator and the primary, which
# must change nothing; then between the primary and everybody else.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Partition qw(cut_off_primary);
use Orchestra::Wait qw(wait_for now);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
my ($n1, $n2, $n3) = $cluster->nodes;

sub only_the_coordinator_is_cut_off
{
	my $coordinator = $cluster->coordinator;
	my $name = $coordinator->name;
	my %before = %{ $n1->register };
	my $writer = $cluster->writer('w');
	$writer->wait_for_acknowledged(1000);

	my $cut = now();
	$cluster->relay->cut('n1', $name);
	# three leases long, and while it is cut
	my $beyond = $cut + 3 * $before{lease_ttl_ms} / 1000;
	$writer->wait_for_acknowledged(500, after => $beyond);
	for my $node ($cluster->nodes)
	{
		is($node->register->{epoch}, $before{epoch}, $node->name . ' knows of no other epoch');
	}
	is($n1->role, 'MASTER', 'the primary is the primary');
	is({ $n1->status }->{n1}{fenced}, undef, 'and not fenced');

	$cluster->relay->heal;
	my $end = $n1->value('SELECT pg_current_wal_flush_lsn()');
	wait_for("$name has received all of it", sub { $coordinator->value(
		"SELECT pg_last_wal_replay_lsn() >= '$end'") eq 't' }, 60);
	$writer->stop;
	is($cluster->turns($writer), 'n1', 'one writer');
	is($writer->verdict($n1, $cut)->{problem}, '', 'nothing lost');
	is($n1->value('SELECT count(*) FROM orchestra_recoveries()'), 0, 'no recovery');
	is(scalar(grep { $_->log_text =~ /orchestra: fenced/ } $cluster->nodes), 0, 'nobody fenced');
	return;
}

only_the_coordinator_is_cut_off();
cut_off_primary('both ways', $cluster, silent => 1,
	cut => sub { $cluster->relay->isolate('n1', 'n2', 'n3') },
	heal => sub { $cluster->relay->heal });

done_testing();
