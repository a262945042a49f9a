# The primary dies while a standby holds more WAL than it has replayed: replay is paused, waits for
# a query, or is delayed; and once while that standby restarts after kill -9. What was flushed
# counts, not what was replayed: no acknowledged commit is lost, and the cluster writes again.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(standby_coordinator);
use Orchestra::Wait qw(wait_for now);
use Test::More;

sub formed { return Orchestra::Cluster->new(nodes => 3, @_)->form }

sub streams
{
	my ($primary, $name) = @_;
	return $primary->value("SELECT count(*) FROM pg_stat_replication
		WHERE application_name = '$name' AND state = 'streaming'") == 1;
}

# n2 alone acknowledges: n3 gets no WAL any more, so that every other choice than n2 would lose
# commits. Then n1 dies.
sub primary_dies
{
	my ($what, $cluster, %how) = @_;
	my ($n1, $n2, $n3) = $cluster->nodes;
	standby_coordinator($cluster, $n1);
	my $writer = $cluster->writer('w');
	$writer->wait_for_acknowledged(100);
	my $release = $how{hold_up} ? $how{hold_up}->($n1, $n2) : undef;
	$cluster->relay->cut('n1', 'n3', 'pg');
	my $fully = $writer->acknowledged;
	$writer->wait_for_acknowledged($fully + 1000);
	is($n2->value('SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()'), 't',
		"$what: n2 has more than it replayed") if $how{hold_up};
	$n2->kill_all if $how{restart};
	my $killed = $n1->kill_all;
	$cluster->relay->heal;
	$n2->start if $how{restart};
	$release->() if $release;
	my $primary = $cluster->wait_for_primary(not => $n1, seconds => 60);
	is($primary->name, 'n2', "$what: n2, which has it all, is primary");
	$writer->wait_for_acknowledged(500, after => $killed);
	note sprintf '%s: first new commit after %.2f s', $what, $writer->first_after($killed);
	is($writer->stop->verdict($primary, $killed)->{problem}, '', "$what: nothing lost");
	wait_for("$what: n3 follows", sub { streams($primary, 'n3') });
	$cluster->end;
	return;
}

primary_dies('replay paused', formed(), hold_up => sub {
	my (undef, $n2) = @_;
	$n2->value('SELECT pg_wal_replay_pause()');
	wait_for('replay is paused',
		sub { $n2->value('SELECT pg_get_wal_replay_pause_state()') eq 'paused' });
	return;
});

# A query of n2 sees rows that VACUUM removes on the primary: replay waits for it, without a limit.
primary_dies('recovery conflict',
	formed(settings => { max_standby_streaming_delay => -1, hot_standby_feedback => 'off' }),
	hold_up => sub {
		my ($n1, $n2) = @_;
		$n1->safe_psql('postgres', 'CREATE TABLE doomed AS SELECT generate_series(1, 1000) AS n');
		wait_for('the table is on n2',
			sub { $n2->value(q(SELECT to_regclass('doomed') IS NOT NULL)) eq 't' });
		my $session = $n2->background_psql('postgres');
		$session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
		$session->query_safe('SELECT count(*) FROM doomed');
		$n1->safe_psql('postgres', "DELETE FROM doomed");
		$n1->safe_psql('postgres', "VACUUM doomed");
		wait_for('replay waits for the query', sub {
			$n2->value(q(SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup'))
			  =~ /RecoveryConflict/ });
		return sub { $session->quit };
	});

primary_dies('delayed standby', formed(), hold_up => sub {
	my (undef, $n2) = @_;
	$n2->write_settings(recovery_min_apply_delay => '10min');
	$n2->reload;
	wait_for('the delay is in force', sub {
		$n2->value('SHOW recovery_min_apply_delay') eq '10min'
		  && $n2->value('SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()') eq 't' });
	return;
});

primary_dies('standby killed as well', formed(), restart => 1);

done_testing();
