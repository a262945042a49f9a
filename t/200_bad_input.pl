# Bad input to the nodes of a running cluster: strangers at the peer port, ports in use, vote files
# that are damaged, unreadable or gone, secrets and settings that will not do, a state directory
# that cannot be written, no worker. Each time the rest of the cluster goes on, the node says what
# is wrong with it, and is well again once that is mended.
use strict;
use warnings;
use IO::Socket::INET;
use Orchestra::Cluster;
use Orchestra::Look qw(marks events_since);
use Orchestra::Wait qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;

my $vote = 'orchestra/pgsql_tmp_vote/vote';
my $marker = 'orchestra/cluster';
my $limit = 60;

my $cluster = Orchestra::Cluster->new(nodes => 3, relay => 0)->form;
my ($n1, $n2, $n3) = $cluster->nodes;
my $epoch = $n1->register->{epoch};

sub row
{
	my ($node, $name) = @_;
	my %status = $node->status;
	return $status{ $name // $node->name } // {};
}

sub problem_becomes
{
	my ($node, $pattern, $what) = @_;
	my $problem = '';
	eval {
		wait_for($what, sub { ($problem = row($node)->{problem} // '') =~ $pattern }, $limit);
	};
	like($problem, $pattern, $what);
	return;
}

# $node is a voter that streams, and no node sees a problem of it.
sub well_again
{
	my ($node, $what) = @_;
	my $name = $node->name;
	my $seen = '';
	my $well = eval {
		wait_for($what, sub {
			$seen = join '; ', map {
				my $row = row($_, $name);
				join ' ', $_->name . ':', map { "$_=" . ($row->{$_} // '-') } qw(state voter problem)
			} grep { $_ == $node || row($_)->{state} ne 'quarantined' } $n1, $n2, $n3;
			$seen !~ /(?!n\d: state=streaming voter=1 problem=-)n\d: / }, $limit) };
	ok($well, "$what: well again") or diag $seen;
	return;
}

# The cluster takes writes, in the epoch of its birth.
sub goes_on
{
	my ($what) = @_;
	my ($status, $out, $err) = $n1->psql('postgres',
		'INSERT INTO writes SELECT coalesce(max(id), 0) + 1 FROM writes', timeout => 30);
	is($err, '', "$what: the others go on");
	return;
}

sub bytes_of { my ($file) = @_; open my $in, '<:raw', $file or die "$file: $!"; local $/; <$in> }

sub put
{
	my ($file, $bytes) = @_;
	open my $out, '>:raw', $file or die "$file: $!";
	print $out $bytes;
	close $out or die "$file: $!";
	return;
}

well_again($_, 'at first') for $n2, $n3;
my $marks = marks($cluster);

# ---- Strangers at the peer port.
sub stranger_is_refused
{
	my ($bytes, $reason, $what) = @_;
	my $socket = IO::Socket::INET->new(
		PeerAddr => '127.0.0.1', PeerPort => $n1->{peer_port}, Timeout => 10) or die $!;
	$socket->autoflush(1);
	print $socket $bytes;
	my ($answer, $ready) = ('', '');
	vec($ready, fileno $socket, 1) = 1;
	my $ended = select(my $readable = $ready, undef, undef, $limit)
	  && !sysread($socket, $answer, 64);
	ok($ended && $answer eq '', "$what: the connection ends without an answer");
	my $line = qr/peer_refused node=n1 reason="peer connection from \S+ refused: $reason/;
	ok(wait_for($what, sub { $n1->log_text =~ $line }, $limit), "$what: logged");
	problem_becomes($n1, qr/refused: $reason/, "$what: in status");
	return;
}

stranger_is_refused("GET / HTTP/1.1\r\nHost: n1\r\n\r\n", 'not the peer protocol', 'HTTP');
wait_for('the refusal is over', sub { !defined row($n1)->{problem} }, $limit);
stranger_is_refused('orchpeer' . chr(77) . 'n' x 32 . chr(2) . 'n2',
	'another version of the peer protocol', 'HELLO of version 77');
goes_on('strangers');

# ---- Both ports in use: the server starts, and takes them once they are free.
{
	$n3->stop;
	my @holders = map {
		IO::Socket::INET->new(LocalAddr => $_->[0], LocalPort => $_->[1], Listen => 1, ReuseAddr => 1)
		  or die "listen: $!"
	} [ '127.0.0.1', $n3->{peer_port} ], [ '0.0.0.0', $n3->{role_port} ];
	$n3->start;
	my ($peer_port, $role_port) = @{$n3}{qw(peer_port role_port)};
	problem_becomes($n3, qr/could not bind 127\.0\.0\.1:$peer_port: Address already in use/,
		'peer port in use');
	problem_becomes($n3, qr/the role port \S+:$role_port is closed: Address already in use/,
		'role port in use');
	goes_on('ports in use');
	close $_ for @holders;
	well_again($n3, 'ports free');
	is(wait_for('a role', sub { $n3->role }), 'STANDBY', 'ports free: the role port too');
}

# ---- A vote file that will not do: never votes, says why. Restored, it does again.
my $path = $n3->data_dir . "/$vote";
my $bytes;

sub quarantined
{
	my ($break, $reason, $what) = @_;
	$n3->stop;
	$bytes = bytes_of($path);
	$break->();
	$n3->start;
	problem_becomes($n3, qr/^This node has no valid vote: $reason.*To join.*to detach it/, $what);
	is(row($n3)->{state}, 'quarantined', "$what: quarantined");
	is($n3->register->{phase}, 'quarantined', "$what: also in orchestra_cluster()");
	is($n3->role, 'STANDBY', "$what: still a standby that can be read");
	goes_on($what);
	return;
}

sub restored
{
	$n3->stop;
	unlink $path;
	put($path, $bytes);
	chmod 0600, $path;
	$n3->start;
	return;
}

quarantined(sub { my $wrong = $bytes; substr($wrong, length($wrong) / 2, 1) ^= "\x01";
	put($path, $wrong) }, 'its vote file is damaged', 'one bit flipped');
wait_for('n1 does not reach n3', sub { row($n1, 'n3')->{state} eq 'unreachable' }, $limit);
$n2->stop;
is(wait_for('n1 is fenced', sub { my $role = $n1->role; $role eq 'FENCED' && $role }, $limit),
	'FENCED', 'one bit flipped: its vote is missing when it is needed');
my ($status, $out, $err) =
  $n1->psql('postgres', '\set VERBOSITY verbose' . "\nINSERT INTO writes VALUES (-1)");
like($err, qr/25006: /, 'one bit flipped: nothing commits without it');
$n2->start;
wait_for('n1 is primary again', sub { $n1->role eq 'MASTER' }, $limit);
well_again($n2, 'one bit flipped: the other standby');
is($n1->register->{epoch}, $epoch, 'one bit flipped: the same epoch');
restored();

quarantined(sub { put($path, substr($bytes, 0, length($bytes) - 7)) },
	'its vote file is damaged', 'truncated');
restored();
quarantined(sub { chmod 0, $path }, 'could not open "orchestra/pgsql_tmp_vote/vote": Permission',
	'unreadable');
chmod 0600, $path;
restored();
quarantined(sub { unlink $path }, 'its vote file is missing', 'removed');
problem_becomes($n3, qr/cluster "orchestra" counts on the vote of n3, which is lost/,
	'removed: the register counts on it');
ok(!-e $path, 'removed: it makes itself no new one');
restored();
well_again($n3, 'vote file restored');

# ---- The marker gone, the vote still there: the register makes it a member again.
$n3->stop;
unlink $n3->data_dir . "/$marker" or die $!;
$n3->start;
well_again($n3, 'marker removed');
ok(-s $n3->data_dir . "/$marker", 'marker removed: written again');

# ---- Both gone: plain PostgreSQL that has no vote, and knows whose was lost.
$n3->stop;
my %kept = map { $_ => bytes_of($n3->data_dir . "/$_") } $marker, $vote;
unlink map { $n3->data_dir . "/$_" } keys %kept;
$n3->start;
problem_becomes($n3, qr/^cluster "orchestra" counts on the vote of n3, which is lost/,
	'marker and vote removed');
is($n3->register->{phase}, 'unconfigured', 'marker and vote removed: unconfigured');
ok(!-e $n3->data_dir . "/$vote", 'marker and vote removed: no new vote');
wait_for('n1 does not reach n3', sub { row($n1, 'n3')->{state} eq 'unreachable' }, $limit);
goes_on('marker and vote removed');
$n3->stop;
put($n3->data_dir . "/$_", $kept{$_}) for keys %kept;
chmod 0600, map { $n3->data_dir . "/$_" } keys %kept;

# ---- The state directory cannot be written: no start is told to anybody before it is durable.
my $directory = $n3->data_dir . '/orchestra/pgsql_tmp_vote';
chmod 0500, $directory or die $!;
$n3->start;
problem_becomes($n3,
	qr{could not create "orchestra/pgsql_tmp_vote/vote\.new": Permission denied},
	'state directory not writable');
is(row($n3)->{state}, 'starting', 'state directory not writable: not started');
goes_on('state directory not writable');
chmod 0700, $directory or die $!;
well_again($n3, 'state directory writable');

# ---- Secrets.
sub secret { my ($name, $text) = @_; return $cluster->private_file($name, $text) }

my $secret = bytes_of($cluster->{secret});
my $open = secret('open', $secret);
chmod 0644, $open or die $!;
my $changing = secret('changing', 'x' x 32);
for my $case (
	[ 'readable by others', $open, qr/can be reached by others than its owner; run: chmod 600/ ],
	[ 'too short', secret('short', 'x' x 15), qr/must hold 16 to 4096 bytes/ ],
	[ 'not there', '/nonexistent', qr/could not open secret file "\/nonexistent": No such file/ ],
	[ 'of somebody else', $changing, qr/refused: another secret/ ])
{
	my ($what, $file, $pattern) = @$case;
	$n3->write_settings('orchestra.secret_file' => $file);
	$n3->reload;
	problem_becomes($n3, $pattern, "secret $what");
	unlike(row($n3)->{problem}, qr/x{15}/, "secret $what: not shown");
	wait_for('n1 does not reach n3', sub { row($n1, 'n3')->{state} eq 'unreachable' }, $limit);
	goes_on("secret $what");
}
ok(wait_for('its peers notice', sub {
	$n1->log_text =~ /peer_refused node=n1 reason="peer \S+ refused: another secret/ }, $limit),
	'secret of somebody else: logged by its peers');
put($changing, $secret);
$n3->reload;
well_again($n3, 'the right secret in the same file');
$n3->write_settings('orchestra.secret_file' => $cluster->{secret});
$n3->reload;

# ---- How a node logs in to the others.
sub logins
{
	my ($node) = @_;
	return join "\n", map { "$_->{node} " . ($_->{reachable} ? 'reachable' : $_->{evidence}) }
	  $node->rows(q(SELECT * FROM orchestra_analysis() WHERE source = 'login' ORDER BY node));
}
my $conninfo = $n3->{settings}{'orchestra.conninfo'};
(my $wrong = $conninfo) =~ s/user=orchestra/user=nobody_here/ or die;
$n3->write_settings('orchestra.conninfo' => $wrong);
$n3->reload;
my $denied = qr/^n1 .*no pg_hba\.conf entry for host.*user "nobody_here"/m;
wait_for('n3 logs in nowhere',
	sub { logins($n3) =~ $denied && logins($n3) !~ /reachable/ }, $limit);
like(logins($n3), $denied, 'wrong conninfo: in orchestra_analysis()');
problem_becomes($n2, qr/^$/, 'wrong conninfo: no problem of another node');
wait_for('n3 hears n1', sub { row($n3, 'n1')->{state} eq 'open' }, $limit);
is(row($n3, 'n1')->{state}, 'open', 'wrong conninfo: peers are heard all the same');
$n3->write_settings('orchestra.conninfo' => $conninfo);
$n3->reload;
wait_for('n3 logs in everywhere',
	sub { logins($n3) eq join "\n", map { "$_ reachable" } qw(n1 n2 n3) }, $limit);

# ---- Settings out of range, on a running server.
my %refused = (
	'orchestra.role_port = 70000' => qr/22023: 70000 is outside the valid range/,
	'orchestra.peer_port = -1' => qr/22023: -1 is outside the valid range/,
	q(orchestra.role_port = 'soon') => qr/22023: invalid value for parameter/,
	q(orchestra.peer_bind = '0.0.0.0') => qr/22023: .*DETAIL: .*only loopback addresses/s,
	q(orchestra.peer_address = 'localhost:1') => qr/22023: .*DETAIL: .*not an IP address and a port/s,
	q(orchestra.seeds = '127.0.0.1') => qr/22023: .*DETAIL: .*not an IP address and a port/s,
	q(orchestra.conninfo = 'host=127.0.0.1 password=guess') =>
	  qr/22023: .*"orchestra\.conninfo"\nDETAIL:  It must not contain password/,
	q(orchestra.node_name = '*') => qr/22023: .*DETAIL: .*every standby/s);
for my $setting (sort keys %refused)
{
	my ($code, $answer, $error) =
	  $n2->psql('postgres', "\\set VERBOSITY verbose\nALTER SYSTEM SET $setting");
	like($error, $refused{$setting}, "refused: $setting");
	unlike($error, qr/invalid value.*guess/, "not repeated: $setting");
}
my $before = -s $n2->logfile;
my $port = $n2->value('SHOW orchestra.role_port');
$n2->append_conf('postgresql.conf', "orchestra.role_port = 70000\norchestra.peer_bind = '::'");
$n2->reload;
$n2->wait_for_log(
	qr/70000 is outside the valid range for parameter "orchestra\.role_port"/, $before);
$n2->wait_for_log(qr/invalid value for parameter "orchestra\.peer_bind"/, $before);
is($n2->value('SHOW orchestra.role_port'), $port, 'a reload with bad values changes nothing');
well_again($n2, 'bad values in the file');

# ---- All this was nobody's failover.
is($n1->register->{epoch}, $epoch, 'the epoch has not changed');
is(join(' ', map { $_->{event} } grep { $_->{event} =~ /^fence/ } map { events_since($marks, $_) }
		$n1, $n2, $n3), '', 'nobody was fenced');
is(join(' ', $cluster->passwords_in_logs), '', 'no password in any log');
$cluster->end;

# ---- A cluster of one, whose workers find no slot, or which is off.
my $single = Orchestra::Cluster->new(nodes => 1, relay => 0)->form;
my ($only) = $single->nodes;
$only->append_conf('postgresql.conf', 'max_worker_processes = 0');
$only->restart;
($status, $out, $err) =
  $only->psql('postgres', '\set VERBOSITY verbose' . "\nINSERT INTO writes VALUES (1)");
like($err, qr/25006: /, 'no worker: nothing commits');
like(row($only)->{problem},
	qr/workers do not all run \(consensus, probe, monitor\).*raise max_worker_processes/,
	'no worker: any session is told');
is($only->value('SELECT count(*) FROM writes'), 0, 'no worker: it can be read');
$only->append_conf('postgresql.conf', "max_worker_processes = 8\norchestra.enabled = off");
$before = -s $only->logfile;
$only->restart;
like(slurp_file($only->logfile, $before),
	qr/WARNING:  orchestra is preloaded but off: nothing fences this server/, 'off: a warning');
is($only->value('INSERT INTO writes VALUES (1) RETURNING id') =~ /^1$/m, 1, 'off: no gate');
($status, $out, $err) =
  $only->psql('postgres', '\set VERBOSITY verbose' . "\nSELECT orchestra_status()");
like($err, qr/55000: orchestra is off.*HINT:  Set orchestra\.enabled = on/s, 'off: told');
$only->append_conf('postgresql.conf', 'orchestra.enabled = on');
$only->restart;
wait_for('MASTER again', sub { $only->role eq 'MASTER' }, $limit);
is($only->value('INSERT INTO writes VALUES (2) RETURNING id') =~ /^2$/m, 1, 'on again: a lease');
$single->end;
done_testing();
