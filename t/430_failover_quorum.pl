# The primary and the only standby that confirmed its last commits die at once. A majority of the
# voters is alive and could make a primary, but not one that has everything: it is refused, and told
# who is awaited. An operator may go on without, in two steps, and that is recorded. Who comes back
# later makes no second primary.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(marks events_since running told);
use Orchestra::Wait qw(wait_for now);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 5, lease_ttl_ms => 1000)->form;
my ($n1, $n2, $n3, $n4, $n5) = $cluster->nodes;
my $limit = 60;

sub masters { return join ' ', map { $_->name } grep { $_->role eq 'MASTER' } running($cluster) }

# To a node that has a candidate beside it: one that is alone would let commits wait.
my $accept = q{orchestra_failover('n4', accept_data_loss => true};

$n1->safe_psql('postgres', "SELECT orchestra_set_node('$_', sync_candidate => false)")
  for qw(n4 n5);
wait_for('n2 and n3 are counted', sub {
	my $register = $n1->register;
	"@{ $register->{sync_nodes} } $register->{sync_k}" eq 'n2 n3 1' }, $limit);
for my $node ($n1, $n4)
{
	wait_for('commits pass', sub { my %status = $node->status; $status{n1}{state} eq 'open' }, $limit);
	like((told($node, "SELECT $accept)"))[1],
		qr/55000: nothing is to be forced: .*commits pass/, 'refused while commits pass');
}

# ---- From now on n2 alone confirms; then both die, before the synchronous set is a smaller one.
my $writer = $cluster->writer('w');
$writer->wait_for_acknowledged(300);
my $epoch = $n3->register->{epoch};
my $marks = marks($cluster);
my $cut = now();
for my $name (qw(n3 n4 n5))
{
	$cluster->relay->cut('n1', $name, 'pg');
	$cluster->relay->reset('n1', $name, 'pg');
}
$writer->wait_for_acknowledged(20, after => now());
$n1->freeze;
my $killed = now();    # nothing is acknowledged that is asked for from here on
$_->kill_all for $n1, $n2;

my $blocked = wait_for('the failover is blocked', sub {
	(grep { $_->{event} eq 'failover_blocked' } map { events_since($marks, $_) } running($cluster))[0]
}, $limit);
like($blocked->{reason},
	qr/^waits for exact ends of WAL: \d of [12] needed from the synchronous set \(awaited: n2\), /,
	'blocked: it says who is awaited');
like($blocked->{reason}, qr/, or that of n1 itself$/, 'blocked: or the old primary');
$cluster->relay->heal;
my ($out, $err, $status) = told($n4, q(SELECT orchestra_failover(wait => '2 s')));
isnt($status, 0, 'a failover without loss');
like($err, qr/57014: no failover: not done within 2 s: a failover is under way/,
	'a failover without loss: refused');
is(masters(), '', 'nobody is promoted');
is($n3->register->{epoch}, $epoch, 'nor chosen');
is(scalar($writer->acknowledged_after($killed)), 0, 'nothing is acknowledged');

# ---- The first call tells, and changes nothing.
my ($text, $notice) = told($n5, "SELECT $accept)");
note $text;
like($notice, qr/NOTICE:  00000: nothing was changed: read first what may be lost/, 'it warns');
like($text, qr/^  n1 \(primary\): [0-9A-F]+\/[0-9A-F]+ on timeline 1, heard [0-9.]+ s ago: /m,
	'where the primary was');
like($text, qr/^  n[345]: \S+ on timeline 1(, this node)?$/m, 'who has most of those that answer');
like($text, qr/^Every commit after \S+ is lost, acknowledged or not, unless one of these is /m,
	'what may be lost');
like($text, qr/ started first: n1, n2\. /, 'who would prevent that');
my ($word) = $text =~ /^Confirmation: ([0-9a-f]{12})$/m;
ok($word, 'the word that confirms it');
like($notice, qr/HINT:  To go on: orchestra_failover\('n4', accept_data_loss => true, confirm =>/,
	'and how it is used');
my $other = $word =~ tr/0-9a-f/1-9a-f0/r;
like((told($n5, "SELECT $accept, confirm => '$other')"))[1],
	qr/55000: this confirmation is not that of the state of now/, 'another word is refused');
like((told($n5, "SELECT orchestra_failover('n5', true, '$word')"))[1],
	qr/55000: this confirmation is not that of the state of now/, 'so is it for another target');
is($n3->register->{epoch}, $epoch, 'nothing was changed');

# ---- The second call does it.
($out, $err, $status) = told($n5, "SELECT $accept, confirm => '$word', wait => '60 s')");
is($err, '', 'the second call: no error');
like($out, qr/^n4 is the primary of epoch \S+$/, 'the second call: done');
my $primary = $cluster->wait_for_primary(seconds => $limit);
$writer->wait_for_acknowledged(200, after => $killed);
note sprintf 'commits %.2f s after the death', $writer->first_after($killed);
my ($recovery) = wait_for('the audit row', sub {
	(grep { $_->{recovery} eq $epoch } $primary->rows('SELECT * FROM orchestra_recoveries()'))[0]
}, $limit);
is($recovery->{new_primary}, $primary->name, 'the audit: to whom');
my %detail = map { $_->{kind} => $_->{detail} }
  $primary->rows("SELECT * FROM orchestra_recovery_steps('$epoch')");
is($detail{loss_accepted}, 'asked for on n5', 'the audit: who accepted the loss');
like($detail{failover_blocked}, qr/awaited: n2/, 'the audit: why it was asked');
is($primary->value(q(SELECT count(*) FROM orchestra_change WHERE detail = 'asked for on n5')), 1,
	'the audit: among the changes');

# ---- Those that died come back: with commits that the cluster has given up.
$_->start for $n2, $n1;
for my $node ($n1, $n2)
{
	wait_for($node->name . ' knows the epoch', sub {
		$node->register->{epoch} eq $primary->register->{epoch} }, $limit);
	isnt($node->psql('postgres', 'INSERT INTO writes VALUES (-1)', timeout => 10), 0,
		$node->name . ' came back: it writes nothing');
}
my $back = now();
$writer->wait_for_acknowledged(300, after => $back);
is(masters(), $primary->name, 'one primary');
is($primary->value('SELECT count(*) FROM writes WHERE id = -1'), 0, 'nothing of theirs is taken');
$writer->stop;
is($cluster->turns($writer), 'n1 ' . $primary->name, 'one writer at every moment');

# What the operator was told is what was lost: commits after the cut, and what was on its way to the
# others then.
my %there = map { $_ => 1 } split /\n/, $primary->safe_psql('postgres', 'SELECT id FROM writes');
my @lost = grep { !$there{ $_->[1] } } $writer->acknowledged;
cmp_ok(scalar(@lost), '>', 0, 'there was something to lose');
is(scalar(grep { $_->[0] < $cut - 0.5 || $_->[3] / 1e9 > $killed } @lost), 0,
	'and it is what n2 alone had confirmed');
note scalar(@lost) . ' commits lost';
$cluster->end;
done_testing();
