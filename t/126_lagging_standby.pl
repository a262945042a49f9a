# A standby misses commits that the other one has, then the primary dies: whoever holds all of the
# WAL is chosen, although the other one comes first by its name.
# negative-control: promote_any
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Wait qw(wait_for now);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
my ($n1, $laggard, $keeper) = $cluster->nodes;
my $writer = $cluster->writer('w');
$writer->wait_for_acknowledged(1000);

my $cut = now();
$cluster->relay->cut('n1', $laggard->name);
$writer->wait_for_acknowledged(1000, after => $cut);
my $epoch = $keeper->register->{epoch};
my $missed = $laggard->value('SELECT pg_last_wal_replay_lsn()');
ok($keeper->value("SELECT pg_last_wal_receive_lsn() > '$missed'") eq 't', 'a standby lags');

my $killed = $n1->kill_all;
is(wait_for('another primary is committed', sub {
	my $register = $keeper->register;
	$register->{epoch} ne $epoch && $register->{primary_node} }, 60),
	$keeper->name, 'the standby with all of the WAL is chosen');
is($cluster->wait_for_primary(not => $n1, seconds => 60)->name, $keeper->name,
	'and is the primary');
$writer->wait_for_acknowledged(500, after => $killed);
$writer->stop;
is($cluster->turns($writer), 'n1 ' . $keeper->name, 'one writer');
is($writer->verdict($keeper, $killed)->{problem}, '', 'nothing lost');
my $end = $keeper->value('SELECT pg_current_wal_flush_lsn()');
wait_for('the laggard has caught up', sub {
	$laggard->value("SELECT pg_last_wal_replay_lsn() >= '$end'") eq 't' }, 60);
is($writer->verdict($laggard, $killed)->{problem}, '', 'nor on the one that lagged');

done_testing();
