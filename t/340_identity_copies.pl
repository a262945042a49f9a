# Copies of a voter's data directory, made with the tools that people use: pg_basebackup, cp -a,
# an older state put back, pg_rewind. None of them votes, follows or commits; each says why; the
# cluster and the original go on as before. (t/210_identity.pl has clones under other names.)
use strict;
use warnings;
use File::Copy qw(copy);
use File::Path qw(rmtree);
use Orchestra::Cluster;
use Orchestra::Look qw(standby_coordinator marks counts_of);
use Orchestra::Wait qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;

my $limit = 60;
my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
my ($n1, $n2, $n3) = $cluster->nodes;
my @members = ($n1, $n2, $n3);
my $restored = standby_coordinator($cluster, $n1);
my ($standby) = grep { $_ != $restored } $n2, $n3;
my $epoch = $n1->register->{epoch};
my $marks = marks($cluster);

sub row
{
	my ($node, $name) = @_;
	my %status = $node->status;
	return $status{ $name // $node->name } // {};
}

sub streams
{
	my ($name) = @_;
	return $n1->value("SELECT count(*) FROM pg_stat_replication WHERE application_name = '$name'
		AND state = 'streaming'");
}

# $copy, which says that it were $name, takes no part, and says why.
sub takes_no_part
{
	my ($what, $copy, $name, $why) = @_;
	my $problem = '';
	eval { wait_for($what, sub { ($problem = row($copy, $name)->{problem} // '') =~ $why }, $limit) };
	like($problem, $why, "$what: says why");
	is(row($copy, $name)->{state}, 'quarantined', "$what: quarantined");
	is($copy->value('SELECT count(*) FROM pg_stat_wal_receiver WHERE status = $$streaming$$'), 0,
		"$what: receives no WAL");
	isnt($copy->psql('postgres', 'INSERT INTO writes VALUES (-1)', timeout => 10), 0,
		"$what: no commits");
	return;
}

sub unharmed
{
	my ($what, $voters) = @_;
	wait_for("$voters voters", sub { $n1->register->{reachable_voters} == $voters }, $limit);
	is($n1->register->{epoch}, $epoch, "$what: the epoch is as before");
	is(counts_of($cluster, $marks, qw(lease_lost gate_closed fence_started)), '',
		"$what: no lease lost, no failover");
	is($n1->psql('postgres', 'INSERT INTO writes SELECT coalesce(max(id), 0) + 1 FROM writes',
			timeout => 30), 0, "$what: commits go on");
	return;
}

# A copy under the name of $of, elsewhere.
sub copy_of
{
	my ($of, $as, $make) = @_;
	my $copy = $cluster->new_node($of->name . $as);
	pop @{ $cluster->{nodes} };    # no member
	$make->($copy);
	$cluster->make_its_own($copy, $n1);
	$copy->write_settings('orchestra.node_name' => $of->name);
	return $copy;
}

sub discard { my ($copy) = @_; $copy->stop('immediate'); rmtree($copy->data_dir); return }

# ---- pg_basebackup of a voter, started under its name while it runs.
my $name = $standby->name;
$standby->backup('same');
my $twin = copy_of($standby, 'twin', sub { $_[0]->init_from_backup($standby, 'same') });
ok(!-e $twin->data_dir . '/orchestra/pgsql_tmp_vote/vote', 'base backup: has no vote');
$twin->start;
takes_no_part('base backup', $twin, $name, qr/no valid vote: its vote file is missing/);
is(row($n1, $name)->{state}, 'streaming', 'base backup: the original streams');
is(streams($name), 1, 'base backup: and nobody else in its name');
unharmed('base backup', 3);
discard($twin);

# ---- cp -a of a stopped voter, started under its name while it runs again.
$standby->stop;
my $copy = copy_of($standby, 'copy', sub {
	my ($node) = @_;
	rmtree($node->basedir);
	mkdir $node->basedir or die $!;
	system_or_bail('cp', '-a', $standby->data_dir, $node->data_dir) });
$standby->start;
ok(-e $copy->data_dir . '/orchestra/pgsql_tmp_vote/vote', 'cp -a: has the vote');
$copy->start;
takes_no_part('cp -a', $copy, $name, qr/no valid vote: the vote file was copied /);
wait_for('the original streams', sub { streams($name) == 1 }, $limit);
unharmed('cp -a', 3);
discard($copy);

# ---- A voter's older state put back in place: same directory, same inode, an older vote.
$name = $restored->name;
my $vote = $restored->data_dir . '/orchestra/pgsql_tmp_vote/vote';
my $snapshot = $restored->basedir . '/snapshot';
$restored->stop;
copy($vote, $snapshot) or die $!;
wait_for('another coordinator', sub {
	($n1->register->{coordinator} // '') eq $standby->name }, $limit);
$restored->start;
wait_for('it streams', sub { streams($name) == 1 }, $limit);
$restored->restart;
wait_for('it streams', sub { streams($name) == 1 }, $limit);
unharmed('snapshot', 3);
$restored->stop;
system_or_bail('sh', '-c', "cat '$snapshot' > '$vote'");
$restored->start;
my $older = qr/its disk is older than what n\d has seen of it: it was rolled back/;
takes_no_part('snapshot', $restored, $name, $older);
like($restored->log_text, qr/orchestra: quarantined node=$name .*$older/, 'snapshot: in its log');
is(streams($name), 0, 'snapshot: nobody streams to it');
unharmed('snapshot', 2);
$restored->restart;
takes_no_part('snapshot restarted', $restored, $name, $older);
unharmed('snapshot restarted', 2);

# ---- Its way back: its vote is given up, it is made anew, and gets a vote again.
$restored->stop;
is($n1->value(q(SELECT orchestra_set_voters('{n1}', wait => '60 s'))), 'voters are n1 for good',
	'anew: its vote is given up');
is($n1->value("SELECT orchestra_set_node('$name', sync_candidate => false)"),
	"$name is not counted for commits", 'anew: nor does it count');
$n1->backup('anew');
rmtree($restored->data_dir);
$cluster->clone($restored, 'anew');
$restored->set_standby_mode;
$restored->start;
wait_for('made anew it streams', sub { streams($name) == 1 }, $limit);
wait_for('and is a member', sub { row($restored)->{state} eq 'streaming' }, $limit);
is($n1->value(q(SELECT orchestra_set_voters('{n1,n2,n3}', wait => '60 s'))),
	'voters are n1, n2, n3 for good', 'anew: it votes again');
unharmed('anew', 3);

# ---- pg_rewind of a former primary takes its vote: it does not vote, and cannot pretend to.
$n1->kill_all;
my $new = $cluster->wait_for_primary(not => $n1, seconds => $limit);
$n1->start;
$n1->stop;
my ($kept, $aside) = ($n1->data_dir . '/orchestra/pgsql_tmp_vote', $n1->basedir . '/aside');
rename $kept, $aside or die $!;
system_or_bail('cp', '-a', $aside, $kept);
$cluster->rewind($n1, $new);
ok(!-e "$kept/vote", 'rewound: pg_rewind has removed the vote');
$n1->start;
takes_no_part('rewound', $n1, 'n1', qr/no valid vote: its vote file is missing/);
my $lost = qr/counts on the vote of n1, which is lost/;
my $problem = '';
eval { wait_for('what is lost', sub { ($problem = row($n1)->{problem}) =~ $lost }, $limit) };
like($problem, $lost, 'rewound: and what is lost');
wait_for('its vote is missed', sub { $new->register->{reachable_voters} == 2 }, $limit);
is(join(' ', map { $_->name } grep { $_->role eq 'MASTER' } @members), $new->name,
	'rewound: one primary');

# ---- The same with its vote put back, as the directory that it was: it votes again.
$n1->stop;
rmtree($kept);
rename $aside, $kept or die $!;
$n1->start;
wait_for('n1 votes', sub { $new->register->{reachable_voters} == 3 }, $limit);
isnt(row($n1)->{state}, 'quarantined', 'vote kept: a member');
wait_for('n1 says why it does not follow', sub {
	row($n1)->{problem} =~ /is not on the cluster's lineage: it must be made anew/ }, $limit);
is($n1->value('SELECT count(*) FROM pg_stat_wal_receiver WHERE status = $$streaming$$'), 0,
	'vote kept: what it had written as a primary is not vouched for by a rewind');
is(join(' ', map { $_->name } grep { $_->role eq 'MASTER' } @members), $new->name,
	'vote kept: one primary');
$cluster->end;
done_testing();
