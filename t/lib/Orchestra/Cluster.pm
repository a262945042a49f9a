# A cluster of real servers: n1 (the first primary), n2, n3, ...
#
#   my $cluster = Orchestra::Cluster->new(nodes => 3);     see `new` for what can be chosen
#   $cluster->form;                                        all of the below, in order:
#     ->init_primary; ->add_standby($_) ...; ->create
#   my ($n1, $n2, $n3) = $cluster->nodes;                  Orchestra::Node
#   $cluster->relay->cut('n1', 'n2');                      Orchestra::Relay; see there
#   my $primary = $cluster->wait_for_primary(not => $n1);  says MASTER on its role port
#   my $writer = $cluster->writer('w');                    Orchestra::Writer
#
# Nodes reach each other through the relay only: peer port, libpq and WAL. Tests and clients connect
# directly. The login roles are orchestra (the coordinator's), replicator and app (the writers'),
# all by scram with a password file; the superuser comes in by the socket alone.
package Orchestra::Cluster;
use strict;
use warnings;
use Carp;
use File::Path ();
use Orchestra::Node;
use Orchestra::Relay;
use Orchestra::Wait qw(wait_for);
use Orchestra::Writer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

my @clusters;
my $number_of_clusters = 0;

# nodes    how many (3)
# names    of the nodes (n1, n2, ...), when another cluster runs at the same time
# relay    0: nodes reach each other directly (1)
# slots    1: each standby has a replication slot named after it (0)
# mode     of the cluster that `create` forms (automatic)
# lease_ttl_ms  of that cluster (2000)
# settings => { name => value } for every node, for example max_prepared_transactions => 10
sub new
{
	my ($class, %chosen) = @_;
	my $number = delete $chosen{nodes} // 3;
	my @names = @{ delete $chosen{names} // [ map { "n$_" } 1 .. $number ] };
	my $self = bless { nodes => [], slots => 0, settings => {}, mode => 'automatic',
		lease_ttl_ms => 2000, %chosen }, $class;
	$self->{number} = ++$number_of_clusters;
	$self->{dir} = PostgreSQL::Test::Utils::tempdir();
	$self->{relay} = ($chosen{relay} // 1) ? Orchestra::Relay->new : undef;
	$self->_write_secrets;
	$self->_new_node($_) for @names;
	push @clusters, $self;
	return $self;
}

sub nodes { return @{ $_[0]{nodes} } }

# One node more: its name and its ports, as `new` makes them. No cluster knows of it yet.
sub new_node { my ($self, $name) = @_; return $self->_new_node($name) }

sub relay { return $_[0]{relay} }

# A file that only this user can read, in a directory of the test's own.
sub private_file
{
	my ($self, $name, $text) = @_;
	my $file = "$self->{dir}/$name";
	append_to_file($file, $text);
	chmod 0600, $file or croak "$file: $!";
	return $file;
}

sub node
{
	my ($self, $name) = @_;
	my ($node) = grep { $_->name eq $name } $self->nodes;
	return $node // croak "no node $name";
}

sub random_text
{
	my ($bytes) = @_;
	open my $random, '<:raw', '/dev/urandom' or croak $!;
	read($random, my $text, $bytes) == $bytes or croak $!;
	return unpack 'H*', $text;
}

sub _write_secrets
{
	my ($self) = @_;
	$self->{secret} = $self->private_file('secret', random_text(32));
	$self->{password} = { map { $_ => random_text(16) } qw(orchestra replicator app) };
	$self->{passfile} = $self->private_file('passfile',
		join '', map { "127.0.0.1:*:*:$_:$self->{password}{$_}\n" } keys %{ $self->{password} });
	return;
}

sub free_port { return PostgreSQL::Test::Cluster::get_free_port() }

# Names and ports only; nothing on disk yet.
sub _new_node
{
	my ($self, $name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	bless $node, 'Orchestra::Node';
	$node->{_logfile} =~ s/\.log$/_$self->{number}.log/;    # of this cluster of the test alone
	$node->{$_} = free_port() for qw(role_port peer_port);
	# where the other nodes find it
	$node->{pg_front} = $self->relay ? free_port() : $node->port;
	$node->{peer_front} = $self->relay ? free_port() : $node->{peer_port};
	if ($self->relay)
	{
		$self->relay->front($name, 'pg', $node->{pg_front}, $node->port);
		$self->relay->front($name, 'peer', $node->{peer_front}, $node->{peer_port});
	}
	push @{ $self->{nodes} }, $node;
	return $node;
}

# How a node with $role reaches $node over the network.
sub conninfo
{
	my ($self, $node, $role) = @_;
	return "host=127.0.0.1 port=$node->{pg_front} user=$role passfile=$self->{passfile}";
}

# How a client reaches whichever of @nodes (all) is the primary.
sub client_conninfo
{
	my ($self, @nodes) = @_;
	@nodes = $self->nodes unless @nodes;
	return join ' ', 'host=' . join(',', ('127.0.0.1') x @nodes),
	  'port=' . join(',', map { $_->port } @nodes),
	  "user=app dbname=postgres passfile=$self->{passfile}",
	  'target_session_attrs=read-write connect_timeout=2';
}

sub _settings_of
{
	my ($self, $node) = @_;
	return (
		'orchestra.node_name' => $node->name,
		'orchestra.seeds' => join(',', map { "127.0.0.1:$_->{peer_front}" } $self->nodes),
		'orchestra.secret_file' => $self->{secret},
		'orchestra.peer_port' => $node->{peer_port},
		'orchestra.peer_address' => "127.0.0.1:$node->{peer_front}",
		'orchestra.role_port' => $node->{role_port},
		'orchestra.conninfo' => $self->conninfo($node, 'orchestra') . ' dbname=postgres',
		%{ $self->{settings} });
}

my $common_settings = <<'END';
include_if_exists = 'node.conf'
shared_preload_libraries = 'orchestra'
listen_addresses = '127.0.0.1'
max_connections = 50
wal_log_hints = on
wal_retrieve_retry_interval = '200ms'
password_encryption = 'scram-sha-256'
fsync = on
restart_after_crash = on
dynamic_shared_memory_type = mmap
log_statement = none
max_wal_size = '256MB'
wal_keep_size = '64MB'
log_min_messages = info
END

my $access = <<'END';
local all         all                     trust
local replication all                     trust
host  all         orchestra,app 127.0.0.1/32 scram-sha-256
host  replication replicator    127.0.0.1/32 scram-sha-256
END

sub init_primary
{
	my ($self) = @_;
	my ($primary) = $self->nodes;
	$primary->init(allows_streaming => 1);
	$primary->append_conf('postgresql.conf', $common_settings);
	unlink $primary->data_dir . '/pg_hba.conf';
	$primary->append_conf('pg_hba.conf', $access);
	$primary->write_settings($self->_settings_of($primary));
	$self->_follow($primary);
	$primary->start;
	$primary->safe_psql('postgres', $self->_setup_sql);
	$primary->backup('base');
	return $primary;
}

sub _setup_sql
{
	my ($self) = @_;
	my $password = $self->{password};
	return <<"END";
CREATE EXTENSION orchestra;
CREATE ROLE orchestra LOGIN PASSWORD '$password->{orchestra}';
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
SELECT orchestra_grant('orchestra');
CREATE ROLE replicator LOGIN REPLICATION PASSWORD '$password->{replicator}';
CREATE ROLE app LOGIN PASSWORD '$password->{app}';
GRANT CONNECT ON DATABASE postgres TO app;
CREATE TABLE writes (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
GRANT SELECT, INSERT ON writes TO app;
END
}

# Where its receiver goes when nothing else is said: to $from. Used by standbys only.
sub _follow
{
	my ($self, $node, $from) = @_;
	my $name = $node->name;
	my $upstream =
	  $self->conninfo($from // ($self->nodes)[0], 'replicator') . " application_name=$name";
	$node->append_conf('postgresql.auto.conf', "primary_conninfo = '$upstream'");
	$node->append_conf('postgresql.auto.conf', "primary_slot_name = '$name'") if $self->{slots};
	return;
}

# A base backup of the first node, or of $from, its settings made the new node's own.
sub clone
{
	my ($self, $node, $backup, $from) = @_;
	$node->init_from_backup($from // ($self->nodes)[0], $backup // 'base');
	$node->write_settings($self->_settings_of($node));
	$self->_follow($node, $from);
	return $node;
}

# pg_rewind of a stopped node to what $from has, and a standby of it.
sub rewind
{
	my ($self, $node, $from) = @_;
	$from->safe_psql('postgres', 'CHECKPOINT');    # pg_rewind asks it for the timeline
	PostgreSQL::Test::Utils::system_or_bail('pg_rewind', '--target-pgdata', $node->data_dir,
		'--source-server', $from->connstr('postgres'));
	# What $from wrote meanwhile: consistent only with it, and a node without a vote receives nothing.
	PostgreSQL::Test::Utils::system_or_bail('sh', '-c',
		"cp '" . $from->data_dir . "'/pg_wal/0* '" . $node->data_dir . "/pg_wal/'");
	return $self->make_its_own($node, $from);
}

# What was copied from another node becomes $node's: its settings, its ports. A standby of $from.
sub make_its_own
{
	my ($self, $node, $from) = @_;
	$node->write_settings($self->_settings_of($node));
	$node->append_conf('postgresql.conf', 'port = ' . $node->port);
	$self->_follow($node, $from);
	$node->set_standby_mode;
	return $node;
}

# A node that is not running becomes a standby of $from by a base backup, and is started. It has no
# vote.
sub make_anew
{
	my ($self, $node, $from) = @_;
	File::Path::rmtree($node->data_dir);
	PostgreSQL::Test::Utils::system_or_bail('pg_basebackup', '-D', $node->data_dir,
		'-d', $from->connstr('postgres'), '--checkpoint=fast', '--no-sync');
	$self->make_its_own($node, $from)->start;
	return $node;
}

# A standby with this cluster's secret and seeds, and of another database system. Not started.
sub init_stranger
{
	my ($self, $node) = @_;
	$node->init(allows_streaming => 1);
	$node->append_conf('postgresql.conf', $common_settings);
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION orchestra');
	$node->stop;
	$node->write_settings($self->_settings_of($node));
	$self->_follow($node);
	$node->set_standby_mode;
	return $node;
}

sub add_standby
{
	my ($self, $node) = @_;
	my $name = $node->name;
	$self->clone($node);
	$node->set_standby_mode;
	($self->nodes)[0]->safe_psql('postgres',
		"SELECT pg_create_physical_replication_slot('$name')") if $self->{slots};
	$node->start;
	return $node;
}

# orchestra_create_cluster() on the first node, with @voters (all).
sub create
{
	my ($self, @voters) = @_;
	my ($primary) = $self->nodes;
	my $names = join ',', map { $_->name } @voters ? @voters : $self->nodes;
	$primary->safe_psql('postgres', "SELECT orchestra_create_cluster('{$names}', '$self->{mode}', "
		  . "lease_ttl_ms => $self->{lease_ttl_ms})");
	$self->wait_for_primary;
	return;
}

sub form
{
	my ($self) = @_;
	$self->init_primary;
	my (undef, @others) = $self->nodes;
	$self->add_standby($_) for @others;
	$self->create;
	return $self;
}

# The node that says MASTER, as soon as there is one other than `not`.
sub wait_for_primary
{
	my ($self, %chosen) = @_;
	my @candidates = grep { !$chosen{not} || $_ != $chosen{not} } $self->nodes;
	return wait_for('a node says MASTER',
		sub { (grep { $_->{_pid} && $_->role eq 'MASTER' } @candidates)[0] }, $chosen{seconds});
}

# A client that writes, see Orchestra::Writer. Every writer of a cluster has ids of its own.
sub writer
{
	my ($self, $name, %chosen) = @_;
	my $number = $self->{writers}++ // 0;
	return Orchestra::Writer->new(
		name => $name, first_id => $number + 1, step => 64,
		conninfo => $self->client_conninfo, dir => $self->{dir}, %chosen);
}

# Names of the nodes that acknowledged commits, one after the other: "n1 n2" is a change of the
# primary, "n1 n2 n1" are two writers at once.
sub turns
{
	my ($self, @writers) = @_;
	my %name = map { $_->port => $_->name } $self->nodes;
	my @turns;
	for my $acknowledged (sort { $a->[0] <=> $b->[0] } map { $_->acknowledged } @writers)
	{
		my $name = $name{ $acknowledged->[2] };
		push @turns, $name unless @turns && $turns[-1] eq $name;
	}
	return "@turns";
}

# The node that all nodes of a quiet cluster hold for the coordinator: a standby.
sub coordinator
{
	my ($self) = @_;
	my ($primary) = grep { $_->role eq 'MASTER' } $self->nodes;
	my $name = wait_for('a standby is the coordinator', sub {
		my %names = map { ($_->register->{coordinator} // '') => 1 } $self->nodes;
		my ($name, @more) = keys %names;
		return !@more && $name ne '' && $name ne $primary->name && $name });
	return $self->node($name);
}

# Every password of this cluster that is found in one of its nodes' logs: none is well.
sub passwords_in_logs
{
	my ($self) = @_;
	my @secrets = (values %{ $self->{password} }, slurp_file($self->{secret}));
	return map { my $log = $_->log_text; grep { index($log, $_) >= 0 } @secrets } $self->nodes;
}

# Ends all of its nodes and removes their data, so that a test can make the next cluster.
sub end
{
	my ($self) = @_;
	$_->kill_all for $self->nodes;
	$_->clean_node for $self->nodes;
	$self->relay->stop if $self->relay;
	return;
}

# Ctrl-C and a plain kill end a test as its end does.
$SIG{INT} = sub { exit 130 };
$SIG{TERM} = sub { exit 143 };

# Before PostgreSQL::Test::Cluster ends the nodes with pg_ctl, for which a frozen one is no partner.
END
{
	local $?;
	Orchestra::Writer::end_all();
	$_->end for splice @clusters;
}

1;
