# Two of three voters are lost for ever: nobody writes, and nobody can, until an operator forces it
# in two steps, of which the first only tells what the second may lose. A node of the former
# cluster that comes back takes no part: it does not stream and commits nothing, until it is made
# anew.
use strict;
use warnings;
use File::Path qw(rmtree);
use Orchestra::Cluster;
use Orchestra::Look qw(told);
use Orchestra::Wait qw(wait_for now);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
my ($n1, $n2, $n3) = $cluster->nodes;
my $limit = 60;

sub refused
{
	my ($node, $statement, $pattern, $what) = @_;
	my ($out, $err, $status) = told($node, $statement);
	isnt($status, 0, "$what: refused");
	like($err, $pattern, $what);
	return;
}

sub row { my ($node, $name) = @_; my %status = $node->status; return $status{$name} // {} }

my $force = 'SELECT orchestra_failover(accept_data_loss => true)';

# ---- As long as there is a majority nothing is to be forced.
wait_for('n2 knows that commits pass', sub { row($n2, 'n1')->{state} eq 'open' }, $limit);
refused($n2, $force, qr/55000: nothing is to be forced: /, 'a cluster that is well');
refused($n1, $force, qr/55000: nothing is to be forced: .*commits pass/, 'its primary');

my $writer = $cluster->writer('w', patience_ms => 5000);
$writer->wait_for_acknowledged(1000);
$n3->kill_all;
$writer->wait_for_acknowledged(200, after => now());
$n1->kill_all;
$writer->stop;
wait_for('n2 hears nobody', sub {
	my $register = $n2->register;
	!defined $register->{coordinator} && $register->{reachable_voters} == 1 }, $limit);

# ---- Nobody writes, and a failover without loss finds nobody to decide it.
is($n2->role, 'STANDBY', 'the survivor stays a standby');
refused($n2, q(SELECT orchestra_failover(wait => '2 s')),
	qr/57014: no failover: not done within 2 s: /, 'a failover without a majority');
refused($n2, q(SELECT orchestra_failover('n1', accept_data_loss => true)),
	qr/55000: a forced recovery is called on the node.*HINT:  Connect to n1 \(127\.0\.0\.1:\d+\)/s,
	'on another node than the target');
refused($n2, q(SELECT orchestra_failover('n7', accept_data_loss => true)),
	qr/42704: "n7" is no member/, 'to a node that is none');

# ---- The first call tells, and changes nothing.
my $before = $n2->register;
my ($text, $notice) = told($n2, $force);
note $text;
like($notice, qr/NOTICE:  00000: nothing was changed: read first what may be lost/, 'it warns');
like($text, qr/n1 \(primary\): [0-9A-F]+\/[0-9A-F]+ on timeline 1, heard [0-9.]+ s ago: /,
	'what the primary had, and when it was heard');
like($text, qr/n2: [0-9A-F]+\/[0-9A-F]+ on timeline 1, this node/, 'what is here');
like($text, qr/n3: [0-9A-F]+\/[0-9A-F]+ on timeline 1, heard [0-9.]+ s ago: \d+ bytes less than/,
	'what the other standby had');
like($text, qr/Every commit after .* is lost/, 'what may be lost');
like($text, qr/Refused from then on, if they ever come back: n1, n3\./, 'who will be refused');
my ($token) = $text =~ /Confirmation: ([0-9a-f]{12})$/;
ok($token, 'the word that confirms it');
like($notice, qr/HINT:  To go on: .*confirm => '$token'\)/, 'and how it is used');
is($n2->register->{$_}, $before->{$_}, "its first call changes nothing: $_")
  for qw(cluster_id version epoch primary_node);
is($n2->value('SELECT pg_is_in_recovery()'), 't', 'nor does it promote');
is((told($n2, $force))[0] =~ s/heard [0-9.]+ s//gr, $text =~ s/heard [0-9.]+ s//gr,
	'asked again it tells the same');

# ---- Any other word is refused.
my $other = $token =~ tr/0-9a-f/1-9a-f0/r;
refused($n2, "SELECT orchestra_failover(accept_data_loss => true, confirm => '$other')",
	qr/55000: this confirmation is not that of the state of now/, 'a wrong word');
is($n2->register->{cluster_id}, $before->{cluster_id}, 'nothing was forced');

# ---- The second call.
my $began = now();
my ($done, $error) = told($n2,
	"SELECT orchestra_failover(accept_data_loss => true, confirm => '$token', wait => '60 s')");
is($error, '', 'the second call: no error');
like($done, qr/^n2 is the primary of epoch \S+ and the only voter; refused from now on: n1, n3$/,
	'the second call: done');
note sprintf 'forced in %.2f s', now() - $began;
wait_for('n2 says MASTER', sub { $n2->role eq 'MASTER' }, $limit);
is($n2->value('INSERT INTO writes VALUES (0) RETURNING 1') =~ /^1/, 1, 'it writes');
my $register = $n2->register;
isnt($register->{cluster_id}, $before->{cluster_id}, 'another cluster');
is($register->{former_clusters}, 1, 'that remembers the former one');
is("@{ $register->{voters} }", 'n2', 'of one voter');
refused($n2, "SELECT orchestra_failover(accept_data_loss => true, confirm => '$token')",
	qr/55000: nothing is to be forced: /, 'a word counts once');

# ---- The audit.
my $recovery = wait_for('the audit row', sub {
	(grep { $_->{forced} } $n2->rows('SELECT * FROM orchestra_recoveries()'))[0] }, $limit);
like($recovery->{forced},
	qr/^by postgres with 320_forced_recovery.pl, data loss accepted: WAL after \S+ and n1, n3$/,
	'the audit: who and what');
is($recovery->{new_primary}, 'n2', 'the audit: to whom');
wait_for('its steps', sub {
	my %kinds = map { $_->{kind} => 1 }
	  $n2->rows("SELECT * FROM orchestra_recovery_steps('$recovery->{recovery}')");
	$kinds{forced_recovery} && $kinds{activated} }, $limit);
pass('the audit: its steps');

# ---- The former primary comes back: it is out of recovery, and its cluster is over.
my $n1_rows = $n2->value('SELECT count(*) FROM writes');
$n1->start;
wait_for('n1 knows that it is refused', sub { row($n1, 'n1')->{state} eq 'quarantined' }, $limit);
like(row($n1, 'n1')->{problem}, qr/takes no part any more: .*make it anew as a copy of the primary/,
	'returned: it says why, and how it comes back');
isnt($n1->role, 'MASTER', 'returned: no primary');
refused($n1, 'INSERT INTO writes VALUES (-1)', qr/25006/, 'returned: no commit');
$n3->start;
wait_for('n3 knows that it is refused', sub { row($n3, 'n3')->{state} eq 'quarantined' }, $limit);
is($n2->value('SELECT count(*) FROM pg_stat_replication'), 0, 'returned: nobody streams');
isnt($n1->role, 'MASTER', 'returned: two of them make no primary either');
refused($n1, 'INSERT INTO writes VALUES (-1)', qr/25006/, 'returned: still no commit');
is($n2->role, 'MASTER', 'returned: the survivor goes on');
is($n2->value('INSERT INTO writes VALUES (-2) RETURNING 1') =~ /^1/, 1, 'returned: and writes');
$n1->restart;
wait_for('a restart changes nothing', sub {
	my $row = row($n1, 'n1');
	($row->{state} // '') eq 'quarantined' && $row->{problem} =~ /takes no part any more/ }, $limit);
pass('returned: a restart changes nothing');

# ---- Made anew they join, and get their votes back.
$n2->backup('anew');
for my $node ($n1, $n3)
{
	my $name = $node->name;
	$node->stop('immediate');
	rmtree($node->data_dir);
	$cluster->clone($node, 'anew', $n2);
	$node->set_standby_mode;
	$node->start;
	wait_for("$name joins", sub {
		my $row = row($n2, $name);
		$row->{state} eq 'streaming' && $row->{seen_ago_ms} < 2000 }, $limit);
	is($node->register->{cluster_id}, $register->{cluster_id}, "anew: $name is of the cluster");
}
is($n1->value(q(SELECT orchestra_set_voters('{n1,n2,n3}', wait => '60 s'))),
	'voters are n1, n2, n3 for good', 'anew: three voters again');
wait_for('a second copy again', sub { $n2->register->{sync_k} == 1 }, $limit);
my $after = $cluster->writer('after');
$after->wait_for_acknowledged(500);
is($after->stop->verdict($n2, 0, before => 0)->{problem}, '', 'anew: it writes');
wait_for('n1 has all of it', sub {
	$n1->value('SELECT count(*) FROM writes') == $n2->value('SELECT count(*) FROM writes') });
is(join(' ', $cluster->passwords_in_logs), '', 'no password in any log');
$cluster->end;
done_testing();
