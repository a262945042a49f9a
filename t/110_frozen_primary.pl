# The whole primary is frozen for longer than its lease, the cluster fails over, the old primary
# goes on where it was: nothing commits there.
use strict;
use warnings;
use List::Util qw(sum);
use Orchestra::Cluster;
use Orchestra::Session;
use Orchestra::Wait qw(wait_for now);
use Test::More;

my $prepared = 5;
my $cluster = Orchestra::Cluster->new(nodes => 3,
	settings => { max_prepared_transactions => 2 * $prepared })->form;
my ($n1) = $cluster->nodes;
$n1->safe_psql('postgres', 'CREATE TABLE attempts (id bigint); GRANT INSERT ON attempts TO app');
$n1->safe_psql('postgres',
	"BEGIN; INSERT INTO attempts VALUES (0); PREPARE TRANSACTION 'p$_'") for 1 .. $prepared;

# Sessions from before the freeze, and what each tries for the n-th time. With synchronous_commit
# at local a commit would be told at once, were it let in.
my $local = q(options='-c synchronous_commit=local');
my @old_sessions = map {
	my ($options, $attempt) = @$_;
	{ session => Orchestra::Session->new($n1, $options), attempt => $attempt, number => 0 }
} (
	[ '', sub { "INSERT INTO attempts VALUES ($_[0])" } ],
	[ $local, sub { "INSERT INTO attempts VALUES ($_[0])" } ],
	[ '', sub { q(COMMIT PREPARED 'p1') } ],
	[ $local, sub { sprintf q(COMMIT PREPARED 'p%d'), 2 + $_[0] % ($prepared - 1) } ],
	[ '', sub { "CREATE TABLE attempt_$_[0] ()" } ],
	[ $local, sub { "CREATE TABLE attempt_local_$_[0] ()" } ]);
# One that has done its work, and only wants to commit.
my $begun = Orchestra::Session->new($n1, $local);
$begun->ask('BEGIN; INSERT INTO attempts VALUES (0)');

sub try_again { my ($old) = @_; $old->{session}->say($old->{attempt}->(++$old->{number})); return }
sub of_sessions { my ($what) = @_; return sum map { $_->{session}->$what } @old_sessions }

my $writer = $cluster->writer('w');
$writer->wait_for_acknowledged(1000);

my $frozen = now();
$n1->freeze;
try_again($_) for @old_sessions;    # what they find first when they go on
$begun->say('COMMIT');
my $primary = $cluster->wait_for_primary(not => $n1, seconds => 60);
note sprintf '%s says MASTER %.2f s after the freeze', $primary->name, now() - $frozen;
$writer->wait_for_acknowledged(500, after => $frozen);
cmp_ok(now() - $frozen, '>', 2, 'frozen for longer than the lease');

my $thawed = now();
$n1->thaw;
# Every attempt of these is a session of its own: over the network, where even the login is refused,
# and over the socket.
my $socket = $n1->connstr('postgres') . ' user=app';
my $number = 0;
my @new_sessions = map { $cluster->writer('new' . ++$number, table => 'attempts', pace_us => 20000,
	conninfo => $_) } $cluster->client_conninfo($n1) . " $local", $socket, "$socket $local";
sub refused_new
{
	return grep { $_->[1] =~ /^\d+ 25006 |this node is fenced/ } map { $_->failed } @new_sessions;
}

my %roles;
wait_for('attempts for five seconds', sub {
	try_again($_) for grep { !$_->{session}->open_statements } @old_sessions;
	$roles{ $n1->role }++;
	now() - $thawed >= 5 && of_sessions('refused') + refused_new() >= 200
	  || of_sessions('done') + $begun->done + map { $_->acknowledged } @new_sessions;
}, 60);
$_->stop for @new_sessions;

note 'refused: ', of_sessions('refused'), ' in old sessions, ', scalar(refused_new()), ' in new';
is(of_sessions('done'), 0, 'old sessions: none commits');
is($begun->done, 0, 'a transaction from before: does not commit');
is(scalar(map { $_->acknowledged } @new_sessions), 0, 'new sessions: none commits');
is(of_sessions('open_statements'), 0, 'none is left waiting');
ok(!$roles{MASTER}, 'its role port never says MASTER: ' . join ' ', sort keys %roles);
is($n1->value('SELECT count(*) FROM attempts'), 0, 'nothing to be seen at the old primary');
is($n1->value(q(SELECT count(*) FROM pg_class WHERE relname LIKE 'attempt\_%')), 0, 'no table');
is($n1->value('SELECT count(*) FROM pg_prepared_xacts'), $prepared, 'what was prepared still is');

$primary->safe_psql('postgres', "COMMIT PREPARED 'p$_'") for 1 .. $prepared;
is($primary->value('SELECT count(*) FROM attempts'), $prepared,
	'and commits at the new primary, alone');
$writer->stop;
is($cluster->turns($writer, @new_sessions), $n1->name . ' ' . $primary->name, 'one writer');
is($writer->verdict($primary, $frozen)->{problem}, '', 'nothing lost');

done_testing();
