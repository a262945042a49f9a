# Voters are changed while clients write: from one to three and back, asked for on any node, also
# when the coordinator dies in the middle. No commit waits long, none is lost, no lease. What makes
# no sense is refused with a reason. A removed member takes no part any more and says so.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(marks counts_of);
use Orchestra::Session;
use Orchestra::Wait qw(wait_for now);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3);
my ($n1, $n2, $n3) = $cluster->nodes;
$cluster->init_primary;
$cluster->add_standby($_) for $n2, $n3;
$cluster->create($n1);

sub refused
{
	my ($node, $statement, $pattern, $what) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement",
		timeout => 60);
	isnt($status, 0, "$what: refused");
	like($err, $pattern, $what);
	return;
}

sub row { my ($node, $name) = @_; my %status = $node->status; return $status{$name} // {} }

# "n1 n2 / n2 1": voters, and what commits are counted on.
sub shape
{
	my ($node) = @_;
	my $register = $node->register;
	# By name: ids are given in the order in which nodes joined.
	return join ' ', sort(@{ $register->{voters} }), $register->{voters_changing} ? 'changing' : (),
	  '/', sort(@{ $register->{sync_nodes} }), $register->{sync_k};
}

sub shape_becomes
{
	my ($shape, $what, @nodes) = @_;
	for my $node (@nodes)
	{
		my $seen = '';
		eval { wait_for($what, sub { ($seen = shape($node)) eq $shape }, 60) };
		is($seen, $shape, "$what, on " . $node->name);
	}
	return;
}

# What clients noticed of it, from one moment to another: the longest time without an answer.
sub longest_silence
{
	my ($writer, $from, $to) = @_;
	my ($longest, $last) = (0, $from);
	for my $at (grep { $_ > $from && $_ < $to } map { $_->[0] } $writer->acknowledged)
	{
		$longest = $at - $last if $at - $last > $longest;
		$last = $at;
	}
	return $longest;
}

# ---- One voter; the others join as members.
wait_for('two members without a vote', sub {
	my %status = $n1->status;
	join(' ', map { "$_=" . ($status{$_}{voter} // '-') } sort keys %status) eq 'n1=1 n2=0 n3=0' });
wait_for('they stream', sub { !grep { row($n1, $_)->{state} ne 'streaming' } qw(n2 n3) });
is(shape($n1), 'n1 / 0', 'one voter, one copy');
my $writer = $cluster->writer('w');
$writer->wait_for_acknowledged(500);
my $marks = marks($cluster);

refused($n1, q(SELECT orchestra_set_voters('{n1,n2}')), qr/22023: a cluster cannot have 2 voters/,
	'an even number');
refused($n1, q(SELECT orchestra_set_voters('{n1,n2,n7}')), qr/42704: "n7" is no member/,
	'a stranger');
refused($n1, q(SELECT orchestra_set_voters('{n2}')),
	qr/55000: the voters stay as they are: the primary keeps its vote/, 'not without the primary');
refused($n2, q(SELECT orchestra_failover('n2', wait => '10 s')),
	qr/55000: no failover: only a voter can become the primary/, 'a member is no target');

# ---- A voter must be caught up.
$cluster->relay->cut('n1', 'n3', 'pg');
$cluster->relay->reset('n1', 'n3', 'pg');
wait_for('n3 streams no more', sub { row($n1, 'n3')->{state} ne 'streaming' });
refused($n2, q(SELECT orchestra_set_voters('{n1,n2,n3}', wait => '10 s')),
	qr/n3 does not stream/, 'a member that does not stream');
is(shape($n1), 'n1 / 0', 'nothing has changed');
$cluster->relay->heal;
wait_for('n3 streams again', sub { row($n1, 'n3')->{state} eq 'streaming' });

# ---- One to three, asked for where nobody coordinates.
my $began = now();
like($n3->value(q(SELECT orchestra_set_voters('{n1,n2,n3}', wait => '60 s'))),
	qr/^voters are n1, n[23], n[23] for good$/, 'one to three, asked for on a member');
my $took = now() - $began;
shape_becomes('n1 n2 n3 / n2 n3 1', 'commits are counted on both standbys', $n1, $n2, $n3);
wait_for('PostgreSQL enforces it', sub {
	$n1->value('SHOW synchronous_standby_names') =~ /^ANY 1 \("n[23]", "n[23]"\)$/ });
$writer->wait_for_acknowledged(500, after => now());
note sprintf 'one to three in %.2f s, longest silence %.3f s', $took,
  longest_silence($writer, $began, now());
cmp_ok(longest_silence($writer, $began, now()), '<', 1.5, 'one to three: writes go on');

# ---- A vote that is in use cannot be removed with its node.
refused($n1, q(SELECT orchestra_remove_node('n3', wait => '10 s')),
	qr/55000: n3 stays a member: it has a vote/, 'a voter is not removed');
refused($n1, q(SELECT orchestra_remove_node('n1')), qr/55000: a node cannot remove itself/,
	'nor does a node remove itself');

# ---- Back to one, and the coordinator dies meanwhile.
my $coordinator = $cluster->coordinator;
my ($other) = grep { $_ != $coordinator } $n2, $n3;
$began = now();
my $session = Orchestra::Session->new($other);
$session->say(q(SELECT orchestra_set_voters('{n1}', wait => '60 s')));
wait_for('the change is under way', sub { $n1->register->{voters_changing} });
my $killed = $coordinator->kill_all;
wait_for('the change is final', sub { !$n1->register->{voters_changing} }, 60);
is(join(' ', @{ $n1->register->{voters} }), 'n1', 'three to one without that coordinator');
wait_for('its caller is told', sub { $session->text =~ /voters are n1 for good/ }, 60);
my ($name, $left) = ($coordinator->name, $other->name);
shape_becomes("n1 / $left 1", 'the second copy stays', $n1, $other);
refused($n1, qq(SELECT orchestra_remove_node('$name', wait => '10 s')),
	qr/55000: $name stays a member: it may be counted for commits/, 'a node that counts stays');
is($other->value(qq(SELECT orchestra_set_node('$_', sync_candidate => false))),
	"$_ is not counted for commits", "until an operator says otherwise: $_") for $name, $left;
shape_becomes('n1 / 0', 'one copy', $n1, $other);
wait_for('PostgreSQL waits for nobody', sub { $n1->value('SHOW synchronous_standby_names') eq '' });
is($n1->value(qq(SELECT orchestra_set_node('$left', sync_candidate => true))),
	"$left may be counted for commits", 'and again');
shape_becomes("n1 / $left 1", 'two copies', $n1, $other);
$writer->wait_for_acknowledged(500, after => now());
note sprintf 'three to one: longest silence %.3f s', longest_silence($writer, $began, now());
cmp_ok(longest_silence($writer, $began, now()), '<', 8, 'three to one: writes go on');
is(counts_of($cluster, $marks, qw(lease_lost gate_closed fence_started)), '',
	'no lease was lost, and no failover began');

# ---- The dead one comes back as a member, and is removed.
my $gone = $coordinator;
$gone->start;
wait_for("$name follows again", sub { row($n1, $name)->{state} eq 'streaming' }, 60);
ok(!row($n1, $name)->{voter}, "$name has no vote any more");
is($n1->value(qq(SELECT orchestra_remove_node('$name'))), "$name is no member any more",
	"$name is removed");
wait_for("$name knows it", sub { row($gone, $name)->{state} eq 'quarantined' }, 60);
like(row($gone, $name)->{problem},
	qr/takes no part any more: .*To bring it back, make it anew as a copy of the primary/,
	'it says why, and how it comes back');
wait_for("$name does not stream", sub {
	$n1->value("SELECT count(*) FROM pg_stat_replication WHERE application_name = '$name'") == 0 });
ok(!exists { $n1->status }->{$name}, 'nobody shows it any more');
$gone->restart;
wait_for('a restart changes nothing', sub {
	my $row = row($gone, $name);
	($row->{state} // '') eq 'quarantined' && $row->{problem} =~ /takes no part any more/ });
is($n1->value("SELECT count(*) FROM pg_stat_replication WHERE application_name = '$name'"), 0,
	'nor does it stream then');

is($writer->stop->verdict($n1, $killed)->{problem}, '', 'nothing is lost');
is($cluster->turns($writer), 'n1', 'one node acknowledged all of it');
is(join(' ', $cluster->passwords_in_logs), '', 'no password in any log');
$cluster->end;
done_testing();
