# What the SQL functions refuse, with hints: a server without the preload line, a standby, and
# orchestra_create_cluster() as long as a node is missing. Each time nothing has changed.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Wait qw(wait_for);
use PostgreSQL::Test::Cluster;
use Test::More;

# The error of a statement that must fail: SQLSTATE, message, detail and hint.
sub refused
{
	my ($node, $statement, $pattern, $what) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement",
		timeout => 30);
	isnt($status, 0, "$what: refused");
	like($err, $pattern, $what);
	return;
}

sub phases { return join ' ', map { $_->register->{phase} } @_ }

# ---- Not preloaded: the extension can be created (a dump can be restored), and says what to do.
{
	my $plain = PostgreSQL::Test::Cluster->new('plain');
	$plain->init;
	$plain->start;
	$plain->safe_psql('postgres', 'CREATE EXTENSION orchestra');
	is($plain->safe_psql('postgres', 'SELECT count(*) FROM orchestra_recoveries()'), 0,
		'the tables can be read without the library');
	for my $call (qw(orchestra_status() orchestra_cluster() orchestra_analysis()
		orchestra_promote('1.1/1') orchestra_repoint('1.1/1')),
		q(orchestra_create_cluster('{n1}', 'manual')))
	{
		refused($plain, "SELECT * FROM $call",
			qr/55000: orchestra is not loaded.*HINT: .*shared_preload_libraries.*restart/s, $call);
	}
	$plain->stop;
}

# ---- A standby.
my $cluster = Orchestra::Cluster->new(nodes => 3, relay => 0);
my ($n1, $n2, $n3) = $cluster->nodes;
$cluster->init_primary;
$cluster->add_standby($n2);
refused($n2, 'CREATE EXTENSION orchestra',
	qr/25006: cannot create extension "orchestra" on a standby.*HINT: .*on the primary/s,
	'CREATE EXTENSION on a standby');
refused($n2, q(SELECT orchestra_create_cluster('{n1,n2,n3}', 'automatic')),
	qr/55000: this node is a standby.*HINT: .*on the primary/s, 'creation on a standby');

# ---- A node that is not there at all, one with another secret, one with another name.
my $create = q(SELECT orchestra_create_cluster('{n1,n2,n3}', 'automatic', wait => '1 s'));
wait_for('n2 said hello', sub { my %seen = $n1->status; $seen{n2} });
refused($n1, $create,
	qr/55000: node "n3" is missing.*"n3": it has not said hello.*and no standby streams.*HINT/s,
	'a node that does not run');
is(phases($n1, $n2), 'unconfigured unconfigured', 'nothing has changed');

$cluster->clone($n3);
$n3->set_standby_mode;
$n3->write_settings('orchestra.secret_file' => $cluster->private_file('other', 'x' x 32));
$n3->start;
wait_for('n3 streams', sub {
	$n1->value(q(SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming')) == 2 });
refused($n1, $create, qr/node "n3" is missing.*"n3": it has not said hello to this.*port\.\n/s,
	'a node with another secret');

$n3->write_settings('orchestra.secret_file' => $cluster->{secret});
my $upstream = $cluster->conninfo($n1, 'replicator');
$n3->append_conf('postgresql.auto.conf', "primary_conninfo = '$upstream application_name=other'");
$n3->reload;
wait_for('n3 said hello', sub { my %seen = $n1->status; $seen{n3} });
wait_for('n3 streams under another name', sub {
	$n1->value(q(SELECT count(*) FROM pg_stat_replication WHERE application_name = 'other')) });
refused($n1, $create,
	qr/node "n3" is missing.*"n3": no standby streams.*"n3"\.\nStreaming from here: .*"other"/s,
	'a node with another application_name');
is(phases($n1, $n2, $n3), 'unconfigured unconfigured unconfigured', 'still nothing has changed');
is($n1->value('SHOW synchronous_standby_names'), '', 'nor has synchronous_standby_names');

# ---- A caller that gives up leaves nothing behind, whichever way.
my $patient = q(SELECT orchestra_create_cluster('{n1,n2,n3}', 'automatic', wait => '10 min'));
refused($n1, "SET statement_timeout = '300ms'; $patient", qr/57014: /, 'a cancelled caller');
my $session = IPC::Run::start([ 'psql', '-Xd', $n1->connstr('postgres'), '-c', $patient ],
	'<', \undef, '&>', \my $output);
my $pid = wait_for('it waits', sub {
	$n1->value(q(SELECT pid FROM pg_stat_activity WHERE query LIKE '%10 min%' AND wait_event_type
		= 'Extension')) });
$n1->value("SELECT pg_terminate_backend($pid)");
$session->finish;
is(phases($n1, $n2, $n3), 'unconfigured unconfigured unconfigured', 'nothing has changed again');

# ---- Complete.
$n3->append_conf('postgresql.auto.conf', "primary_conninfo = '$upstream application_name=n3'");
$n3->reload;
like($n1->value(q(SELECT orchestra_create_cluster('{n1,n2,n3}', 'automatic'))),
	qr/^cluster "orchestra" formed, epoch \S+, primary n1$/, 'the cluster is formed');
wait_for('every node knows', sub { phases($n1, $n2, $n3) eq join ' ', ('configured') x 3 });
refused($n1, $create, qr/42710: this node already belongs to a cluster/, 'a second creation');

done_testing();
