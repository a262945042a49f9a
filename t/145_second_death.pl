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
	ok(wait_for('the other one hears of it', sub {
		my %status = $last->status;
		return $status{ $new->name }{state} eq 'activating';
	}), "$what: and status");
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
	my $counted = join ' ', @{ $new->register->{sync_nodes} }, $new->register->{sync_k};
	is($counted, $last->name . ' 1', 'after activation: commits are counted on who was alive');
	my $marks = marks($cluster);
	my $again = $new->kill_all;
	# With the old primary there is a majority. It missed an epoch, and its end of WAL says nothing
	# of it; that of the last one does: every commit of that epoch is there.
	$n1->start;
	wait_for('the last one is chosen', sub {
		$last->register->{primary_node} eq $last->name }, 60);
	my ($chosen) = grep { $_->{event} eq 'candidate_chosen' }
	  map { events_since($marks, $_) } $n1, $last;
	is($chosen->{node}, $last->name, 'after activation: the one that holds every commit is chosen');
	wait_for('it has left recovery', sub {
		$last->value('SELECT pg_is_in_recovery()') eq 'f' }, 60);
	# Both former primaries may have WAL that the cluster has not, and are out of recovery: neither
	# follows by itself, so there is no second copy.
	$new->start;
	for my $node ($n1, $new)
	{
		wait_for('a former primary says why it does not follow', sub {
			my %status = $node->status;
			($status{ $node->name }{problem} // '') =~
			  /out of recovery but the register names ${\$last->name} as primary/ }, 60);
	}
	is($last->register->{active} ? 1 : 0, 0, 'after activation: one copy is not enough');
	nobody_commits('after activation', $writer, now(), $n1, $new, $last);
	# The way out while both are to be made anew: the last one goes on alone. It lacks nothing.
	$_->kill_all for $n1, $new;
	my $forced = wait_for('it is forced', sub {
		my $call = 'SELECT orchestra_failover(accept_data_loss => true';
		my ($token) = $last->value("$call)") =~ /Confirmation: ([0-9a-f]{12})$/;
		my ($status, $out, $err) = $last->psql('postgres',
			"$call, confirm => '$token', wait => '20 s')", timeout => 30);
		die $err if $status;
		$out }, 60);
	like($forced, qr/^${\$last->name} is the primary of epoch \S+ and the only voter/,
		'after activation: forced');
	is($cluster->wait_for_primary(seconds => 60), $last, 'after activation: it goes on');
	$writer->wait_for_acknowledged(500, after => $again);
	my $primary = $last;
	is($writer->stop->verdict($primary, $killed)->{problem}, '', 'after activation: nothing lost');
	$cluster->end;
}

done_testing();
