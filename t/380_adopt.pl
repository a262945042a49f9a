# docs/adopt.md, every command of it and in its order, on a cluster that orchestra did not make: own
# names, roles, slots, TLS, scram, pg_hba.conf with a reject line, synchronous settings, data, and a
# client that writes all along. In the end everything is as it was, byte for byte.
use strict;
use warnings;
use Orchestra::Node;
use Orchestra::Wait qw(wait_for now);
use Orchestra::Writer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $network = '127.0.0.1/32';

# ---- the page

# Fenced blocks that run: { language, node, id, text, line }. Others are refused.
sub blocks_of
{
	my ($page) = @_;
	my (@blocks, $block);
	my $number = 0;
	for my $line (split /^/m, $page)
	{
		$number++;
		if ($line =~ /^```/ && $block) { push @blocks, $block; $block = undef; next }
		if ($block) { $block->{text} .= $line; next }
		next unless $line =~ /^```(.*)/;
		my ($language, @words) = split ' ', $1;
		my %tags = map { /^(\w+)=(\w+)$/ ? ($1 => $2) : (wrong => $_) } @words;
		die "docs/adopt.md:$number: a block that cannot be run: $line"
		  unless ($language // '') =~ /^(?:sh|sql)$/ && !$tags{wrong}
		  && ($tags{node} // '') =~ /^(?:each|primary|standbys)$/;
		$block = { language => $language, id => '', text => '', line => $number, %tags };
	}
	die 'docs/adopt.md: a block without an end' if $block;
	return @blocks;
}

my $page = slurp_file(($ENV{ORCHESTRA_TOP} // '.') . '/docs/adopt.md');
my @blocks = blocks_of($page);
my %stated = map { $_ => 1 } $page =~ /^\| `\@([A-Z]+)\@` \|/mg;
my %used = map { $_ => 1 } map { $_->{text} =~ /\@([A-Z]+)\@/g } @blocks;
is(join(' ', sort keys %used), join(' ', sort keys %stated),
	'the page states the placeholders that it uses');

# ---- a cluster that knows nothing of orchestra

my %password = (repl => 'of the replication', app => 'of the application');
append_to_file("$dir/client", join '', map { "*:*:*:$_:$password{$_}\n" } sort keys %password);
chmod 0600, "$dir/client" or die $!;

PostgreSQL::Test::Utils::system_or_bail('openssl', 'req', '-new', '-x509', '-nodes', '-days', 9,
	'-subj', '/CN=adopted', '-keyout', "$dir/server.key", '-out', "$dir/server.crt");
chmod 0600, "$dir/server.key" or die $!;

my $settings = <<"END";
listen_addresses = '127.0.0.1'
shared_preload_libraries = 'auto_explain'
max_worker_processes = 6
max_connections = 50
restart_after_crash = on
wal_keep_size = '64MB'
password_encryption = 'scram-sha-256'
synchronous_commit = on
ssl = on
ssl_cert_file = '$dir/server.crt'
ssl_key_file = '$dir/server.key'
log_statement = ddl
END
my $access = <<"END";
# made by hand
local all         all              trust
local replication all              trust
host  all         app  $network scram-sha-256
host  replication repl $network scram-sha-256
host  all         all  0.0.0.0/0   reject
END

sub node
{
	my ($name) = @_;
	my $node = bless PostgreSQL::Test::Cluster->new($name), 'Orchestra::Node';
	$node->{$_} = PostgreSQL::Test::Cluster::get_free_port() for qw(role_port peer_port);
	return $node;
}

sub make_primary
{
	my ($node) = @_;
	$node->init(allows_streaming => 1);
	$node->append_conf('postgresql.conf', $settings);
	unlink $node->data_dir . '/pg_hba.conf';
	append_to_file($node->data_dir . '/pg_hba.conf', $access);
	$node->start;
	$node->safe_psql('postgres', <<"END");
SET log_statement = none;
CREATE ROLE repl LOGIN REPLICATION PASSWORD '$password{repl}';
CREATE ROLE app LOGIN PASSWORD '$password{app}';
ALTER ROLE app SET work_mem = '5MB';
CREATE TABLE writes (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
GRANT SELECT, INSERT ON writes TO app;
CREATE TABLE kept AS SELECT g AS id, md5(g::text) AS text FROM generate_series(1, 1000) g;
END
	$node->safe_psql('postgres', "ALTER SYSTEM SET $_") for q(work_mem = '6MB'), 'log_lock_waits = on';
	$node->backup('base');
	return;
}

sub upstream
{
	my ($primary) = @_;
	return 'host=127.0.0.1 port=' . $primary->port
	  . " user=repl passfile=$dir/client sslmode=require channel_binding=prefer";
}

sub make_standby
{
	my ($node, $primary) = @_;
	my $name = $node->name;
	$node->init_from_backup($primary, 'base');
	$node->append_conf('postgresql.auto.conf',
		"primary_conninfo = '" . upstream($primary) . " application_name=$name'");
	$node->append_conf('postgresql.auto.conf', "primary_slot_name = '${name}_slot'");
	$node->set_standby_mode;
	$primary->safe_psql('postgres', "SELECT pg_create_physical_replication_slot('${name}_slot')");
	$node->start;
	return;
}

my ($alpha, $beta, $gamma) = my @nodes = map { node($_) } qw(alpha beta gamma);
make_primary($alpha);
make_standby($_, $alpha) for $beta, $gamma;
my $own_set = 'ANY 1 (beta, gamma)';
$alpha->safe_psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = '$own_set'");
$alpha->reload;

# ---- what the page finds, and must leave behind

sub file_of { my ($node, $name) = @_; return slurp_file($node->data_dir . "/$name") }
# cluster_name is on the command line of a node's first start, which is not the page's.
sub settings_of
{
	my ($node) = @_;
	return $node->value(q(SELECT name, setting, source FROM pg_settings
		WHERE name NOT IN ('in_hot_standby', 'cluster_name') AND source <> 'client' ORDER BY name));
}
sub streaming
{
	return $alpha->value(q(SELECT string_agg(application_name, ' ' ORDER BY application_name)
		FROM pg_stat_replication WHERE state = 'streaming')) eq 'beta gamma';
}
sub sync_names { return $alpha->value('SHOW synchronous_standby_names') }
sub slots
{
	my ($node) = @_;
	return $node->value(q(SELECT string_agg(slot_name || active, ' ' ORDER BY slot_name)
		FROM pg_replication_slots));
}

wait_for('the standbys stream', \&streaming);
wait_for('the synchronous setting is in force', sub { sync_names() eq $own_set });
my @files = qw(postgresql.auto.conf postgresql.conf pg_hba.conf);
my %before = map { my $node = $_; $node->name => { settings => settings_of($node),
	map { $_ => file_of($node, $_) } @files } } @nodes;
my $slots = slots($alpha);

my $writer = Orchestra::Writer->new(name => 'client', first_id => 1, step => 1, dir => $dir,
	patience_ms => 20000, pace_us => 5000,
	conninfo => join(' ', 'host=' . join(',', ('127.0.0.1') x @nodes),
		'port=' . join(',', map { $_->port } @nodes), "user=app dbname=postgres",
		"passfile=$dir/client target_session_attrs=read-write connect_timeout=2"));
$writer->wait_for_acknowledged(100);

# ---- running it

# Where the page's blocks run: on the nodes that are it at that moment.
my %nodes_of = (each => \@nodes, primary => [$alpha], standbys => [ $beta, $gamma ]);

sub with_placeholders
{
	my ($text, $node) = @_;
	my %is = (
		NAME => $node->name, HOST => '127.0.0.1', PORT => $node->port,
		PEER => $node->{peer_port}, ROLE => $node->{role_port},
		SEEDS => join(', ', map { "127.0.0.1:$_->{peer_port}" } @nodes), NETWORK => $network,
		FOLLOW => upstream($alpha),
		DATA => $node->data_dir, CONF => $node->data_dir, LOG => $node->logfile,
		DIR => "$dir/orchestra");
	$text =~ s/\@([A-Z]+)\@/$is{$1} or die "no placeholder $1"/ge;
	return $text;
}

# Whether it succeeded, and what it printed.
sub run_block
{
	my ($block, $node) = @_;
	my ($in, $out) = ("$dir/block.in", "$dir/block.out");    # no pipe: servers keep its end of it
	unlink $in;
	append_to_file($in, with_placeholders($block->{text}, $node));
	my @command = $block->{language} eq 'sh' ? ('bash', '-eu', '-o', 'pipefail', $in)
	  : ('psql', '-XAt', '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-p', $node->port, '-f', $in);
	local $ENV{PGHOST} = $node->host;
	delete local $ENV{PGAPPNAME};
	my $done = IPC::Run::run(\@command, '<', '/dev/null', '&>', $out,
		IPC::Run::timeout(120, exception => "$block->{line}: no end"));
	return ($done, slurp_file($out));
}

sub run_on_all
{
	my ($block) = @_;
	my $what = "docs/adopt.md:$block->{line}" . ($block->{id} && " ($block->{id})");
	my %said;
	for my $node (@{ $nodes_of{ $block->{node} } })
	{
		my ($done, $said) = run_block($block, $node);
		ok($done, "$what on " . $node->name) or diag $said;
		die "$what: nothing of the rest would make sense" if !$done;
		note $said;
		$said{ $node->name } = $said;
		$node->_update_pid(-e $node->data_dir . '/postmaster.pid' ? 1 : 0);
	}
	return \%said;
}

# ---- what the page says of its blocks

my ($stopped, $epoch, @secrets);
sub roles { return join ' ', map { $_->role } @nodes }
sub cluster { my ($what) = @_; return $alpha->value("SELECT $what FROM orchestra_cluster()") }
sub same_settings
{
	my ($what) = @_;
	is(file_of($_, 'postgresql.auto.conf'), $before{ $_->name }{'postgresql.auto.conf'},
		"$what: settings of " . $_->name . ' untouched') for @nodes;
	return;
}
sub writes_on { return $writer->wait_for_acknowledged(50, after => now()) }

my %says = (
	secret => sub {
		my ($said) = @_;
		my %kinds = map { $_ => 1 } values %$said;
		is(scalar keys %kinds, 1, 'the same files on every node');
		like($said->{beta}, qr/^600 .*^600 /ms, 'and nobody else reads them');
		@secrets = map { slurp_file("$dir/orchestra/$_") =~ /([0-9a-f]+)$/ } qw(secret passfile);
	},
	streaming => sub {
		wait_for('the standbys stream', \&streaming);
		writes_on();
	},
	check => sub {
		my ($said, $block) = @_;
		my $check = $said->{alpha};
		eval { wait_for('no row is an error', sub {
			$check !~ /^error/m || (($check) = (run_block($block, $alpha))[1], 0) }) };
		is(join("\n", $check =~ /^(error.*)/mg), '', 'nothing that would be refused');
		cmp_ok(scalar(() = $check =~ /^ok/mg), '>', 20, 'and much that was looked at');
	},
	observe => sub {
		wait_for('a coordinator', sub { cluster(q(coordinator <> '')) eq 't' });
		is(cluster('mode'), 'observe', 'it observes');
		writes_on();
		same_settings('observe');
	},
	look => sub { same_settings('a look') },
	stop => sub {
		$stopped = now();
		wait_for('the coordinator finds the primary dead', sub {
			grep { $_->log_text =~ /: detected node=alpha .*DeadPrimary/ } $beta, $gamma }, 60);
	},
	dead => sub {
		my ($said) = @_;
		like("@$said{qw(beta gamma)}", qr/^ ?DeadPrimary\|/m, 'the coordinator says so');
		like($said->{$_}, qr/^t$/m, "$_ is a standby") for qw(beta gamma);
		same_settings('a dead primary');
	},
	would => sub {
		wait_for('what would have been done is recorded', sub {
			$alpha->value(q(SELECT count(*) FROM orchestra_detection WHERE detail LIKE 'DeadPrimary%'
				AND next ~ 'mode observe: would have promoted (beta|gamma) at LSN .* after .* ms'))
			  == 1 }, 60);
		same_settings('a primary that was dead');
		$writer->wait_for_acknowledged(50, after => $stopped);
	},
	role => sub {
		my ($said) = @_;
		is("@$said{qw(alpha beta gamma)}", 'MASTER STANDBY STANDBY', 'role ports');
	},
	manual => sub {
		wait_for('commits are gated', sub { cluster('mode') eq 'manual' && sync_names() =~ /beta/
			  && sync_names() ne $own_set });
		writes_on();
		wait_for('role ports', sub { roles() eq 'MASTER STANDBY STANDBY' });
		$epoch = cluster('epoch');
	},
	gated => sub {
		is($alpha->value(q(SELECT string_agg(name || state, ' ' ORDER BY name)
			FROM orchestra_status())), 'alphaopen betastreaming gammastreaming', 'open');
	},
	failover => sub {
		my ($said) = @_;
		like($said->{alpha}, qr/^alpha is the primary of epoch /, 'the primary stays the primary');
		isnt(cluster('epoch'), $epoch, 'in a new epoch');
		wait_for('the standbys stream', \&streaming);
		writes_on();
	},
	recovered => sub {
		wait_for('it is recorded', sub { $alpha->value(q(SELECT count(*) FROM orchestra_recoveries()
			WHERE outcome = 'recovered' AND new_primary = 'alpha')) > 0 });
	},
	automatic => sub {
		is(cluster('mode'), 'automatic', 'automatic');
		writes_on();
		$epoch = cluster('epoch');
	},
	paused => sub {
		wait_for('the coordinator holds back', sub {
			grep { $_->log_text =~ /: detected node=alpha .*DeadPrimary.* next="paused/ } $beta, $gamma },
			60);
	},
	resumed => sub {
		writes_on();
		is(cluster('epoch'), $epoch, 'the same primary in the same epoch');
	},
	drop => sub {
		wait_for('every node has left', sub {
			3 == grep { $_->register->{phase} eq 'unconfigured' } @nodes });
		wait_for('every setting is back', sub { 3 == grep { my $node = $_;
			$before{ $node->name }{'postgresql.auto.conf'} eq file_of($node, 'postgresql.auto.conf')
		} @nodes });
		wait_for('and in force', sub { sync_names() eq $own_set });
		writes_on();
	},
	proof => sub { same_settings('after all') });

is(join(' ', sort grep { $_ } keys %{ { map { $_->{id} => 1 } @blocks } }),
	join(' ', sort keys %says), 'the page has the blocks that are judged');
for my $block (@blocks)
{
	my $said = run_on_all($block);
	$says{ $block->{id} }->($said, $block) if $block->{id};
}

# ---- and everything is as it was

writes_on();
my $end = now();
$writer->stop;
is($writer->verdict($alpha, $end, after => 0)->{problem}, '', 'nothing is lost');
my %answered = map { $_->[2] => 1 } $writer->acknowledged;
is(join(' ', keys %answered), $alpha->port, 'one and the same primary all along');
is($alpha->value('SELECT count(*) FROM kept'), 1000, 'nor of what was there before');
for my $node (@nodes)
{
	my $name = $node->name;
	is(file_of($node, $_), $before{$name}{$_}, "$_ of $name is what it was") for @files;
	is(settings_of($node), $before{$name}{settings}, "settings of $name are what they were");
	is((join ' ', glob $node->data_dir . '/*orchestra*'), '', "no file is left on $name");
}
is(slots($alpha), $slots, 'the slots are what they were');
is($alpha->value(q(SELECT count(*) FROM pg_roles WHERE rolname = 'orchestra')), 0, 'nor a role');
is(scalar @secrets, 2, 'there are secrets');
my $secrets = join '|', map { quotemeta } values %password, @secrets;
unlike(join('', map { $_->log_text } @nodes), qr/$secrets/, 'none of them in any log');

END { local $?; Orchestra::Writer::end_all() }
done_testing();
