# A backend of the primary dies of SIGSEGV, so that PostgreSQL restarts all of its processes.
# With a lease that outlives this the same primary goes on in the same epoch; with a short one there
# may be a failover. Either way one server writes in the end, and nothing is lost.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(standby_coordinator marks counts_of);
use Orchestra::Wait qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;

sub formed
{
	my ($lease) = @_;
	return Orchestra::Cluster->new(nodes => 3, lease_ttl_ms => $lease)->form;
}

sub crash_while_writing
{
	my ($cluster) = @_;
	my ($n1) = $cluster->nodes;
	standby_coordinator($cluster, $n1);
	my $writer = $cluster->writer('w');
	$writer->wait_for_acknowledged(1000);
	my $crashed = $n1->crash_backend;
	$writer->wait_for_acknowledged(500, after => $crashed);
	return ($writer, $crashed);
}

# ---- a long lease
{
	my $cluster = formed(10000);
	my ($n1) = $cluster->nodes;
	my $epoch = $n1->register->{epoch};
	is($n1->register->{lease_ttl_ms}, 10000, 'the lease is long');
	my $marks = marks($cluster);
	my ($writer, $crashed) = crash_while_writing($cluster);
	my $log = slurp_file($n1->logfile, $marks->{n1});
	like($log, qr/was terminated by signal 11.*all server processes terminated; reinitializing/s,
		'long lease: it was a crash-restart');
	is($n1->role, 'MASTER', 'long lease: the same primary');
	is($n1->register->{epoch}, $epoch, 'long lease: in the same epoch');
	is(counts_of($cluster, $marks, qw(fence_started fenced promoting)), '',
		'long lease: no failover');
	cmp_ok($writer->first_after($crashed), '<', 10, 'long lease: writes resume before it ends');
	is($writer->stop->verdict($n1, $crashed)->{problem}, '', 'long lease: nothing lost');
	$cluster->end;
}

# ---- a short one
{
	my $cluster = formed(500);
	my ($n1) = $cluster->nodes;
	my ($writer, $crashed) = crash_while_writing($cluster);
	my @primaries;
	wait_for('one server says MASTER', sub {
		@primaries = grep { $_->role eq 'MASTER' } $cluster->nodes;
		@primaries == 1 });
	my ($primary) = @primaries;
	note 'short lease: the primary is ' . $primary->name;
	for my $node (grep { $_ != $primary } $cluster->nodes)
	{
		isnt($node->psql('postgres', 'INSERT INTO writes VALUES (-1)'), 0,
			'short lease: ' . $node->name . ' does not write');
	}
	is(($writer->acknowledged)[-1][2], $primary->port,
		'short lease: the writer is at the one that says MASTER');
	is($writer->stop->verdict($primary, $crashed)->{problem}, '', 'short lease: nothing lost');
	$cluster->end;
}

done_testing();
