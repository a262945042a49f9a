# Every door out (docs/off.md), with a client that writes: nothing that was acknowledged is lost,
# never two writers, and what orchestra changed of a server's settings is put back byte for byte.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(standby_coordinator);
use Orchestra::Wait qw(wait_for now);
use PostgreSQL::Test::Utils;
use Test::More;

my $limit = 60;
my @own = qw(orchestra/cluster orchestra/pgsql_tmp_vote/vote orchestra/saved_settings);

sub file { my ($node) = @_; return slurp_file($node->data_dir . '/postgresql.auto.conf') }

sub becomes
{
	my ($what, $wanted, $look) = @_;
	my $seen;
	eval { wait_for($what, sub { ($seen = $look->()) eq $wanted }, $limit) };
	is($seen, $wanted, $what);
	return;
}

# The file as it was before orchestra came.
sub put_back
{
	my ($what, $files, @nodes) = @_;
	for my $node (@nodes)
	{
		my $name = $node->name;
		becomes("$what: postgresql.auto.conf of $name is what it was", $files->{$name},
			sub { file($node) });
		becomes("$what: and nothing is kept for $name any more", '',
			sub { -e $node->data_dir . '/orchestra/saved_settings' ? 'kept' : '' });
	}
	return;
}

sub setting { my ($node, $name) = @_; return $node->value("SHOW $name") }
sub mode { my ($node, $mode) = @_; return $node->value("SELECT orchestra_set_mode('$mode')") }
sub phase { my ($node) = @_; return ($node->register // {})->{phase} // 'unconfigured' }

# ---- A cluster over servers that have settings of their own.
my $cluster = Orchestra::Cluster->new(nodes => 3);
my ($n1, $n2, $n3) = $cluster->nodes;
$cluster->init_primary;
$cluster->add_standby($_) for $n2, $n3;
my $follows = setting($n3, 'primary_conninfo');
for my $setting ("work_mem = '5MB'", "synchronous_standby_names = 'ANY 1 (n2, n3)'",
	"maintenance_work_mem = '70MB'")
{
	$n1->safe_psql('postgres', "ALTER SYSTEM SET $setting");
}
$n1->reload;
$n2->append_conf('postgresql.auto.conf', "# the last line of n2\nwork_mem = '6MB'");
append_to_file($n3->data_dir . '/postgresql.auto.conf', '# no newline behind this');
my %before = map { $_->name => file($_) } $n1, $n2, $n3;
like($before{n2}, qr/primary_conninfo.*\n.*primary_conninfo/, 'n2: a setting that is there twice');
$cluster->create;
my $writer = $cluster->writer('w');

# Orchestra's settings are in force on all of them.
sub taken_over
{
	my ($what, $primary, @standbys) = @_;
	becomes("$what: the synchronous set is orchestra's", 'ours', sub {
		file($primary) =~ /^orchestra\.sync_generation = '\d+'$/m ? 'ours' : file($primary) });
	for my $node (@standbys)
	{
		becomes("$what: primary_conninfo of " . $node->name . " is orchestra's", 'ours',
			sub { file($node) eq $before{ $node->name } ? 'its own' : 'ours' });
	}
	return;
}

taken_over('formed', $n1, $n2, $n3);
$writer->wait_for_acknowledged(1000);

sub row_of
{
	my ($node, $setting) = @_;
	my ($row) = $node->rows("SELECT * FROM orchestra_settings() WHERE name = '$setting'");
	return $row;
}
is(row_of($n1, 'synchronous_standby_names')->{former_value}, 'ANY 1 (n2, n3)',
	'formed: the former value is told');
is(-s $n1->data_dir . '/orchestra/saved_settings' ? sprintf('%04o',
	(stat _)[2] & 07777) : 'none', '0600', 'formed: saved where only the server reads it');

# ---- Observe: it only looks, and its settings are gone.
sub looks_only
{
	my ($what, $primary, @standbys) = @_;
	put_back($what, \%before, $primary, @standbys);
	becomes("$what: the former synchronous set is enforced", 'ANY 1 (n2, n3)',
		sub { setting($primary, 'synchronous_standby_names') });
	becomes("$what: by its walsenders", 'n2 quorum n3 quorum', sub {
		$primary->value(q(SELECT string_agg(application_name || ' ' || sync_state, ' '
			ORDER BY application_name) FROM pg_stat_replication)) });
	is($primary->role, 'MASTER', "$what: out of recovery is MASTER");
	is($_->role, 'STANDBY', "$what: in recovery is STANDBY") for @standbys;
	return;
}

my $changed = now();
mode($n2, 'observe');
looks_only('observe', $n1, $n2, $n3);
is(setting($n3, 'primary_conninfo'), $follows, 'observe: primary_conninfo is the former one');
$writer->wait_for_acknowledged(500, after => now());

# A restart: nobody is gated, no receiver waits.
$_->restart for $n3, $n1;
becomes('observe: the primary restarted', 'MASTER', sub { $n1->role });
becomes('observe: the standby restarted', 'streaming', sub {
	$n3->value('SELECT status FROM pg_stat_wal_receiver') });
$writer->wait_for_acknowledged(500, after => now());
is(phase($n1), 'configured', 'observe: still a member');
put_back('observe after a restart', \%before, $n1, $n2, $n3);

mode($n1, 'automatic');
taken_over('automatic again', $n1, $n2, $n3);
$writer->wait_for_acknowledged(500, after => now());

# ---- Dropped.
like(($n1->psql('postgres', 'DROP EXTENSION orchestra'))[2],
	qr/cannot drop extension "orchestra".*HINT:.*orchestra_drop_cluster/s,
	'the extension of a cluster cannot be dropped');
$changed = now();
my $failed = $writer->failed;
note $n1->value('SELECT orchestra_drop_cluster()');
looks_only('dropped', $n1, $n2, $n3);
for my $node ($n1, $n2, $n3)
{
	my $name = $node->name;
	becomes("dropped: $name is unconfigured", 'unconfigured', sub { phase($node) });
	becomes("dropped: $name has no file of it", '',
		sub { join ' ', grep { -e $node->data_dir . "/$_" } @own });
	like($node->log_text, qr/orchestra: left cluster=orchestra/, "dropped: $name says so");
}
$writer->wait_for_acknowledged(500, after => now());
$writer->stop;
is(scalar $writer->failed, $failed, 'dropped: no write failed');
is($writer->verdict($n1, $changed)->{problem}, '', 'dropped: nothing lost');
is($cluster->turns($writer), 'n1', 'dropped: one writer all along');
$n1->safe_psql('postgres', 'DROP EXTENSION orchestra');
$n1->safe_psql('postgres', "CREATE EXTENSION orchestra; SELECT orchestra_grant('orchestra')");

# ---- Back again, as a new cluster. Paused: its primary may be away for long.
# With a member down its coordinator waits some seconds for it.
sub drop
{
	my ($node) = @_;
	note $node->safe_psql('postgres', 'SELECT orchestra_drop_cluster()', timeout => 60);
	return;
}

sub restart_with
{
	my ($nodes, %settings) = @_;
	$_->stop for reverse @$nodes;
	$_->write_settings(%settings) for @$nodes;
	$_->start for @$nodes;
	return;
}

$cluster->create;
taken_over('formed again', $n1, $n2, $n3);

# A clone of the primary, with the settings that its original has now, and one line of its own.
$n1->backup('member');
my $n4 = $cluster->new_node('n4');
$cluster->clone($n4, 'member');
$n4->set_standby_mode;
$before{n4} = file($n4);
like($before{n4}, qr/^orchestra\.sync_generation/m, 'clone: it has what orchestra set');
$n4->start;
becomes("clone: primary_conninfo is orchestra's", 'ours',
	sub { file($n4) eq $before{n4} ? 'its own' : 'ours' });
$before{n4} =~ s/^orchestra\.sync_generation.*\n//m;
$before{n4} =~ s/^synchronous_standby_names = .*$/synchronous_standby_names = 'ANY 1 (n2, n3)'/m;

my $epoch = $n1->register->{epoch};
$writer = $cluster->writer('v', patience_ms => 5000);
$writer->wait_for_acknowledged(1000);
$n2->value('SELECT orchestra_pause()');
my $stopped = now();
$n1->stop;
wait_for('three lease times pass', sub { now() > $stopped + 6 });
is(join(' ', map { $_->role } $n2, $n3), 'STANDBY STANDBY', 'paused: nobody is promoted');
$n1->start;
$cluster->wait_for_primary;
$n1->value('SELECT orchestra_resume()');
$writer->wait_for_acknowledged(500, after => now());
is($n1->register->{epoch}, $epoch, 'paused: n1 kept its role');
is($cluster->turns($writer), 'n1', 'paused: one writer');

# ---- orchestra.enabled = off everywhere: plain servers, with orchestra's synchronous set.
restart_with([ $n1, $n2, $n3 ], 'orchestra.enabled' => 'off');
$writer->wait_for_acknowledged(500, after => now());
for my $node ($n1, $n2, $n3)
{
	is($node->role, '', 'off: no role port on ' . $node->name);
	like($node->log_text, qr/WARNING:  orchestra is preloaded but off: nothing fences this server/,
		'off: ' . $node->name . ' warns');
}
like(setting($n1, 'synchronous_standby_names'), qr/^ANY 1 \(.*"n[23]"/,
	'off: commits still wait for one of the synchronous set');
my $on = now();
restart_with([ $n1, $n2, $n3 ], 'orchestra.enabled' => 'on');
my $primary = $cluster->wait_for_primary(seconds => $limit);
$writer->wait_for_acknowledged(500, after => now());
is(phase($_), 'configured', 'on again: ' . $_->name . ' is a member') for $n1, $n2, $n3;
is($writer->stop->verdict($primary, $on)->{problem}, '', 'on again: nothing lost');
is($cluster->turns($writer), 'n1', 'on again: one writer all along');

# ---- A member that is down when the cluster is dropped: it stays one, until it is detached.
$n3->stop;
my $saved = $n2->data_dir . '/orchestra/saved_settings';
truncate $saved, (-s $saved) - 1 or die "$saved: $!";
$writer = $cluster->writer('u');
$writer->wait_for_acknowledged(1000);
$changed = now();
drop($n2);
for my $node ($n1, $n4)
{
	becomes('one down: ' . $node->name . ' left', '',
		sub { -e $node->data_dir . "/$own[0]" ? 'a member' : '' });
}
put_back('clone', \%before, $n4);
becomes('damaged: n2 says so', 'damaged', sub {
	my %status = $n2->status;
	$status{n2}{problem} =~ /saved_settings is damaged \(its checksum does not match.*by hand/
	  ? 'damaged' : $status{n2}{problem} // '' });
ok(-e $n2->data_dir . "/$own[0]", 'damaged: n2 does not leave');
unlink $n2->data_dir . '/postgresql.auto.conf';
append_to_file($n2->data_dir . '/postgresql.auto.conf', $before{n2});
$n2->reload;
unlink $saved;
becomes('damaged: n2 leaves when the file is gone', '',
	sub { join ' ', grep { -e $n2->data_dir . "/$_" } @own });
$writer->wait_for_acknowledged(500, after => now());
$n3->start;
becomes('one down: n3 still belongs to it', 'configured STANDBY',
	sub { phase($n3) . ' ' . $n3->role });
$writer->wait_for_acknowledged(500, after => now());
is($writer->stop->verdict($n1, $changed)->{problem}, '', 'one down: nothing lost');
$n3->stop;
for my $file (@own[0, 1]) { unlink $n3->data_dir . "/$file" or die "$file: $!" }
$n3->start;
becomes('one down: n3 is detached', 'unconfigured STANDBY',
	sub { phase($n3) . ' ' . $n3->role });
becomes('one down: n3 streams', 'streaming',
	sub { $n3->value('SELECT status FROM pg_stat_wal_receiver') });
put_back('one down', \%before, $n1, $n2, $n3);

# ---- The primary alone is switched off: the others fail over, and what it writes nobody confirms.
$n4->stop;
$cluster->create($n1, $n2, $n3);
taken_over('formed a third time', $n1, $n2, $n3);
restart_with([$n1], 'orchestra.enabled' => 'off');
my $new = $cluster->wait_for_primary(not => $n1, seconds => $limit);
my ($standby) = grep { $_ != $new } $n2, $n3;
$writer = $cluster->writer('x', conninfo => $cluster->client_conninfo($n2, $n3));
$writer->wait_for_acknowledged(1000);
my $timed_out;
$n1->psql('postgres', 'INSERT INTO writes VALUES (-1)', timeout => 5, timed_out => \$timed_out);
ok($timed_out, 'primary off: no commit of it is acknowledged');
restart_with([$n1], 'orchestra.enabled' => 'on');
becomes('on again: the former primary is fenced', 'FENCED', sub { $n1->role });
like(($n1->psql('postgres', 'INSERT INTO writes VALUES (-2)'))[2], qr/read-only transaction/,
	'on again: and takes no writes');

# Dropped without it. The other one dies while it leaves, or just before or after that.
$n1->stop;
$changed = now();
drop($new);
$standby->kill_all;
$standby->start;
becomes('dropped after a failover: ' . $_->name, 'unconfigured', sub { phase($_) })
  for $new, $standby;
put_back('dropped after a failover', \%before, $new);
my $port = $new->{pg_front};
like(file($standby), qr/^primary_conninfo = '.*port=''$port'''$/m,
	'dropped after a failover: the standby goes on following the new primary');
like($standby->log_text, qr/settings restored; primary_conninfo keeps its present host/,
	'dropped after a failover: and says so');
is(setting($standby, 'synchronous_standby_names'), '', 'dropped after a failover: no set there');
$writer->wait_for_acknowledged(500, after => now());
is($writer->stop->verdict($new, $changed)->{problem}, '', 'dropped after a failover: nothing lost');
$n1->start;
becomes('dropped after a failover: the former primary stays fenced', 'configured FENCED',
	sub { phase($n1) . ' ' . $n1->role });

# Cleaned by hand, without the library.
$n1->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$n1->restart;
my @ours = (qw(orchestra.sync_generation synchronous_standby_names));
like(file($n1), qr/^$_ = /m, "by hand: n1 still has $_") for @ours;
$n1->safe_psql('postgres', "ALTER SYSTEM RESET $_") for @ours;
unlike(file($n1), qr/^$_ = /m, "by hand: $_ is gone") for @ours;
$n1->stop;

# ---- The line that preloads it is removed: a server like any other, and the settings stay behind.
$n3->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$n3->restart;
is(setting($n3, 'orchestra.node_name'), 'n3', 'not preloaded: its settings do not matter');
is($n3->role, '', 'not preloaded: no role port');
is(join(' ', $cluster->passwords_in_logs), '', 'no password in any log');
$cluster->end;
done_testing();
