# The lease time is changed while clients write, to longer and to shorter, from any node: the
# register takes it, no lease is lost, and a failover goes by the new one. What cannot be is
# refused, and so is who may not.
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

# The error of a statement that must fail.
sub refused
{
	my ($node, $statement, $pattern) = @_;
	my ($status, $out, $err) =
	  $node->psql('postgres', "\\set VERBOSITY verbose\n$statement", timeout => 30);
	isnt($status, 0, "refused: $statement");
	like($err, $pattern, "why: $statement");
	return;
}

is(ttl($n1), 2000, 'two seconds at first');

# ---- Live, both ways, asked for on a standby too.
my $before = 2000;
for my $asked ([ $n1, 5000 ], [ $n2, 600 ], [ $n3, 1000 ])
{
	my ($asker, $ttl) = @$asked;
	my $began = now();
	is($asker->value("SELECT orchestra_set('lease_ttl_ms', '$ttl')"),
		"lease_ttl_ms is $ttl, it was $before", "$ttl ms: set on " . $asker->name);
	is(ttl($asker), $ttl, "$ttl ms: known where it was set when that returns");
	for my $node ($n1, $n2, $n3)
	{
		my $seen = '';
		eval { wait_for('the register', sub { ($seen = ttl($node)) == $ttl }, 30) };
		is($seen, $ttl, "$ttl ms in the register of " . $node->name);
	}
	my $told = qr/orchestra: register_changed .*lease $ttl ms/;
	wait_for("$ttl ms: a log tells", sub {
		grep { slurp_file($_->logfile, $marks->{ $_->name }) =~ $told } $cluster->nodes });
	$writer->wait_for_acknowledged(500, after => now());
	# Long enough for every grant of before to be over, too.
	$writer->wait_for_acknowledged(1, after => $began + 6);
	is(counts_of($cluster, $marks, qw(lease_lost gate_closed fence_started)), '',
		"$ttl ms: no lease was lost");
	is(problem($n1), '', "$ttl ms: no problem");
	my $longest = longest_lease_seen($n1);
	cmp_ok($longest, '<=', $ttl * 0.8, "$ttl ms: no lease is longer than it may be");
	cmp_ok($longest, '>', $ttl * 0.3, "$ttl ms: nor much shorter");
	$before = $ttl;
}
is(scalar(grep { $_->[1] ne '' } $writer->failed), 0, 'no write failed');

# ---- What cannot be.
my $version = $n1->register->{version};
refused($n1, "SELECT orchestra_set('lease_ttl_ms', '$_')",
	qr/22023: lease_ttl_ms $_ is out of range.*HINT:  A lease lasts 300 ms to 60 s/s)
  for 0, 299, 60001;
refused($n2, "SELECT orchestra_set('lease_ttl_ms', '$_')",
	qr/22023: lease_ttl_ms "\Q$_\E" is not a number.*HINT/s)
  for '5s', '-500', ' 500', '0500', '1e3', '', '99999999999999999999';

# ---- Who may.
refused($n1, "SET ROLE app; SELECT orchestra_set('lease_ttl_ms', '5000')", qr/42501: permission/);
$n1->value('GRANT EXECUTE ON FUNCTION orchestra_set TO app');
is($n1->value("SET ROLE app; SELECT orchestra_set('lease_ttl_ms', '1000')"),
	'lease_ttl_ms is 1000, it was 1000', 'whoever was granted it may; as it is');
is($n1->register->{version}, $version, 'none of that is a write of the register');

# ---- A failover by the new lease time.
standby_coordinator($cluster, $n1);
my $killed = $n1->kill_all;
my $primary = $cluster->wait_for_primary(not => $n1, seconds => 60);
$writer->wait_for_acknowledged(500, after => $killed);
note sprintf 'with a lease of 1 s: %s says MASTER, first new commit after %.2f s', $primary->name,
  $writer->first_after($killed);
is(ttl($primary), 1000, 'the new primary keeps the lease time');
is($writer->stop->verdict($primary, $killed)->{problem}, '', 'nothing is lost');
$cluster->end;
done_testing();
