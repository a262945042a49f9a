# What clients meet: at a primary that forms a cluster, at one whose gate is closed, and on the
# standbys meanwhile. Mode manual, so that the time without a primary lasts as long as it must.
use strict;
use warnings;
use IPC::Run;
use Orchestra::Cluster;
use Orchestra::Session;
use Orchestra::Wait qw(wait_for now);
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3, mode => 'manual', lease_ttl_ms => 600,
	settings => { wal_level => 'logical', log_line_prefix => '%m [%p] %e ' });
my ($n1, $n2, $n3) = $cluster->nodes;
$cluster->init_primary;
$n1->safe_psql('postgres', <<'END');
CREATE ROLE root SUPERUSER LOGIN;
CREATE ROLE watchers;
CREATE ROLE watcher LOGIN IN ROLE watchers;
GRANT pg_monitor TO watchers;
CREATE ROLE owner LOGIN IN ROLE pg_monitor;
CREATE DATABASE owned OWNER owner;
GRANT CONNECT ON DATABASE postgres TO PUBLIC;
SELECT pg_create_logical_replication_slot('changes', 'test_decoding');
END
$cluster->add_standby($_) for $n2, $n3;
for my $node ($n1, $n2, $n3)
{
	$node->append_conf('pg_hba.conf', "host all root,watcher,owner 127.0.0.1/32 trust\n");
	$node->reload;
}

# How $role reaches $node; 'tcp' or 'socket'.
sub conninfo
{
	my ($node, $way, $role) = @_;
	my $host = $way eq 'tcp' ? '127.0.0.1' : $node->host;
	return "host=$host port=${\ $node->port} user=$role dbname=postgres "
	  . "passfile=$cluster->{passfile} connect_timeout=5";
}

# Output of psql, which may be an error.
sub psql
{
	my ($conninfo, @sql) = @_;
	my ($out, $err) = run_command([ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $conninfo,
		map { ('-c' => $_) } @sql ]);
	return $out . $err;
}

# What a session has printed, once its server is gone.
sub told_of_end
{
	my ($session) = @_;
	my $lost = qr/server closed the connection|connection to server was lost/;
	return wait_for('the client is told', sub { $session->text =~ $lost && $session->text });
}

sub session { my ($node, $role) = @_; return Orchestra::Session->new($node, "user=$role") }

# ---- A primary that forms a cluster ends nobody, and takes nobody's rights.

my %plain = map { $_ => session($n1, 'app') } qw(idle begun running frozen committing);
$cluster->create;
is($plain{idle}->ask('SELECT 1'), "1\n", 'forming: a session from before goes on');
is(psql(conninfo($n1, 'tcp', 'owner') =~ s/dbname=\w+/dbname=owned/r,
		'CREATE TABLE public.t ()', 'DROP TABLE public.t'), '',
	'the owner of a database is its owner, whatever the login has asked of its roles');

# ---- The primary is cut off. Nobody takes its place yet.

$plain{idle}->ask('SELECT 1');
$plain{begun}->ask('BEGIN; INSERT INTO writes VALUES (-1)');
$plain{running}->say('SELECT pg_sleep(600)');
my ($frozen) = $plain{frozen}->ask('SELECT pg_backend_pid()') =~ /(\d+)/;
my %exempt = map { $_ => session($n1, $_) } qw(root watcher orchestra);
my %reader = map { $_->name => session($_, 'app') } $n2, $n3;
my $changes = '';
my @logical = ('pg_recvlogical', '-d', conninfo($n1, 'socket', 'root'), '--slot', 'changes',
	'--start', '--no-loop', '-f', '-');
my $subscriber = IPC::Run::start(\@logical, '<', \undef, '&>', \$changes);
my $count = q(SELECT count(*) FROM pg_stat_activity WHERE backend_type IN ('client backend',
	'walsender') AND datname IS NOT NULL AND );
wait_for('the logical walsender runs', sub {
	$n1->value("$count backend_type = 'walsender'") == 1 });
is($n1->value("$count usename = 'app'"), 5, 'open gate: the sessions are there');
kill STOP => $frozen;

my $log = -s $n1->logfile;
$cluster->relay->isolate('n1', 'n2', 'n3');
my $cut = now();
$plain{committing}->say('INSERT INTO writes VALUES (-2)');
wait_for('the role port says so', sub { $n1->role eq 'FENCED' });
note sprintf 'FENCED %.2f s after the cut', now() - $cut;
ok(eval { wait_for('all but the frozen one', sub { $n1->value("$count usename = 'app'") == 1 }) },
	'plain sessions are ended');
note sprintf 'ended %.2f s after the cut', now() - $cut;
is($n1->value("$count backend_type = 'walsender'"), 0, 'so is the logical walsender');
wait_for('and its client', sub { !eval { $subscriber->pump_nb; $subscriber->pumpable } });
eval { $subscriber->finish };
is(scalar(() = slurp_file($n1->logfile, $log) =~ / 57P01 FATAL:  terminating connection/g), 5,
	'each of them once, with 57P01');
is($n1->value('SELECT ended FROM orchestra_gate()'), 6, 'and counted, the frozen one too');

for my $name (qw(idle begun committing running))
{
	$plain{$name}->say('COMMIT') unless $plain{$name}->{said};    # who waits is told at once
	my $text = told_of_end($plain{$name});
	like($text, qr/57P01: terminating connection due to administrator command/, "$name: 57P01")
	  unless $name eq 'committing';
	unlike($text, qr/^(?:INSERT 0|COMMIT)/m, "$name: no acknowledgement");
}
for my $name (sort keys %exempt)
{
	is($exempt{$name}->ask('SHOW transaction_read_only'), "on\n", "$name: stays, read-only");
	like($exempt{$name}->ask('CREATE TABLE nothing ()'), qr/ERROR:  25006: /, "$name: 25006");
}

# ---- Who may log in to it. $hint is a part of what the others are told.

sub table_of_logins
{
	my ($when, $hint) = @_;
	my $refused = qr/FATAL:  this node is fenced: it holds no lease of the primary role\nHINT:  $hint/;
	for my $way ('socket', 'tcp')
	{
		for my $role (qw(root watcher orchestra))
		{
			like(psql(conninfo($n1, $way, $role), 'SHOW transaction_read_only',
					'INSERT INTO writes VALUES (-3)'),
				qr/^on\s*ERROR:  25006: /, "$when: $role by $way: read-only");
		}
		like(psql(conninfo($n1, $way, 'app'), 'SELECT 1'), $refused, "$when: app by $way: refused");
		like(psql(conninfo($n1, $way, 'replicator') . ' replication=true', 'IDENTIFY_SYSTEM'),
			qr/^\d+\|1\|/, "$when: replication by $way: let in");
		like(psql(conninfo($n1, $way, 'root') . ' replication=database', 'SELECT 1'), $refused,
			"$when: logical replication of a superuser by $way: refused");
	}
	my ($out, $err) = run_command(\@logical);
	like($err, $refused, "$when: the logical walsender does not come back");
	return;
}

my $none = qr/Connect to the primary of the cluster; orchestra_status\(\) names it\./;
table_of_logins('no primary', $none);
unlike(slurp_file($n1->logfile, $log), qr/ (?!57P03)\w{5} FATAL:  this node is fenced/, '57P03');

# ---- Lists of hosts, as libpq goes through them, and pgjdbc with its probes.

sub names_of { my ($port) = @_; return join ' ', map { $_->name } grep { $_->port eq $port }
	  $cluster->nodes }

sub lands_on
{
	my ($attribute) = @_;
	my $hosts = $cluster->client_conninfo =~ s/read-write/$attribute/r;
	my $answer = psql($hosts, 'SELECT inet_server_port()');
	return names_of($answer) || $answer;
}

sub first_where
{
	my ($probe, $wanted) = @_;
	my ($node) = grep { psql(conninfo($_, 'tcp', 'app'), $probe) eq $wanted } $cluster->nodes;
	return $node ? $node->name : 'nobody';
}

sub host_lists
{
	my ($when, $primary, $standby) = @_;
	my %wanted = (any => qr/^n2$/, 'read-write' => $primary, primary => $primary,
		'read-only' => $standby, standby => $standby, 'prefer-standby' => $standby);
	like(lands_on($_), $wanted{$_}, "$when: target_session_attrs=$_") for sort keys %wanted;
	like(first_where('SHOW transaction_read_only', 'off'), $primary, "$when: a probe for writers");
	like(first_where('SELECT pg_is_in_recovery()', 't'), $standby, "$when: a probe for readers");
	return;
}

# A libpq that finds no such host says why, of the last ones.
host_lists('no primary', qr/^nobody$|(?:session is read-only|server is in hot standby mode)$/,
	qr/^n2$/);

# ---- The failover. Readers of standbys stay, on the one that becomes the primary too.

is($n2->value('SELECT orchestra_failover()') ne '', 1, 'a failover by call');
my $answers = 0;
my $new = wait_for('the new primary', sub {
	$answers += grep { $_->ask('SELECT 1') eq "1\n" } values %reader;
	(grep { $_->role eq 'MASTER' } $n2, $n3)[0] });
is($reader{$_}->ask('SELECT 1'), "1\n", "the failover: the reader on $_ is still there")
  for sort keys %reader;
note "$answers answers of readers during the failover";
is($reader{ $new->name }->ask('INSERT INTO writes VALUES (1)'), "INSERT 0 1\n",
	'and may write, on the new primary');
my ($standby) = grep { $_ != $new } $n2, $n3;

# ---- The old primary learns of it.

$cluster->relay->heal;
my $named = 'Connect to the primary of the cluster: ' . $new->name
  . ", at 127.0.0.1:$new->{pg_front}\\.";
wait_for('the old primary names the new one', sub {
	psql(conninfo($n1, 'socket', 'app'), 'SELECT 1') =~ /$named/ });
table_of_logins('a new primary', $named);
host_lists('a new primary', qr/^${\ $new->name}$/, qr/^${\ $standby->name}$/);
is($n1->role, 'FENCED', 'the role port says it');

kill CONT => $frozen;
wait_for('the frozen session is ended when it goes on', sub {
	$n1->value("$count usename = 'app'") == 0 });
$plain{frozen}->say('SELECT 1');
like(told_of_end($plain{frozen}),
	qr/57P01: terminating connection .*\nHINT:  $named/, 'it is told of the new primary');
is($exempt{root}->ask('SELECT 1'), "1\n", 'the superuser is still there');
is($new->value('SELECT count(*) FROM writes WHERE id < 0'), 0, 'nothing of it was written');

$cluster->end;
done_testing();
