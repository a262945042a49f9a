# The modes. In observe nothing is gated, no setting is touched and nobody is promoted, whatever
# happens; the log tells what would have been done. The mode changes while clients write without a
# failed write. While paused nobody is promoted either, and the primary may be restarted.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(marks counts_of events_since standby_coordinator);
use Orchestra::Wait qw(wait_for now);
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3, mode => 'observe');
my ($n1, $n2, $n3) = $cluster->nodes;
$cluster->init_primary;
$cluster->add_standby($_) for $n2, $n3;

sub roles { return join ' ', map { $_->{_pid} ? $_->role : 'DOWN' } $n1, $n2, $n3 }

# What a server is set to do, in its files and in force.
sub settings_of
{
	my ($node) = @_;
	return join "\n", slurp_file($node->data_dir . '/postgresql.auto.conf'),
	  map { $node->value("SHOW $_") } qw(synchronous_standby_names primary_conninfo);
}

sub becomes
{
	my ($what, $wanted, $look) = @_;
	my $seen = '';
	eval { wait_for($what, sub { ($seen = $look->()) eq $wanted }, 60) };
	is($seen, $wanted, $what);
	return;
}

sub modes { return join ' ', map { $_->register->{mode} } @_ }

# Until then, for something that must not happen.
sub pass_until
{
	my ($moment) = @_;
	wait_for('time passes', sub { now() > $moment }, 60);
	return;
}

# What a standby told as the coordinator about the death of $n1.
sub told_of_death
{
	my ($marks, $next) = @_;
	my @told = map { grep { $_->{event} eq 'detected' && $_->{reason} =~ /^DeadPrimary/
			  && $_->{next} =~ $next } events_since($marks, $_) } $n2, $n3;
	return @told ? $told[-1]{next} : '';
}

# ---- Observe: as if it were not there.
my %before = map { $_->name => settings_of($_) } $n1, $n2, $n3;
$cluster->create;
becomes('every node observes', 'observe observe observe', sub { modes($n1, $n2, $n3) });
becomes('roles by the state of recovery', 'MASTER STANDBY STANDBY', \&roles);
standby_coordinator($cluster, $n1);
my $epoch = $n1->register->{epoch};
my $writer = $cluster->writer('w');
$writer->wait_for_acknowledged(1000);
is(scalar $writer->failed, 0, 'observe: writes pass');
is($n1->register->{sync_k}, 0, 'observe: commits are counted on nobody');
my %state = $n2->status;
is(join(' ', map { $state{$_}{state} } qw(n1 n2 n3)), 'open streaming streaming',
	'observe: states of the nodes');
like(($n1->psql('postgres', 'SELECT orchestra_failover()'))[2],
	qr/no failover: in mode observe nobody is promoted/, 'observe: no failover by call either');

# ---- The primary dies.
my $marks = marks($cluster);
my $killed = $n1->kill_all;
my $would = wait_for('a standby tells what it would do',
	sub { told_of_death($marks, qr/would have promoted n\d/) }, 60);
like($would, qr/would have promoted n[23] at LSN [0-9A-F]+\/[0-9A-F]+ after \d+ ms/,
	'observe: what would have been done');
note $would;
pass_until(now() + 6);
is(roles(), 'DOWN STANDBY STANDBY', 'observe: nobody is promoted');
is(counts_of($cluster, $marks, qw(fence_started fenced promoting epoch_committed)), '',
	'observe: nobody is fenced');
is($n2->register->{epoch}, $epoch, 'observe: the epoch goes on');
$n1->start;
$writer->wait_for_acknowledged(500, after => now());
becomes('observe: everything goes on', 'MASTER STANDBY STANDBY', \&roles);
becomes('observe: a row tells the would-be choice', 1, sub { $n1->value(
	"SELECT count(*) FROM orchestra_detection WHERE next = '$would'") });
standby_coordinator($cluster, $n1);
is(settings_of($_), $before{ $_->name }, 'observe: settings of ' . $_->name) for $n1, $n2, $n3;
is($writer->stop->verdict($n1, $killed)->{problem}, '', 'observe: nothing is lost');
is($cluster->turns($writer), 'n1', 'observe: one writer');

# ---- Trust it, step by step, from any node, while clients write.
$writer = $cluster->writer('v');
$writer->wait_for_acknowledged(500);
is($n1->value(q(SELECT orchestra_set_mode('manual'))), 'mode is manual, it was observe', 'manual');
becomes('manual: a row says so', 1, sub { $n1->value(
	q(SELECT count(*) FROM orchestra_change WHERE detail = 'mode manual, asked for on n1')) });
$writer->wait_for_acknowledged(500, after => now());
becomes('manual: commits are counted on standbys', 1, sub { $n1->register->{sync_k} });
is($n2->value(q(SELECT orchestra_set_mode('automatic'))), 'mode is automatic, it was manual',
	'automatic, by a standby');
becomes('every node is told', 'automatic automatic automatic', sub { modes($n1, $n2, $n3) });
$writer->wait_for_acknowledged(500, after => now());
is($n3->value(q(SELECT orchestra_set_mode('observe'))), 'mode is observe, it was automatic',
	'and back, by another standby');
$writer->wait_for_acknowledged(500, after => now());
becomes('observe again: settings of ' . $_->[0]->name, $_->[1], sub { settings_of($_->[0]) })
  for map { [ $_, $before{ $_->name } ] } $n1, $n2, $n3;
is($n3->value(q(SELECT orchestra_set_mode('automatic'))), 'mode is automatic, it was observe',
	'automatic again');
$writer->wait_for_acknowledged(500, after => now());
becomes('automatic: commits are counted on standbys', 1, sub { $n1->register->{sync_k} });
is(scalar $writer->failed, 0, 'no write failed in all of that');
for my $mode (qw(manual automatic observe))
{
	ok((grep { $_->log_text =~ /orchestra: register_changed .*mode $mode, asked for on n/ }
			$cluster->nodes), "the log tells of mode $mode");
}

# ---- Paused: the primary is down for 20 s and stays the primary.
standby_coordinator($cluster, $n1);
like($n2->value('SELECT orchestra_pause()'), qr/^paused/, 'paused by a standby');
becomes('every node is told of the pause', 'true true true',
	sub { join ' ', map { $_->register->{paused} ? 'true' : 'false' } $n1, $n2, $n3 });
$epoch = $n1->register->{epoch};
$marks = marks($cluster);
my $stopped = now();
$n1->stop('immediate');
like(wait_for('a standby tells why it does nothing',
		sub { told_of_death($marks, qr/./) }, 60), qr/^paused: no failover/, 'paused: told');
pass_until($stopped + 20);
is(roles(), 'DOWN STANDBY STANDBY', 'paused: nobody is promoted');
$n1->start;
$writer->wait_for_acknowledged(500, after => now());
becomes('paused: the same primary', 'MASTER STANDBY STANDBY', \&roles);
is($n1->register->{epoch}, $epoch, 'paused: in the same epoch');
is(counts_of($cluster, $marks, qw(fence_started fenced promoting epoch_committed)), '',
	'paused: nobody was fenced');
is($n3->value('SELECT orchestra_resume()'), 'not paused', 'resumed by another standby');

# ---- Automatic.
standby_coordinator($cluster, $n1);
$killed = $n1->kill_all;
my $primary = $cluster->wait_for_primary(not => $n1, seconds => 60);
$writer->wait_for_acknowledged(500, after => $killed);
isnt($primary->register->{epoch}, $epoch, 'automatic: a failover');
is($writer->stop->verdict($primary, $killed)->{problem}, '', 'nothing is lost');
is($cluster->turns($writer), 'n1 ' . $primary->name, 'one writer at a time');
$cluster->end;
done_testing();
