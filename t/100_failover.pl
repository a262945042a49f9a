# kill -9 of the primary while clients write: one new primary, the other standby follows it, no
# acknowledged commit is lost, every step is recorded on every node; once more with slots, and once
# with an idle primary.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Wait qw(wait_for now);
use Test::More;

# Both survivors agree about who is the primary, and the other one streams from it.
sub follows
{
	my ($primary, $standby) = @_;
	my $name = $standby->name;
	wait_for("$name streams from the new primary", sub {
		$primary->value("SELECT count(*) FROM pg_stat_replication
			WHERE application_name = '$name' AND state = 'streaming'") == 1 });
	is($standby->role, 'STANDBY', "$name says STANDBY");
	is($standby->value(q(SELECT pg_is_in_recovery())), 't', "$name is in recovery");
	wait_for("$name is on the new timeline", sub {
		$standby->value('SELECT received_tli FROM pg_stat_wal_receiver')
		  == $primary->value('SELECT timeline_id FROM pg_control_checkpoint()') });
	is($standby->register->{primary_node}, $primary->name, "$name knows the new primary");
	return;
}

# The same recovery rows on every node, and every kind of step that there must be.
sub recorded
{
	my ($victim, $primary, $standby) = @_;
	my $query = 'SELECT recovery, failed_node, new_primary, outcome FROM orchestra_recoveries()';
	for my $node ($primary, $standby)
	{
		my $name = $node->name;
		wait_for("the recovery is complete on $name", sub {
			($node->rows($query))[-1]{outcome} eq 'recovered' });
		my @rows = $node->rows($query);
		is(scalar @rows, 1, "one recovery on $name");
		is($rows[0]{failed_node}, $victim->name, "failed node on $name");
		is($rows[0]{new_primary}, $primary->name, "new primary on $name");
		my @kinds = map { $_->{kind} } $node->rows(
			"SELECT * FROM orchestra_recovery_steps('$rows[0]{recovery}')");
		note "$name: @kinds";
		for my $kind (qw(detected fence_started voters_fenced node_fenced candidate_chosen
			promoted activated repointed recovered))
		{
			ok((grep { $_ eq $kind } @kinds), "step $kind on $name");
		}
	}
	return;
}

sub kill_the_primary
{
	my ($what, %chosen) = @_;
	my $cluster = Orchestra::Cluster->new(nodes => 3, %chosen)->form;
	my ($n1) = $cluster->nodes;
	my $writer;
	if (!$chosen{idle})
	{
		$writer = $cluster->writer('w');
		$writer->wait_for_acknowledged(1000);
	}
	my $killed = $n1->kill_all;
	my $primary = $cluster->wait_for_primary(not => $n1);
	note sprintf '%s: %s says MASTER after %.2f s', $what, $primary->name, now() - $killed;
	my ($standby) = grep { $_ != $n1 && $_ != $primary } $cluster->nodes;
	follows($primary, $standby);
	recorded($n1, $primary, $standby);
	is(join(' ', map { $_->role } grep { $_ != $n1 } $cluster->nodes) =~ s/STANDBY ?//r =~ s/ $//r,
		'MASTER', 'one primary');
	$writer //= $cluster->writer('w');
	$writer->wait_for_acknowledged(500, after => $killed);
	my $verdict = $writer->stop->verdict($primary, $killed, $chosen{idle} ? (before => 0) : ());
	is($verdict->{problem}, '', "$what: nothing lost");
	note sprintf '%s: first new commit after %.2f s', $what, $verdict->{first_after};
	is(join(' ', $cluster->passwords_in_logs), '', "$what: no password in any log");
	if ($chosen{slots})
	{
		is($primary->value(q(SELECT count(*) FROM pg_replication_slots WHERE active AND slot_name = ')
				  . $standby->name . q(')),
			1, "$what: the standby's slot is on the new primary and in use");
	}
	$cluster->end;
	return;
}

kill_the_primary('busy');
kill_the_primary('with slots', slots => 1);
kill_the_primary('idle', idle => 1);

done_testing();
