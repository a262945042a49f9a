# What orchestra_status() and orchestra_analysis() show, the same on every node; what the monitors'
# logins find; what the role orchestra may do; a standby that dies is detected and recorded once.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Wait qw(wait_for);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
my @nodes = $cluster->nodes;
my ($n1, $n2, $n3) = @nodes;

sub row
{
	my ($node, $name) = @_;
	my %status = $node->status;
	return $status{$name};
}

# What does not depend on when and where it is looked at.
sub picture
{
	my ($node) = @_;
	my %status = $node->status;
	return join "\n", map {
		my $row = $status{$_};
		join ' ', map { $_ . '=' . ($row->{$_} // '-') }
		  qw(id name role state sync_state voter coordinator fenced version server_version address)
	} sort keys %status;
}

wait_for('all nodes show the same', sub {
	my %seen = map { picture($_) => 1 } @nodes;
	keys %seen == 1 });
note picture($n1);
my %status = $n2->status;
is(join(' ', map { "$_:$status{$_}{role}:$status{$_}{state}" } sort keys %status),
	'n1:primary:open n2:standby:streaming n3:standby:streaming', 'roles and states');
is((grep { $_->{coordinator} } values %status), 1, 'one coordinator');
is($status{$_}{sync_state}, 'quorum', "$_ is in the synchronous set") for qw(n2 n3);
is($status{n1}{sync_state}, undef, 'the primary is not');
cmp_ok($status{n1}{lease_ms_left}, '>', 0, 'the lease has some time left');
for my $node (@nodes)
{
	my %rows = $node->status;
	is(join(' ', map { $_->{name} } grep { $_->{source} eq 'self' } values %rows), $node->name,
		'self on ' . $node->name);
	cmp_ok($rows{$_}{seen_ago_ms}, '<', 2000, "$_ seen lately on " . $node->name) for sort keys %rows;
	is($node->register->{reachable_voters}, 3, 'all voters reachable on ' . $node->name);
}

# ---- Logins.
sub logins
{
	my ($node) = @_;
	return map { $_->{node} => $_ }
	  $node->rows(q(SELECT * FROM orchestra_analysis() WHERE source = 'login'));
}

sub evidence
{
	my ($node, $name) = @_;
	my %login = logins($node);
	return $login{$name}{evidence};
}

sub reachable
{
	my ($node) = @_;
	my %login = logins($node);
	return join ' ', map { $login{$_}{reachable} ? $_ : "!$_" } sort keys %login;
}

for my $node (@nodes)
{
	wait_for($node->name . ' logs in everywhere', sub { reachable($node) eq 'n1 n2 n3' });
	wait_for($node->name . ' sees who streams', sub {
		evidence($node, 'n1') =~ /^primary, n2 streaming \w+, n3 streaming \w+$/ });
	like(evidence($node, 'n2'), qr/^standby, receiver streaming from 127\.0\.0\.1:\d+/,
		'a standby as ' . $node->name . ' finds it');
}

# A wrong password is a problem on every node, and one log line a node; then it is well again.
$n1->value(q(ALTER ROLE orchestra PASSWORD 'changed'));
$n1->value(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'orchestra'));
for my $node (@nodes)
{
	my $name = $node->name;
	wait_for("$name cannot log in to n1", sub { reachable($node) =~ /^!n1/ });
	wait_for("$name shows why", sub {
		row($node, 'n1')->{problem} =~ /no login from this node: .*password authentication/ });
	is(row($node, 'n1')->{state}, 'open', "n1 is still open on $name");
}
my @logged = $n2->log_text =~ /orchestra: (login_failed node=n1 .*password authentication.*)/g;
is(scalar @logged, 1, 'logged once, with the reason');
$n1->value("ALTER ROLE orchestra PASSWORD '$cluster->{password}{orchestra}'");
wait_for($_->name . ' logs in again', sub { reachable($_) eq 'n1 n2 n3' }) for @nodes;
is(row($n2, 'n1')->{problem}, undef, 'no problem is left');

# ---- The role orchestra: reads, and calls what refuses everything that is not committed.
my $epoch = $n1->register->{epoch};
sub as_orchestra
{
	my ($node, $statement) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $statement, timeout => 30,
		connstr => $cluster->conninfo($node, 'orchestra') . ' dbname=postgres');
	return $status ? $err : $out;
}
is(as_orchestra($n2, 'SELECT count(*) FROM orchestra_status()'), 3, 'it may look');
is(as_orchestra($n1, "SELECT orchestra_promote('$epoch')"), 'primary already', 'promote again');
is(as_orchestra($n2, "SELECT orchestra_repoint('$epoch')"), 'following n1', 'repoint again');
my %refusal = (
	"SELECT orchestra_promote('99.1/99')" => qr/is not the committed epoch/,
	"SELECT orchestra_repoint('99.1/99')" => qr/is not the committed epoch/,
	"SELECT orchestra_promote('$epoch')" => qr/is not the primary of epoch/,
	"SELECT orchestra_create_cluster('{n1}', 'manual')" => qr/permission denied/,
	"SELECT orchestra_check_record('$epoch')" => qr/permission denied/,
	'SELECT pg_promote()' => qr/permission denied/,
	'SELECT pg_reload_conf()' => qr/permission denied/,
	q(ALTER SYSTEM SET primary_conninfo = '') => qr/permission denied|must be superuser/);
like(as_orchestra($n2, $_), $refusal{$_}, "refused: $_") for sort keys %refusal;
like(as_orchestra($n2,
		"SELECT orchestra_record('k', now(), 'n2', 'detected', '$epoch', 'n1', 'x', NULL, NULL)"),
	qr/not a primary with a lease/, 'no record on a standby');
like(as_orchestra($n1, 'DELETE FROM orchestra_detection'), qr/permission denied/, 'tables');

# ---- A standby dies: unreachable with its age, detected and recorded, no failover.
my ($victim) = grep { !row($n1, $_->name)->{coordinator} } $n2, $n3;
my ($other) = grep { $_ != $victim } $n2, $n3;
my $name = $victim->name;
my $since = $n1->value('SELECT clock_timestamp()');
$victim->kill_all;
for my $node ($n1, $other)
{
	my $where = $node->name;
	wait_for("$name is unreachable on $where", sub {
		row($node, $name)->{state} eq 'unreachable' });
	my $row = row($node, $name);
	cmp_ok($row->{seen_ago_ms}, '>=', 2000, "with its age on $where");
	is($row->{lag_bytes}, undef, "without a lag on $where");
	wait_for("the detection is recorded on $where", sub {
		$node->value(q(SELECT count(*) FROM orchestra_detection
			WHERE detail LIKE 'StandbyNotReplicating: %' AND recovery IS NULL)
			  . " AND at > '$since'") == 1 });
}
is($n1->value('SELECT count(*) FROM orchestra_recoveries()'), 0, 'no recovery');
is($n1->register->{epoch}, $epoch, 'the epoch stays');

# A monitor that starts anew reads the same notes again, and records none twice.
my $detections = q(SELECT string_agg(key, ' ' ORDER BY at) FROM orchestra_detection);
my $before = $n1->value($detections);
my ($coordinator) = grep { row($n1, $_->name)->{coordinator} } $n1, $other;
my $monitor = $coordinator->worker('orchestra monitor');
kill TERM => $monitor;
wait_for('the monitor runs again', sub {
	my $pid = $coordinator->worker('orchestra monitor');
	$pid && $pid != $monitor && reachable($coordinator) =~ /\bn1\b/ });
$victim->start;
wait_for("$name is back", sub { row($n1, $name)->{state} eq 'streaming' });
wait_for('that is recorded', sub { $n1->value($detections) ne $before });
like($n1->value($detections), qr/^\Q$before\E /, 'the old records are as they were');
is($n1->value(q(SELECT count(*) - count(DISTINCT (coordinator, at, detail))
		FROM orchestra_detection)), 0, 'no event is recorded twice');

is(join(' ', $cluster->passwords_in_logs), '', 'no password in any log');
done_testing();
