# The states of a node at its start: a server with only the preload line is plain PostgreSQL with a
# role port; a marker without a valid vote accepts no writes and says why. Nothing in the files or
# in the settings keeps a server from starting.
use strict;
use warnings;
use Orchestra::Wait qw(wait_for);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $marker = 'orchestra/cluster';
my $vote = 'orchestra/pgsql_tmp_vote/vote';

# What the role port says; '' when nobody answers.
sub role
{
	my ($node) = @_;
	my $socket = IO::Socket::INET->new(
		PeerAddr => '127.0.0.1', PeerPort => $node->{role_port}, Timeout => 5) or return '';
	return join '', <$socket>;
}

sub role_becomes
{
	my ($node, $role, $what) = @_;
	is(wait_for("role $role", sub { role($node) eq $role && $role }), $role, $what);
	return;
}

# Writes $bytes into a file of the data directory, 0600.
sub put
{
	my ($node, $file, $bytes) = @_;
	my $path = $node->data_dir . "/$file";
	unlink $path;
	append_to_file($path, $bytes);
	chmod 0600, $path or die "$path: $!";
	return;
}

sub preload
{
	my ($node) = @_;
	$node->{role_port} = PostgreSQL::Test::Cluster::get_free_port();
	$node->append_conf('postgresql.conf', <<"EOC");
shared_preload_libraries = 'orchestra'
restart_after_crash = on
orchestra.role_port = $node->{role_port}
EOC
	return;
}

sub crc32c
{
	my ($bytes) = @_;
	my $crc = 0xFFFFFFFF;
	for my $byte (unpack 'C*', $bytes)
	{
		$crc ^= $byte;
		$crc = $crc & 1 ? ($crc >> 1) ^ 0x82F63B78 : $crc >> 1 for 1 .. 8;
	}
	return $crc ^ 0xFFFFFFFF;
}

# A valid marker: this database system belongs to a cluster.
sub marker
{
	my ($node) = @_;
	my $system = $node->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()');
	my $name = 'main';
	my $image = 'ORCHMARK' . pack('VQ<Q<va*', 1, 7, $system, length $name, $name);
	return $image . pack('V', crc32c($image));
}

sub refuses_writes
{
	my ($node, $why, $what) = @_;
	my ($status, $out, $err) = $node->psql('postgres', 'INSERT INTO t VALUES (0)');
	like($err, qr/ERROR:  cannot execute INSERT in a read-only transaction/, "$what: refused early");
	($status, $out, $err) = $node->psql('postgres', 'VACUUM t');
	like($err, qr/ERROR:  this node is quarantined: it accepts no writes\nDETAIL:  $why/,
		"$what: says why");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), 1, "$what: can be read");
	return;
}

# ---- unconfigured

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
preload($primary);
$primary->start;
role_becomes($primary, 'MASTER', 'role of a plain primary');
is($primary->safe_psql('postgres', 'CREATE TABLE t (n int); INSERT INTO t VALUES (1); TABLE t'),
	1, 'it accepts writes');
ok(!-e $primary->data_dir . "/$marker" && !-e $primary->data_dir . "/$vote", 'it has no vote');
is((stat $primary->data_dir . '/orchestra')[2] & 07777, 0700, 'its state is nobody else\'s');

$primary->backup('plain');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'plain', has_streaming => 1);
preload($standby);
$standby->start;
role_becomes($standby, 'STANDBY', 'role of a plain standby');
$primary->wait_for_catchup($standby);
$standby->promote;
role_becomes($standby, 'MASTER', 'role after pg_ctl promote');
$standby->stop;

# A port in use: the server runs, and takes the port once it is free.
my $taken = PostgreSQL::Test::Cluster::get_free_port();
my $holder = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $taken, Listen => 1)
  or die "listen: $!";
$primary->{role_port} = $taken;
$primary->append_conf('postgresql.conf', "orchestra.role_port = $taken\n");
$primary->restart;
$primary->wait_for_log(qr/role port closed reason="could not bind .*:$taken: Address already/);
is($primary->safe_psql('postgres', 'SELECT 1'), 1, 'the server runs without its role port');
close $holder;
role_becomes($primary, 'MASTER', 'the role port opens once the port is free');
$primary->append_conf('postgresql.conf', "orchestra.role_port = 0\n");
$primary->reload;
ok(wait_for('role port off', sub { role($primary) eq '' }), 'a reload turns the role port off');
$primary->append_conf('postgresql.conf', "orchestra.role_port = $taken\n");
$primary->reload;
role_becomes($primary, 'MASTER', 'and on');

# ---- quarantined

my $bytes = marker($primary);
put($primary, $marker, $bytes);
put($primary, $vote, 'a vote');
$primary->backup('member');
my $backup = $primary->backup_dir . '/member';
ok(-e "$backup/$marker", 'a base backup copies the marker');
ok(!-e "$backup/orchestra/pgsql_tmp_vote", 'and not the vote');

my $clone = PostgreSQL::Test::Cluster->new('clone');
$clone->init_from_backup($primary, 'member');
preload($clone);
$clone->start;
refuses_writes($clone, 'This node has no valid vote: its vote file is missing', 'clone');
role_becomes($clone, 'FENCED', 'role of a quarantined node');
like(slurp_file($clone->logfile), qr/WARNING:  orchestra: This node has no valid vote/, 'logged');

# A crash of a backend starts the server's shared memory anew: still quarantined.
my $victim = $clone->background_psql('postgres', on_error_die => 0, on_error_stop => 0);
my $pid = $victim->query('SELECT pg_backend_pid()');
kill KILL => $pid or die "kill: $!";
$clone->wait_for_log(qr/all server processes terminated; reinitializing/);
$clone->poll_query_until('postgres', 'SELECT true') or die 'no restart';
refuses_writes($clone, 'This node has no valid vote', 'after a crash restart');
eval { $victim->quit };

for my $case (
	[ 'garbage marker', $marker, 'x' x 100, 'the file orchestra/cluster is damaged' ],
	[ 'garbage vote', $vote, 'y' x 100, 'its vote file is damaged' ],
	[ 'huge vote', $vote, 'z' x 2_000_000, '"orchestra/pgsql_tmp_vote/vote" is too long' ])
{
	my ($what, $file, $content, $why) = @$case;
	$clone->stop;
	put($clone, $marker, $bytes);
	put($clone, $file, $content);
	$clone->start;
	refuses_writes($clone, "This node has no valid vote: $why", $what);
}
$clone->stop;
put($clone, $marker, $bytes);
chmod 0, $clone->data_dir . "/$vote";
$clone->start;
refuses_writes($clone,
	'This node has no valid vote: could not open "orchestra/pgsql_tmp_vote/vote": Permission denied',
	'unreadable vote');

# The way out that the reason names, and the one of the administrator.
$clone->append_conf('postgresql.conf', "orchestra.enabled = off\n");
$clone->restart;
$clone->safe_psql('postgres', 'DELETE FROM t WHERE false; INSERT INTO t VALUES (2)');
like(slurp_file($clone->logfile), qr/WARNING:  orchestra is preloaded but off/, 'off: said so');
$clone->stop;

# ---- settings that will not do

my $offset = -s $primary->logfile;
unlink map { $primary->data_dir . "/$_" } $marker, $vote;
my %wrong = (
	'orchestra.role_port' => [ '70000', '70000 is outside the valid range' ],
	'orchestra.peer_bind' => [ '0.0.0.0', 'only loopback addresses are allowed' ],
	'orchestra.peer_address' => [ 'example.org:5434', 'is not an IP address and a port' ],
	'orchestra.seeds' => [ '127.0.0.1:1, ::1', 'is not an IP address and a port' ],
	'orchestra.conninfo' => [ 'host=127.0.0.1 password=guess', 'It must not contain password' ],
	'orchestra.role_bind' => [ 'everywhere', 'or an IP address' ],
	'orchestra.node_name' => [ '*', 'means every standby' ],);
$primary->append_conf('postgresql.conf', "$_ = '$wrong{$_}[0]'\n") for sort keys %wrong;
$primary->restart;
my $log = slurp_file($primary->logfile, $offset);
for my $name (sort keys %wrong)
{
	my ($value, $why) = @{ $wrong{$name} };
	like($log, qr/parameter "\Q$name\E"/, "$name = $value is refused");
	like($log, qr/\Q$why\E/, "$name: says why");
	unlike($primary->safe_psql('postgres', "SHOW $name"), qr/\Q$value\E/, "$name keeps its default");
}
unlike(slurp_file($primary->logfile), qr/guess/, 'the log shows no password');

# ---- no free worker slot: any session that asks is told
$primary->append_conf('postgresql.conf', "max_worker_processes = 0\n");
$primary->restart;
is($primary->safe_psql('postgres', 'INSERT INTO t VALUES (3) RETURNING n'), 3, 'no worker: runs');
$primary->safe_psql('postgres', 'CREATE EXTENSION orchestra');
like($primary->safe_psql('postgres', 'SELECT problem FROM orchestra_status()'),
	qr/workers do not all run .*max_worker_processes/, 'no worker: told');
$primary->stop;
done_testing();
