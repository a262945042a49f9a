# The primary dies in the middle of a change of the synchronous set, at each of its steps, while
# clients commit with each synchronous_commit: nothing that was acknowledged is lost, and there is
# one writer at every moment. ORCHESTRA_ROUNDS=10: all of them.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Wait qw(wait_for now);
use Test::More;

my $limit = 60;

sub counted { my ($node) = @_; return map { $_ => 1 } @{ $node->register->{sync_nodes} } }
sub enforced { my ($node) = @_; return map { $_ => 1 } $node->value(
	'SHOW synchronous_standby_names') =~ /"(\w+)"/g }

sub joined { my ($far, %set) = @_; return $set{$far} }

# Which step of which change the primary has just done when it dies: of its name, with the standby
# that leaves or joins.
my %step = (
	'shrinks: cut off' => sub { 1 },
	'shrinks: the setting' => sub { my ($primary, $far) = @_; !joined($far, enforced($primary)) },
	'shrinks: the register' => sub { my ($primary, $far) = @_; !joined($far, counted($primary)) },
	'grows: streams' => sub { my ($primary, $far) = @_;
		$primary->value("SELECT count(*) FROM pg_stat_replication
		                  WHERE application_name = '$far' AND state = 'streaming'") == 1 },
	'grows: the register' => sub { my ($primary, $far) = @_; joined($far, counted($primary)) },
	'grows: the setting' => sub { my ($primary, $far) = @_; joined($far, enforced($primary)) },
	'raises k: the setting' => sub { $_[0]->value('SHOW synchronous_standby_names') =~ /^ANY 2/ },
	'raises k: the register' => sub { $_[0]->register->{sync_k} == 2 },
	'lowers k: the register' => sub { $_[0]->register->{sync_k} == 1 },
	'lowers k: the setting' => sub { $_[0]->value('SHOW synchronous_standby_names') =~ /^ANY 1/ });

sub copies
{
	my ($primary, $copies) = @_;
	$primary->safe_psql('postgres', "SELECT orchestra_set('sync_copies', '$copies')");
	return;
}

# It shrinks when $far gets no WAL any more, while everybody hears everybody.
sub begin
{
	my ($cluster, $primary, $far, $change) = @_;
	return copies($primary, 2) if $change eq 'raises';
	if ($change eq 'lowers')
	{
		copies($primary, 2);
		wait_for('two copies', sub { $primary->register->{sync_k} == 2 }, $limit);
		return copies($primary, 1);
	}
	$cluster->relay->cut($primary->name, $far, 'pg');
	$cluster->relay->reset($primary->name, $far, 'pg');
	return if $change eq 'shrinks';
	wait_for("$far is counted no more", sub { !joined($far, counted($primary)) }, $limit);
	$cluster->relay->heal;
	return;
}

sub die_while
{
	my ($cluster, $primary, $when, $commit) = @_;
	my @living = grep { $_ != $primary && $_->{_pid} } $cluster->nodes;
	my $far = $living[-1]->name;
	my $what = "$when, $commit";
	wait_for("$what: all that live are counted", sub {
		my %set = enforced($primary);
		keys %set == @living && !grep { !$set{ $_->name } } @living }, $limit);
	$primary->safe_psql('postgres', "ALTER ROLE app SET synchronous_commit = '$commit'");
	my $writer = $cluster->writer($primary->name . $commit);
	$writer->wait_for_acknowledged(200);
	begin($cluster, $primary, $far, $when =~ /^(\w+)/);
	wait_for($what, sub { $step{$when}->($primary, $far) }, $limit);
	my $killed = $primary->kill_all;
	$cluster->relay->heal;
	my $new = $cluster->wait_for_primary(not => $primary, seconds => $limit);
	$writer->wait_for_acknowledged(100, after => $killed);
	$writer->stop;
	is($cluster->turns($writer), $primary->name . ' ' . $new->name, "$what: one writer");
	is($writer->verdict($new, $killed, before => 200, after => 100)->{problem}, '',
		"$what: nothing lost");
	note sprintf '%s: commits %.2f s after the death', $what, $writer->first_after($killed);
	return $new;
}

# Five voters outlive two primaries.
my @rounds = (
	[ 'shrinks: the setting', 'remote_write' ],
	[ 'raises k: the setting', 'remote_apply' ],
	[ 'grows: the register', 'remote_write' ],
	[ 'lowers k: the register', 'remote_apply' ],
	[ 'shrinks: the register', 'remote_apply' ],
	[ 'grows: the setting', 'remote_write' ],
	[ 'raises k: the register', 'on' ],
	[ 'lowers k: the setting', 'remote_write' ],
	[ 'shrinks: cut off', 'local' ],
	[ 'grows: streams', 'on' ]);
$#rounds = ($ENV{ORCHESTRA_ROUNDS} // 2) - 1;
while (my @some = splice @rounds, 0, 2)
{
	my $cluster = Orchestra::Cluster->new(nodes => 5, lease_ttl_ms => 1000)->form;
	my ($primary) = $cluster->nodes;
	$primary = die_while($cluster, $primary, @$_) for @some;
	$cluster->end;
}
done_testing();
