#!/usr/bin/perl
# A cluster of three nodes behind a real HAProxy; its primary is killed while two clients write.
# What is shown of it was said by the role ports, by orchestra_status() and by the recovery tables.
# Run it as `make demo`; with --keep the cluster stays up.
use strict;
use warnings;

BEGIN
{
	# PostgreSQL's test modules take over the output; the demo has a screen of its own.
	open our $screen, '>&', \*STDOUT or die $!;
	open STDOUT, '>', '/dev/null' or die $!;
	$screen->autoflush(1);
}
use Orchestra::Cluster;
use Orchestra::Wait qw(wait_for now);
use POSIX ();
use PostgreSQL::Test::Utils qw(slurp_file append_to_file);

our $screen;
my $keep = grep { $_ eq '--keep' } @ARGV;
my $haproxy;    # pid
my $finished;
my @false;      # claims that did not hold

sub show { print {$screen} @_, "\n"; return }
sub command { show("\n\$ @_"); return }

# A claim of the closing table: what is false makes the demo fail, and is said.
sub claim
{
	my ($what, $holds) = @_;
	push @false, $what unless $holds;
	return $holds;
}

sub query
{
	my ($node, $sql) = @_;
	command('psql ' . $node->name . ": $sql");
	my ($status, $out, $err) =
	  $node->psql('postgres', $sql, timeout => 10, extra_params => [ '--no-align', '-P',
		'format=aligned', '-P', 'border=1', '-P', 'footer=off', '-P', 'tuples_only=off' ]);
	show($out, $err);
	return;
}

# ---- HAProxy

sub start_haproxy
{
	my ($cluster) = @_;
	my $port = Orchestra::Cluster::free_port();
	my $servers = join "\n", map {
		sprintf '    server %s 127.0.0.1:%d check port %d', $_->name, $_->port, $_->{role_port}
	} $cluster->nodes;
	my $text = slurp_file('demo/haproxy.cfg') =~ s/\@PORT\@/$port/r =~ s/\@SERVERS\@/$servers/r;
	my $file = $cluster->private_file('haproxy.cfg', $text);
	my $log = "$cluster->{dir}/haproxy.log";
	$haproxy = fork // die "fork: $!";
	if (!$haproxy)
	{
		chdir $cluster->{dir};
		open STDOUT, '>', $log;
		open STDERR, '>&', \*STDOUT;
		exec '/usr/sbin/haproxy', '-db', '-f', $file or POSIX::_exit(1);
	}
	command("haproxy -f $file");
	show($text =~ s/\A.*?(?=listen)//sr);
	return $port;
}

# ---- What happens, as it is said

my $killed_at;         # CLOCK_MONOTONIC
my $killed_at_wall;    # as the servers' timestamps
my %said;              # by source: what it said last; steps that were shown

sub event
{
	my ($seconds, $source, $text) = @_;
	show(sprintf '%+8.3f s  %-18s %s', $seconds, $source, $text);
	return;
}

# Shows $text if it is not what this source said last.
sub said
{
	my ($source, $text) = @_;
	return if ($said{$source} // '') eq $text;
	$said{$source} = $text;
	event(now() - $killed_at, $source, $text);
	return;
}

my $watch = <<'END';
SELECT 'status' AS what, '' AS kind, concat_ws(' ', name, role, state, 'timeline=' || timeline,
       'lease_ms_left=' || sign(lease_ms_left), 'fenced=' || fenced,
       CASE WHEN coordinator THEN 'coordinator' END) AS text, name AS key, NULL::float8 AS at
  FROM orchestra_status()
UNION ALL
SELECT 'step', s.kind, concat_ws(' ', s.kind, s.node, '(by', s.coordinator || ')', s.detail), s.key,
       extract(epoch FROM s.at)
  FROM orchestra_recoveries() r, orchestra_recovery_steps(r.recovery) s
ORDER BY 1 DESC, 5, 4
END

sub watch_tables
{
	my ($node) = @_;
	my $name = $node->name;
	for my $row (eval { $node->rows($watch) })
	{
		my $key = "$row->{what} $row->{key}";
		my $text = $row->{text} =~ s/ lease_ms_left=-?[01]//r;
		if ($row->{what} eq 'status') { said("status on $name:$row->{key}", $text) }
		elsif (!$said{$key}++)
		{
			event($row->{at} - $killed_at_wall, 'recovery step', $text);
			$said{"step $row->{kind}"} = 1;
		}
	}
	return;
}

sub watch_roles
{
	my (@nodes) = @_;
	said('role port ' . $_->name, $_->role || '(nobody answers)') for @nodes;
	return;
}

# ---- The story

sub main
{
	my $cluster = Orchestra::Cluster->new(nodes => 3, relay => 0);
	my ($n1, $n2, $n3) = $cluster->nodes;
	command('initdb n1; pg_basebackup n2, n3; in each postgresql.conf:');
	$cluster->init_primary;
	show(slurp_file($n1->data_dir . '/node.conf') =~ s/^/    /gmr);
	$cluster->add_standby($_) for $n2, $n3;
	query($n1, q(SELECT orchestra_create_cluster('{n1,n2,n3}', 'automatic')));
	$cluster->wait_for_primary;
	my $port = start_haproxy($cluster);
	query($n1, 'SELECT name, role, state, timeline, flush_lsn, sync_state, lease_ms_left, '
		  . 'coordinator, problem FROM orchestra_status()');

	my %writer = (
		'HAProxy' => $cluster->writer('haproxy', conninfo => "host=127.0.0.1 port=$port user=app "
			  . "dbname=postgres passfile=$cluster->{passfile} connect_timeout=2"),
		'conninfo' => $cluster->writer('conninfo'));
	command("writer '$_->{conninfo}'") for @writer{ 'HAProxy', 'conninfo' };
	$_->wait_for_acknowledged(1000) for values %writer;

	kill_and_watch($n1, [ $n1, $n2, $n3 ], [ values %writer ]);
	my ($primary) = grep { $_->role eq 'MASTER' } $n2, $n3;
	$primary // die "no node says MASTER\n";
	$_->stop for values %writer;
	closing($cluster, $primary, $n1, \%writer);
	return;
}

sub kill_and_watch
{
	my ($victim, $nodes, $writers) = @_;
	my ($witness) = my @survivors = grep { $_ != $victim } @$nodes;
	$killed_at = now();
	watch_roles(@$nodes);
	watch_tables($witness);
	my @pids = $victim->pids;
	command("kill -KILL @pids     # the postmaster of " . $victim->name . ' and its children');
	$killed_at_wall = Time::HiRes::time();
	$victim->kill_all;
	$killed_at = now();    # what was answered while it died is not the new primary's
	my $deadline = $killed_at + 30;
	for (my $turn = 0; now() < $deadline; $turn++)
	{
		watch_roles(@$nodes);
		watch_tables($witness) if $turn % 4 == 0;
		next if grep { $_->acknowledged_after($killed_at) < 500 } @$writers;
		return if $said{"step repointed"};
	}
	return;
}

sub closing
{
	my ($cluster, $primary, $victim, $writer) = @_;
	query($primary, 'SELECT name, role, state, timeline, flush_lsn, sync_state, lease_ms_left, '
		  . 'seen_ago_ms, problem FROM orchestra_status()');
	query($primary, 'SELECT recovery, failed_node, new_primary, outcome, ended_at - started_at '
		  . 'AS took FROM orchestra_recoveries()');
	my %verdict = map { $_ => $writer->{$_}->verdict($primary, $killed_at) } keys %$writer;
	my $line = sub {
		my ($what, $value) = @_;
		show(sprintf '  %-38s %14s %14s', $what, map { $value->($verdict{$_}) } qw(HAProxy conninfo));
	};
	show('');
	$line->('', sub { $_[0] == $verdict{HAProxy} ? 'by HAProxy' : 'by conninfo' });
	$line->('first new commit after the kill', sub { sprintf '%.2f s', $_[0]{first_after} // 'inf' });
	$line->('commits acknowledged before the kill', sub { $_[0]{before} });
	$line->('commits acknowledged after it', sub { $_[0]{after} });
	$line->('acknowledged commits lost', sub { $_[0]{lost} });
	claim("the writer by $_: $verdict{$_}{problem}", !$verdict{$_}{problem}) for keys %verdict;

	my @masters = grep { $_->role eq 'MASTER' } $cluster->nodes;
	claim('exactly one node says MASTER', @masters == 1);
	my ($other) = grep { $_ != $primary && $_ != $victim } $cluster->nodes;
	claim('the other standby streams from the new primary', $primary->value(
		q(SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming')
		  . " AND application_name = '" . $other->name . q(')) eq '1');
	claim('one recovery is recorded, and it went through', $primary->value(
		q(SELECT string_agg(outcome, ',') FROM orchestra_recoveries())) =~ /^(activated|recovered)$/);
	show("\n  " . $victim->name . ' stays out: a node that was the primary does not come back by'
		  . ' itself yet (README, "Not yet").');
	how_to_look($cluster, $primary);
	return;
}

sub how_to_look
{
	my ($cluster, $primary) = @_;
	if (!$keep)
	{
		show("  Look further: make demo KEEP=1 leaves the cluster up; docs/reference.md.\n");
		return;
	}
	my $user = getpwuid $<;
	show("\n  The cluster is up. Look further:");
	for my $node (grep { $_->{_pid} } $cluster->nodes)
	{
		show(sprintf '    psql -h %s -p %d -U %s postgres     # %s: %s',
			$node->host, $node->port, $user, $node->name, $node->role);
	}
	show("    SELECT * FROM $_;")
	  for qw(orchestra_status() orchestra_cluster() orchestra_analysis() orchestra_recoveries()),
	  'orchestra_recoveries() r, orchestra_recovery_steps(r.recovery)';
	show("    Two of three nodes are left: with one less nobody writes.");
	show("    make demo-stop ends it.\n");
	return;
}

my $fine = eval { main(); 1 };
show("\ndemo failed: $@") unless $fine;
show("demo failed, this is false: $_") for @false;
$finished = $fine && !@false;
POSIX::_exit(0) if $finished && $keep;    # past everything that would end the servers
exit($finished ? 0 : 1);

END
{
	local $?;
	show("\ndemo failed: logs are in build/logs") unless $finished;
	if ($haproxy) { kill KILL => $haproxy; waitpid $haproxy, 0 }
}
