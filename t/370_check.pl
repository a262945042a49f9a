# orchestra_check() on real servers: each of many faults shows as a row, no cluster is formed
# meanwhile, the fix is applied as it is printed, and then the row is ok. Who may call it.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Wait qw(wait_for now);
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3, relay => 0);
my ($n1, $n2, $n3) = $cluster->nodes;
$cluster->init_primary;
$cluster->add_standby($_) for $n2, $n3;

sub check
{
	my ($node) = @_;
	return $node->rows(q(SELECT * FROM orchestra_check('{n1,n2,n3}')));
}

# The row about this: { severity, found, fix }, if there is one of that severity.
sub row
{
	my ($asked, $severity, $node, $item, $peer) = @_;
	my @found = grep {
		$_->{severity} eq $severity && ($_->{node} // '') eq $node && $_->{item} eq $item
		  && ($_->{peer} // '') eq ($peer // '')
	} check($asked);
	return $found[0];
}

sub errors
{
	my ($node) = @_;
	return join "\n", map {
		join ' ', map { $_ // '-' } @{$_}{qw(node peer item found)}
	} grep { $_->{severity} eq 'error' } check($node);
}

sub streaming
{
	return $n1->value(q(SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming')) == 2;
}

sub restart
{
	my ($node) = @_;
	$node->stop('fast');
	$node->start;    # not pg_ctl's restart: that keeps the command line
	wait_for('both standbys stream', \&streaming);
	return;
}

# Applies a fix step by step, to the letter.
sub apply
{
	my ($fix) = @_;
	for my $step (split /\n/, $fix)
	{
		my ($where, $name, $what) = $step =~ /^(.+?) (?:on|of) (n\d): (.*)$/ or die "step: $step";
		my $node = $cluster->node($name);
		if ($where eq 'psql') { $node->safe_psql('postgres', $what) }
		elsif ($what eq 'restart') { restart($node) }
		elsif ($where eq 'command line') { next }    # restart() uses none
		elsif ($where =~ m{^(/.*):(\d+)$} && $what eq 'take this line out') { cut($1, $2) }
		elsif ($where =~ m{^/}) { append_to_file($where, "$what\n") }
		else { die "step: $step" }
	}
	return;
}

sub cut
{
	my ($file, $number) = @_;
	my @lines = split /^/, slurp_file($file);
	splice @lines, $number - 1, 1;
	unlink $file;
	append_to_file($file, join '', @lines);
	return;
}

sub refused_by_create
{
	my ($what, $pattern) = @_;
	my ($status, $out, $err) = $n1->psql('postgres',
		q(SELECT orchestra_create_cluster('{n1,n2,n3}', mode => 'automatic', wait => '20 s')),
		timeout => 60);
	isnt($status, 0, "$what: no cluster is formed");
	like($err, qr/not fit for a cluster.*$pattern.*Nothing was changed/s, "$what: and why");
	return;
}

# The fault shows as this row, creation names it, and its fix mends it.
sub shows_and_mends
{
	my ($what, $severity, $node, $item, $found, $fix, %chosen) = @_;
	my $row = wait_for("$what shows", sub { row($n1, $severity, $node, $item, $chosen{peer}) });
	like($row->{found}, $found, "$what: what was found");
	like($row->{fix}, $fix, "$what: what to do");
	refused_by_create($what, $item) if $severity eq 'error';
	apply($row->{fix});
	wait_for("$what is mended", sub { row($n1, 'ok', $node, $item, $chosen{peer}) });
	pass("$what: ok as soon as the fix is applied");
	return;
}

# ---- All is well.
wait_for('both standbys stream', \&streaming);
sub wait_for_no_errors
{
	my ($node) = @_;
	my $left;
	my $ended = eval { wait_for('nothing to mend', sub { ($left = errors($node)) eq '' }, 20) };
	ok($ended, 'no errors from ' . $node->name) or diag $left // 'no answer';
	return;
}
wait_for_no_errors($n1);
my $began = now();
my @rows = check($n1);
note sprintf '%d rows in %.0f ms', scalar @rows, 1000 * (now() - $began);
for my $from (qw(n1 n2 n3))
{
	for my $item (qw(login replication))
	{
		my @proved = map { $_->{peer} }
		  grep { $_->{severity} eq 'ok' && $_->{item} eq $item && $_->{node} eq $from } @rows;
		my @expected = grep { $item eq 'login' || $_ ne $from } qw(n1 n2 n3);
		is("@proved", "@expected", "$item from $from is proved");
	}
}
is((grep { $_->{fix} } grep { $_->{severity} eq 'ok' } @rows), 0, 'no fix where nothing is wrong');

# ---- A standby that lets nobody replicate: it could not become the primary.
my $hba = $n3->data_dir . '/pg_hba.conf';
my $access = slurp_file($hba);
unlink $hba;
append_to_file($hba, $access =~ s/^host +replication .*\n//mr);
$n3->reload;
shows_and_mends('a standby without a line for replication', 'error', 'n2', 'replication',
	qr/28000: .*no pg_hba\.conf entry for replication/,
	qr{^\Q$hba\E on n3: host replication replicator 127\.0\.0\.1/32 scram-sha-256$}m,
	peer => 'n3');
ok(row($n1, 'ok', 'n1', 'replication', 'n3'), 'the same line serves n1');

# ---- Roles.
$n1->safe_psql('postgres', 'ALTER ROLE replicator NOREPLICATION');
shows_and_mends('a role without REPLICATION', 'error', 'n1', 'replication',
	qr/replication/, qr/^psql on n1: ALTER ROLE replicator REPLICATION;$/, peer => 'n2');
$n1->safe_psql('postgres', 'REVOKE EXECUTE ON FUNCTION orchestra_facts FROM orchestra');
shows_and_mends('a right that is missing', 'error', 'n1', 'login',
	qr/42501: permission denied/, qr/^psql on n1: SELECT orchestra_grant\('orchestra'\);$/,
	peer => 'n1');
$n1->safe_psql('postgres', 'ALTER ROLE app SET synchronous_commit = off');
my $weak = row($n1, 'warning', 'n1', 'synchronous_commit');
like($weak->{found}, qr/^off for ROLE app:/, 'a role whose commits wait for nobody');
apply($weak->{fix});
is(row($n1, 'warning', 'n1', 'synchronous_commit'), undef, 'mended');

# ---- Settings.
$n1->append_conf('postgresql.conf', 'max_wal_senders = 3');
restart($n1);
shows_and_mends('too few WAL senders', 'error', 'n1', 'max_wal_senders',
	qr/^3 \(\S+postgresql\.conf:\d+\), and at least 4 needed$/,
	qr/^psql on n1: ALTER SYSTEM SET max_wal_senders = '4';\nserver of n1: restart$/);
$n2->append_conf('postgresql.conf',
	"recovery_target_name = 'nowhere'\nwal_log_hints = off\nrestart_after_crash = off");
restart($n2);
ok(row($n1, 'warning', 'n2', $_), "$_ of n2") for qw(wal_log_hints restart_after_crash);
shows_and_mends('a recovery target', 'error', 'n2', 'recovery_target_name',
	qr/^nowhere \(\S+:\d+\)/,
	qr/^psql on n2: ALTER SYSTEM SET recovery_target_name = '';\nserver of n2: restart$/);
apply(row($n1, 'warning', 'n2', 'restart_after_crash')->{fix});
wait_for('restart_after_crash is on', sub { row($n1, 'ok', 'n2', 'restart_after_crash') });

# ---- What orchestra must be able to change.
append_to_file($n2->data_dir . '/late.conf', "\nsynchronous_standby_names = ''\n");
$n2->append_conf('postgresql.auto.conf', "include 'late.conf'");
$n2->reload;
my $line = $n2->data_dir . '/late.conf:2';
shows_and_mends('a file behind postgresql.auto.conf', 'error', 'n2', 'synchronous_standby_names',
	qr/\Q$line\E\), applied after postgresql\.auto\.conf/, qr/^\Q$line\E on n2: take this line out$/m);
my $upstream = $cluster->conninfo($n1, 'replicator') . ' application_name=n3';
$n3->stop;
system_or_bail('pg_ctl', '-w', '-s', '-D', $n3->data_dir, '-l', $n3->logfile, '-o',
	qq(--cluster-name=n3 -c "primary_conninfo=$upstream"), 'start');
$n3->_update_pid(1);
wait_for('both standbys stream', \&streaming);
shows_and_mends('primary_conninfo on the command line', 'error', 'n3', 'primary_conninfo',
	qr/command line/, qr/^command line of n3: take primary_conninfo out\nserver of n3: restart$/);
$n2->append_conf('postgresql.conf', "work_mem = 'plenty'\nnonsense = 1");
for my $broken ([ error => qr/unrecognized/ ], [ warning => qr/setting could not be applied/ ])
{
	my ($severity, $why) = @$broken;
	my $row = wait_for("a broken line shows: $severity",
		sub { row($n1, $severity, 'n2', 'configuration files') });
	like($row->{found}, qr/^\S+postgresql\.conf:\d+: $why/, 'the line is named');
	cut($row->{found} =~ /^(\S+):(\d+):/);
}
ok(row($n1, 'ok', 'n2', 'configuration files'), 'and mended');

# ---- Two nodes with one name.
$n3->write_settings('orchestra.node_name' => 'n2');
$n3->stop;
$n3->start;
my $other = qr/server at 127\.0\.0\.1:\d+ has the same name/;
ok(wait_for('a name that two have', sub {    # what it said as n3 is known for a while
	((row($n1, 'error', 'n2', 'name') // {})->{found} // '') =~ $other }), 'the other one is named');
ok(wait_for('the third is missing', sub { row($n1, 'error', 'n3', 'hello') }),
	'nobody says hello as n3');
$n3->write_settings('orchestra.node_name' => 'n3');
restart($n3);
wait_for_no_errors($n1);

# ---- Who may.
sub attempt
{
	my ($node, $role, $statement) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $statement, timeout => 30,
		connstr => $cluster->conninfo($node, $role) . ' dbname=postgres');
	return $status ? $err : $out;
}
my $facts = q(SELECT count(*) > 20 FROM orchestra_facts());
is(attempt($n2, 'orchestra', $facts), 't', 'the login of the monitors may ask for facts');
my $anywhere = '{n1 ' . $n1->port . ' 127.0.0.1}';
for my $proof ('', '\x' . '00' x 32)
{
	is(attempt($n2, 'orchestra', "SELECT count(*) FILTER (WHERE kind IN ('login', 'replication')),
			max(value) FILTER (WHERE name = 'secret_problem')
			FROM orchestra_facts('$anywhere', '$proof')"),
		'0|' . ($proof ? 'it is not that of the asking node' : 'the asking node has none'),
		'but not send this server anywhere without the secret');
}
my %calls = (check => 'SELECT orchestra_check()', facts => $facts,
	library => q(SELECT orchestra_node_facts('{}', '')));
$n1->safe_psql('postgres', 'GRANT pg_monitor TO app');
like(attempt($n1, 'app', $calls{$_}), qr/permission denied/, "pg_monitor is not enough: $_")
  for sort keys %calls;
like(attempt($n1, 'orchestra', $calls{$_}), qr/permission denied/, "nor are the monitors: $_")
  for qw(check library);
$n1->safe_psql('postgres', 'GRANT EXECUTE ON FUNCTION orchestra_check TO app');
is(attempt($n1, 'app', q(SELECT count(*) FROM orchestra_check() WHERE severity = 'error')), 0,
	'EXECUTE is');

# ---- A cluster, and the same from any of its nodes.
like($n1->value(q(SELECT orchestra_create_cluster('{n1,n2,n3}', mode => 'automatic'))),
	qr/formed/, 'a cluster is formed');
for my $node ($cluster->nodes)
{
	my $where = $node->name;
	wait_for_no_errors($node);
	is((map { $_->{found} } grep { $_->{item} eq 'primary' } check($node))[0], 'n1',
		"$where knows the primary");
}
is(join(' ', $cluster->passwords_in_logs), '', 'no password in any log');
my $said = join "\n", map { $_->value(q(SELECT string_agg(f::text, ' ')
	FROM orchestra_facts() f)) } $cluster->nodes;
is((grep { index($said, $_) >= 0 } values %{ $cluster->{password} }), 0, 'nor in any fact');
done_testing();
