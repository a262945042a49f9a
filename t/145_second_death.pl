# The new primary of a failover dies too: before activation, when it has left recovery but no
# standby has its new timeline, and right after activation. Nothing is lost; the cluster writes
# again as soon as the rules allow it, and says what it waits for until then.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(standby_coordinator marks events_since);
use Orchestra::Wait qw(wait_for now);
use Test::More;

# A cluster that writes and then loses n1, while no standby can get WAL from the other one: the new
# primary leaves recovery and cannot activate.
sub without_activation
{
	my ($what) = @_;
	my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
	my ($n1, $n2, $n3) = $cluster->nodes;
	standby_coordinator($cluster, $n1);
	my $writer = $cluster->writer('w');
	$writer->wait_for_acknowledged(1000);
	$cluster->relay->cut('n2', 'n3', 'pg');
	my $epoch = $n1->register->{epoch};
	my $killed = $n1->kill_all;
	my $new = wait_for('the new primary has left recovery', sub {
		my $register = $n2->register;
		return if $register->{epoch} eq $epoch;
		my $node = $cluster->node($register->{primary_node});
		return $node->value('SELECT pg_is_in_recovery()') eq 'f' ? $node : undef;
	}, 60);
	my ($last) = grep { $_ != $new } $n2, $n3;
	isnt($new->role, 'MASTER', "$what: not MASTER before activation");
	is($new->register->{active} ? 1 : 0, 0, "$what: the register says so");
	my %status = $last->status;
	is($status{ $new->name }{state}, 'activating', "$what: and status");
	return ($cluster, $writer, $killed, $new, $last);
}

sub nobody_commits
{
	my ($what, $writer, $since, @nodes) = @_;
	for my $node (@nodes)
	{
		isnt($node->role, 'MASTER', "$what: " . $node->name . ' is not MASTER');
		isnt($node->psql('postgres', 'INSERT INTO writes VALUES (-1)', timeout => 10), 0,
			"$what: " . $node->name . ' does not write');
	}
	is(scalar($writer->acknowledged_after($since)), 0, "$what: nobody commits");
	return;
}

# ---- before activation; the old primary comes back: it holds every commit, and goes on
{
	my ($cluster, $writer, $killed, $new, $last) = without_activation('before activation');
	my ($n1) = $cluster->nodes;
	$new->kill_all;
	$cluster->relay->heal;
	wait_for('the last one is alone', sub { $last->register->{reachable_voters} == 1 });
	nobody_commits('before activation', $writer, $killed, $last);
	$n1->start;
	is($cluster->wait_for_primary(seconds => 60)->name, 'n1', 'the old primary is back: it goes on');
	$writer->wait_for_acknowledged(500, after => $killed);
	wait_for('the last one follows it', sub {
		my %status = $n1->status;
		$status{ $last->name }{state} eq 'streaming' });
	is($writer->stop->verdict($n1, $killed)->{problem}, '', 'the old primary is back: nothing lost');
	$cluster->end;
}

# ---- before activation; the new primary itself comes back, and dies again right after activation
{
	my ($cluster, $writer, $killed, $new, $last) = without_activation('first death');
	my ($n1) = $cluster->nodes;
	$new->kill_all;
	$cluster->relay->heal;
	$new->start;
	wait_for('it activates', sub { $new->role eq 'MASTER' }, 60);
	my $marks = marks($cluster);
	my $again = $new->kill_all;
	# The old primary missed an epoch: with it there is a majority, but not all that may hold commits.
	$n1->start;
	my @blocked;
	wait_for('the failover says what it waits for', sub {
		@blocked = grep { $_->{event} eq 'failover_blocked' }
		  map { events_since($marks, $_) } $n1, $last;
		@blocked > 0 }, 60);
	like($blocked[0]{reason}, qr/waits for exact ends of WAL: 1 of 2 needed/,
		'after activation: one end of WAL is missing, and the log says so');
	nobody_commits('after activation', $writer, now(), $n1, $last);
	$new->start;
	my $primary = $cluster->wait_for_primary(seconds => 60);
	is($primary, $new, 'after activation: it has to come back itself');
	$writer->wait_for_acknowledged(500, after => $again);
	is($writer->stop->verdict($primary, $killed)->{problem}, '', 'after activation: nothing lost');
	$cluster->end;
}

done_testing();
