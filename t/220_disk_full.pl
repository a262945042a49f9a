# A full disk below orchestra/ of one voter, while votes are asked for. Renewing a lease writes
# nothing, so the primary goes on; who cannot store a vote gives none and says why; the others
# decide without it. With free space it is well again by itself.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(standby_coordinator marks events_since counts_of);
use Orchestra::Wait qw(wait_for now);
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3);
my $preload = ($ENV{ORCHESTRA_TOP} // '.') . '/build/tools/disk_full.so';
my %flag = map { $_->name => PostgreSQL::Test::Utils::tempdir() . '/full' } $cluster->nodes;
$_->{environment} = {
	LD_PRELOAD => $preload,
	DISK_FULL_DIR => $_->data_dir . '/orchestra',
	DISK_FULL_FLAG => $flag{ $_->name } } for $cluster->nodes;
$cluster->form;
my ($n1, $n2, $n3) = $cluster->nodes;
my $epoch = $n1->register->{epoch};
my $limit = 60;
my $full = qr{could not write "orchestra/pgsql_tmp_vote/vote\.new": No space left on device};
my $writer = $cluster->writer('w', patience_ms => 120_000);
$writer->wait_for_acknowledged(1000);
my $first_fault = now();

sub problem
{
	my ($node) = @_;
	my %status = $node->status;
	return $status{ $node->name }{problem} // '';
}

sub fill { my ($node) = @_; append_to_file($flag{ $node->name }, ''); return }
sub clear { my ($node) = @_; unlink $flag{ $node->name } or die $!; return }

# A new coordinator asks everybody for a promise.
sub ask_for_votes
{
	my ($coordinator) = @_;
	my $worker = $coordinator->worker('orchestra consensus');
	kill TERM => $worker or die $!;
	wait_for('the worker is another', sub {
		my $pid = $coordinator->worker('orchestra consensus');
		$pid && $pid != $worker }, $limit);
	return;
}

sub says_so
{
	my ($node, $what) = @_;
	my $problem = '';
	eval { wait_for($what, sub { ($problem = problem($node)) =~ $full }, $limit) };
	like($problem, $full, "$what: in status");
	like(slurp_file($flag{ $node->name }), qr{/orchestra/pgsql_tmp_vote/vote\.new$}m,
		"$what: its vote could not be written");
	return;
}

sub heals
{
	my ($node, $what) = @_;
	clear($node);
	my $problem = '';
	my $well = eval { wait_for($what, sub { ($problem = problem($node)) eq '' }, $limit) };
	ok($well, "$what: well again by itself") or diag $problem;
	return;
}

# ---- Each node in turn: a standby that coordinates, one that does not, the primary.
for my $who (qw(coordinator standby primary))
{
	my $coordinator = standby_coordinator($cluster, $n1);
	my ($standby) = grep { $_ != $coordinator } $n2, $n3;
	my %node = (coordinator => $coordinator, standby => $standby, primary => $n1);
	my $node = $node{$who};
	my $marks = marks($cluster);
	fill($node);
	ask_for_votes($coordinator);
	says_so($node, $who);
	my ($other) = grep { $_ != $node && $_ != $n1 } $n2, $n3;
	wait_for("$who: the others have a coordinator", sub {
		($other->register->{coordinator} // '') ne '' }, $limit);
	$writer->wait_for_acknowledged(500, after => now());
	is($n1->role, 'MASTER', "$who: the same primary");
	is(counts_of($cluster, $marks, qw(lease_lost gate_closed fence_started fenced)), '',
		"$who: no lease lost, no failover");
	heals($node, $who);
}
is($n1->register->{epoch}, $epoch, 'all in one epoch');
is(scalar($writer->failed), 0, 'no commit failed');

$writer->stop;

# ---- The primary, with a full disk, is cut off while one of the two that are left cannot store a
# fence: a majority cannot, so nobody is promoted, until that one has space. The primary's disk
# stays full: its gate closes all the same.
my $coordinator = standby_coordinator($cluster, $n1);
my ($standby) = grep { $_ != $coordinator } $n2, $n3;
my $marks = marks($cluster);
my $second = $cluster->writer('w2');
$second->wait_for_acknowledged(1000);
fill($_) for $n1, $standby;
my $fault = now();
$cluster->relay->isolate('n1', 'n2', 'n3');
says_so($standby, 'failover');
wait_for('fencing goes on', sub {
	grep { $_->{event} eq 'fence_started' } events_since($marks, $coordinator) }, $limit);
ok(wait_for('n1 is fenced', sub { $n1->role eq 'FENCED' }, $limit), 'failover: the gate closes');
is(join(' ', map { $_->role } $n2, $n3), 'STANDBY STANDBY', 'failover: nobody is promoted');
is((scalar grep { $_->{event} =~ /^(?:voters_fenced|promoting)$/ }
		map { events_since($marks, $_) } $n2, $n3), 0, 'failover: not without a majority');
clear($standby);
my $new = $cluster->wait_for_primary(not => $n1, seconds => $limit);
ok($new, 'failover: with free space it goes on');
$second->wait_for_acknowledged(500, after => now());
unlike(problem($standby), $full, 'failover: its disk is no problem any more');

# The old primary cannot store the new epoch either, and then can.
$cluster->relay->heal;
says_so($n1, 'old primary');
is($n1->role, 'FENCED', 'old primary: fenced without it');
clear($n1);
ok(wait_for('n1 learns the epoch', sub { $n1->register->{primary_node} eq $new->name }, $limit),
	'old primary: told of the new one');
unlike(problem($n1), $full, 'old primary: its disk is no problem any more');
is($n1->role, 'FENCED', 'old primary: fenced with it');
$second->stop;
is($writer->verdict($new, $first_fault)->{problem}, '', 'nothing lost');
is($second->verdict($new, $fault)->{problem}, '', 'nothing lost in the failover');
$cluster->end;
done_testing();
