# A server that is out of recovery commits nothing until the register says that it is the primary:
# after a crash of one backend (though its last lease would still be good), after kill -9, after a
# clean restart, promoted behind our back, and started from a backup. Standbys get its WAL all the
# time, so that a commit that was let in would be acknowledged.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Session;
use Orchestra::Wait qw(wait_for now);
use PostgreSQL::Test::Utils;
use Test::More;

my $ttl = 10;
my $cluster = Orchestra::Cluster->new(nodes => 3, mode => 'manual', lease_ttl_ms => 1000 * $ttl)
  ->form;
my ($n1, $n2, $n3) = $cluster->nodes;
my $id = 0;

sub psql
{
	my ($conninfo, $sql) = @_;
	my ($out, $err) = run_command([ 'psql', '-XAt', '-v', 'VERBOSITY=verbose', '-c', $sql,
		'-d', "$conninfo dbname=postgres connect_timeout=5" ]);
	return $out . $err;
}

# What a superuser is told who writes, and what an application is told.
sub write_to
{
	my ($node, $commit) = @_;
	return psql($node->connstr . " options='-c synchronous_commit=$commit'",
		'INSERT INTO writes VALUES (' . --$id . ')');
}

sub app
{
	my ($node, $way) = @_;
	my $host = $way eq 'tcp' ? '127.0.0.1' : $node->host;
	return psql("host=$host port=${\ $node->port} user=app passfile=$cluster->{passfile}",
		'INSERT INTO writes VALUES (' . --$id . ')');
}

my $fenced = qr/this node is fenced: it holds no lease of the primary role\nHINT:  Connect to/;

sub is_closed
{
	my ($node, $what, $why) = (@_, $fenced);
	is(wait_for('the role port answers', sub { $node->role =~ /([MF].*)/ && $1 }), 'FENCED',
		"$what: not MASTER");
	like(write_to($node, $_), qr/^ERROR:  25006: cannot execute INSERT in a read-only/,
		"$what: a superuser, synchronous_commit=$_") for qw(on local off);
	like(app($node, $_), qr/FATAL:  $why/, "$what: an application by $_")
	  for qw(socket tcp);
	return;
}

sub is_open
{
	my ($node, $what) = @_;
	wait_for("$what: MASTER", sub { $node->role eq 'MASTER' });
	is(app($node, 'tcp'), 'INSERT 0 1', "$what: MASTER, and commits");
	return;
}

# ---- One backend is killed, so that the postmaster restarts all of its children.

my $victim = Orchestra::Session->new($n1);
my ($pid) = $victim->ask('SELECT pg_backend_pid()') =~ /(\d+)/;
$cluster->relay->cut('n1', $_, 'peer') for qw(n2 n3);
is(app($n1, 'tcp'), 'INSERT 0 1', 'crash of a backend: with the lease it had it commits');
my $killed = now();
kill KILL => $pid;
# Whatever answers from then on; who is refused for any other reason has not got through yet.
my $answer = wait_for('the server is back', sub {
	my $answer = write_to($n1, 'local');
	$answer =~ /25006|INSERT/ && $answer });
my $back = now() - $killed;
like($answer, qr/25006/, 'crash of a backend: the first that is let in does not commit');
is_closed($n1, 'crash of a backend');
note sprintf 'back after %.2f s, checked for %.2f s', $back, now() - $killed - $back;
cmp_ok($back, '<', $ttl * 0.8, 'crash of a backend: its lease would still have been good');
$cluster->relay->heal;
is_open($n1, 'crash of a backend: heard again');

# ---- All are killed, and the former primary starts alone; then once more, after a clean stop.

$n1->backup('member');
$_->kill_all for $n2, $n3, $n1;
$n1->start;
is_closed($n1, 'killed, alone');
$n1->stop;
$n1->start;
is_closed($n1, 'stopped, alone');
$_->start for $n2, $n3;
is_open($n1, 'with a majority');

# ---- A standby that somebody promotes, and its readers.

my $reader = Orchestra::Session->new($n2, 'user=app');
is($n2->value('SELECT pg_promote()'), 't', 'pg_promote(): it is out of recovery');
is_closed($n2, 'pg_promote()');
my $address = "n1, at 127.0.0.1:$n1->{pg_front}";
like(app($n2, 'tcp'), qr/HINT:  Connect to the primary of the cluster: $address\./,
	'pg_promote(): the primary is named');
wait_for('its readers are ended', sub {
	$n2->value(q(SELECT count(*) FROM pg_stat_activity WHERE usename = 'app')) == 0 });
$reader->say('SELECT 1');
like(wait_for('and told', sub { $reader->text =~ /server closed/ && $reader->text }),
	qr/FATAL:  57P01: .*\nHINT:  .*: $address\./, 'pg_promote(): its readers are ended');
is_open($n1, 'pg_promote(): the primary goes on');
$n2->restart;
is_closed($n2, 'pg_promote(), restarted');
system_or_bail('pg_ctl', '-D', $n3->data_dir, '-w', 'promote');
is_closed($n3, 'pg_ctl promote');

# ---- A backup of the primary, started elsewhere.

my $n4 = $cluster->new_node('n4');
$cluster->clone($n4, 'member');
$n4->start;
is_closed($n4, 'backup',
	qr/this node is quarantined: it accepts no writes\nDETAIL:  This node has /);

my $ids = q(SELECT string_agg(id::text, ' ' ORDER BY id) FROM writes);
my %known = map { $_ => 1 } split / /, $n1->value($ids);
for my $node ($n2, $n3, $n4)
{
	is(join(' ', grep { !$known{$_} } split / /, $node->value($ids)), '',
		$node->name . ' has committed nothing of its own');
}
$cluster->end;
done_testing();
