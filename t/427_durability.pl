# A cluster that is created in durability async counts on nobody; it changes to quorum and back
# under a writer, which notices nothing.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(marks counts_of);
use Orchestra::Wait qw(wait_for now);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3, lease_ttl_ms => 1000);
my ($n1, $n2, $n3) = $cluster->nodes;
$cluster->init_primary;
$cluster->add_standby($_) for $n2, $n3;
$n1->safe_psql('postgres', q(SELECT orchestra_create_cluster('{n1,n2,n3}', 'automatic', 'async',
                               lease_ttl_ms => 1000)));
$cluster->wait_for_primary;

# What the register counts on, and PostgreSQL waits for.
sub becomes
{
	my ($durability, $sync, $setting) = @_;
	wait_for("$durability: $sync", sub {
		my $register = $n1->register;
		"$register->{durability} $register->{sync_k} @{ $register->{sync_nodes} }" eq
		  "$durability $sync" && $n1->value('SHOW synchronous_standby_names') eq $setting });
	return pass("$durability: $sync");
}

becomes('async', '0 ', '');
my $marks = marks($cluster);
my $began = now();
my $writer = $cluster->writer('w');
$writer->wait_for_acknowledged(200);
$n1->safe_psql('postgres', q(SELECT orchestra_set('durability', 'quorum')));
becomes('quorum', '1 n2 n3', 'ANY 1 ("n2", "n3")');
$writer->wait_for_acknowledged(200, after => now());
$n1->safe_psql('postgres', q(SELECT orchestra_set('durability', 'async')));
becomes('async', '0 ', '');
$writer->wait_for_acknowledged(200, after => now());
is($writer->stop->verdict($n1, $began, before => 0)->{problem}, '', 'nothing lost');
is(scalar($writer->failed), 0, 'no commit failed');
is(counts_of($cluster, $marks, qw(lease_lost gate_closed fence_started)), '',
	'nor was one held up');
$cluster->end;
done_testing();
