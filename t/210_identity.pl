# Who is whom: clones, nodes of one name, nodes of another cluster or another database system. A
# copy of a member's data never writes and never votes; only as a standby under a name of its own
# does it join, without a vote, and then no failover counts on it or chooses it.
use strict;
use warnings;
use File::Path qw(rmtree);
use Orchestra::Cluster;
use Orchestra::Look qw(marks counts_of);
use Orchestra::Wait qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;

my $vote = 'orchestra/pgsql_tmp_vote/vote';
my $limit = 60;

my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
my ($n1, $n2, $n3) = $cluster->nodes;
my $epoch = $n1->register->{epoch};
$n1->backup('member');
my $marks = marks($cluster);

sub row
{
	my ($node, $name) = @_;
	my %status = $node->status;
	return $status{ $name // $node->name } // {};
}

sub problem_becomes
{
	my ($node, $pattern, $what, $name) = @_;
	my $problem = '';
	eval { wait_for($what,
			sub { ($problem = row($node, $name)->{problem} // '') =~ $pattern }, $limit) };
	like($problem, $pattern, $what);
	return;
}

# What $node says of all: "n1=1 n2=1" with 1 for a voter.
sub members
{
	my ($node) = @_;
	my %status = $node->status;
	return join ' ', map { "$_=" . ($status{$_}{voter} // '-') } sort keys %status;
}

# The members that the test began with are as they were, and the cluster writes.
sub unharmed
{
	my ($what, $members) = @_;
	is(members($n1), $members, "$what: the members are as before");
	is($n1->register->{epoch}, $epoch, "$what: the epoch too");
	is($n1->register->{reachable_voters}, 3, "$what: all voters are there");
	is(counts_of($cluster, $marks, qw(lease_lost gate_closed fence_started)), '',
		"$what: no lease lost, no failover");
	my ($status, $out, $err) = $n1->psql('postgres',
		'INSERT INTO writes SELECT coalesce(max(id), 0) + 1 FROM writes', timeout => 30);
	is($err, '', "$what: commits go on");
	return;
}

sub error_of
{
	my ($node, $statement) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement");
	return $err;
}

# ---- A base backup of a member that somebody starts as a server of its own.
my $n4 = $cluster->new_node('n4');
$cluster->clone($n4, 'member');
ok(-e $n4->data_dir . '/orchestra/cluster', 'clone: a base backup copies the marker');
ok(!-e $n4->data_dir . "/$vote", 'clone: not the vote');
$n4->start;
my $why = qr/This node has no valid vote: its vote file is missing.* To join, start it as a stan/;
like(error_of($n4, 'INSERT INTO writes VALUES (-1)'), qr/25006: cannot execute INSERT/,
	'clone: no writes');
like(error_of($n4, 'VACUUM writes'),
	qr/25006: this node is quarantined: it accepts no writes\nDETAIL:  $why/, 'clone: says why');
like(error_of($n4, q(SELECT pg_current_xact_id(), pg_logical_emit_message(true, 'a', 'b'))),
	qr/25006: this node is quarantined/, 'clone: nothing else commits either');
like(row($n4)->{problem}, $why, 'clone: in its status');
is(row($n4)->{state}, 'quarantined', 'clone: quarantined');
is($n4->value('SELECT count(*) FROM writes WHERE id = -1'), 0, 'clone: can be read');
is($n4->role, 'FENCED', 'clone: not MASTER');
unharmed('clone', 'n1=1 n2=1 n3=1');
$n4->stop;
rmtree($n4->data_dir);

# ---- The same backup as a standby, under its name: a member without a vote.
$cluster->clone($n4, 'member');
$n4->set_standby_mode;
$n4->start;
my $everybody = 'n1=1 n2=1 n3=1 n4=0';
for my $node ($n1, $n2, $n3, $n4)
{
	my $where = $node->name;
	my $seen = '';
	eval { wait_for("n4 on $where", sub {
		my $row = row($node, 'n4');
		$seen = join ' ', members($node), map { $row->{$_} // '-' } qw(role state sync_state problem);
		$seen eq "$everybody standby streaming async -" }, $limit) };
	is($seen, "$everybody standby streaming async -", "joined: a member without a vote on $where");
}
is($n4->register->{phase}, 'configured', 'joined: configured');
is_deeply($n4->register->{voters}, [qw(n1 n2 n3)], 'joined: no voter');
is_deeply($n4->register->{sync_nodes}, [qw(n2 n3)], 'joined: not in the synchronous set');
unlike($n1->value('SHOW synchronous_standby_names'), qr/n4/, 'joined: nor is it enforced so');
wait_for('it streams as itself', sub {
	$n1->value(q(SELECT state FROM pg_stat_replication WHERE application_name = 'n4'))
	  eq 'streaming' });
unharmed('joined', $everybody);

# ---- Another clone that says it were n2.
my $twin = $cluster->new_node('n2twin');
$cluster->clone($twin, 'member');
$twin->write_settings('orchestra.node_name' => 'n2');
my $upstream = $cluster->conninfo($n1, 'replicator');
$twin->append_conf('postgresql.auto.conf', "primary_conninfo = '$upstream application_name=n2'");
$twin->set_standby_mode;
$twin->start;
my $port = $n2->{pg_front};
problem_becomes($twin, qr/has a member named n2 already, at 127\.0\.0\.1:$port: set another orch/,
	'twin: told that the name is taken', 'n2');
like(row($twin, 'n2')->{problem}, $why, 'twin: and that it is no member');
is(row($twin, 'n2')->{state}, 'quarantined', 'twin: quarantined');
ok(!-e $twin->data_dir . "/$vote", 'twin: it has nothing to vote with');
is($n1->value(q(SELECT count(*) FROM pg_stat_replication WHERE application_name = 'n2')), 1,
	'twin: it does not stream');
my $row = row($n1, 'n2');
is("$row->{state} $row->{address} $row->{voter}", "streaming 127.0.0.1:$port 1",
	'twin: n2 is the one from before');
unharmed('twin', $everybody);
$twin->stop;

# ---- A server of another database system that would like to be a standby here.
my $stranger = $cluster->new_node('n9');
$cluster->init_stranger($stranger);
$stranger->start;
problem_becomes($stranger,
	qr/^cluster "orchestra" is of another database system: make this node anew from its primary/,
	'stranger: told that it is of another database system');
is($stranger->register->{phase}, 'unconfigured', 'stranger: not a member');
unharmed('stranger', $everybody);
$stranger->stop;

# ---- Another cluster, and a member of this one with the other's seeds and secret.
my $other = Orchestra::Cluster->new(names => ['o1'], relay => 0)->form;
my ($o1) = $other->nodes;
my $theirs = members($o1);
my $before = $o1->register;
my %kept = %{ $n4->{settings} };
$n4->stop;
$n4->write_settings('orchestra.secret_file' => $other->{secret},
	'orchestra.seeds' => "127.0.0.1:$o1->{peer_port}");
$n4->start;
problem_becomes($n4, qr/refused: another secret/, 'lost: its own cluster is told apart');
wait_for('n4 is unreachable', sub { row($n1, 'n4')->{state} eq 'unreachable' }, $limit);
unharmed('lost', $everybody);
is(members($o1), $theirs, 'lost: the other cluster does not take it');
is($o1->role, 'MASTER', 'lost: nor does it mind');
is($o1->register->{$_}, $before->{$_}, "lost: the other cluster's $_ is as before")
  for qw(version epoch);

# A clone of this cluster, which the other one might take for its own.
rmtree($twin->data_dir);
$cluster->clone($twin, 'member');
$twin->write_settings('orchestra.node_name' => 'n8', 'orchestra.secret_file' => $other->{secret},
	'orchestra.seeds' => "127.0.0.1:$o1->{peer_port}");
$twin->set_standby_mode;
$twin->start;
problem_becomes($twin,
	qr/cluster "orchestra" is of another database system: make this node anew from its primary/,
	'foreign clone: told that it is of another cluster', 'n8');
is(row($twin, 'n8')->{state}, 'quarantined', 'foreign clone: quarantined');
is(members($o1), $theirs, 'foreign clone: the other cluster does not take it');
$twin->stop;
$other->end;

$n4->write_settings(%kept);
$n4->restart;
wait_for('n4 is back', sub { row($n1, 'n4')->{state} eq 'streaming' }, $limit);

# ---- A failover: n4 follows, and neither becomes primary nor counts.
$n1->kill_all;
my $new = $cluster->wait_for_primary(not => $n1, seconds => $limit);
like($new->name, qr/^n[23]$/, 'failover: a voter becomes primary');
my ($standby) = grep { $_ != $new } $n2, $n3;
for my $node ($new, $standby, $n4)
{
	my $where = $node->name;
	wait_for("n4 follows, as $where sees it", sub {
		my $row = row($node, 'n4');
		$row->{state} eq 'streaming' && $row->{timeline} == 2 }, $limit);
	is(row($node, 'n4')->{sync_state}, 'async', "failover: n4 does not count, on $where");
}
unlike($new->value('SHOW synchronous_standby_names'), qr/n4/, 'failover: nor is it enforced so');
wait_for('commits are counted on the other standby alone', sub {
	"@{ $n4->register->{sync_nodes} }" eq $standby->name }, $limit);

# One voter of three is left, and n4: that is no majority.
$standby->kill_all;
is(wait_for('no lease', sub { my $role = $new->role; $role eq 'FENCED' && $role }, $limit),
	'FENCED', 'failover: the vote of n4 does not count for a lease');
like(error_of($new, 'INSERT INTO writes VALUES (-2)'), qr/25006: /, 'failover: nothing commits');
is($n4->role, 'STANDBY', 'failover: n4 stays a standby');
$standby->start;
is(wait_for('a lease again', sub { my $role = $new->role; $role eq 'MASTER' && $role }, $limit),
	'MASTER', 'failover: a voter is back');
is(join(' ', $cluster->passwords_in_logs), '', 'no password in any log');
$cluster->end;
done_testing();
