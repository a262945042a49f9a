# Backends are stopped at named points of the commit path while clients write, and something fails:
# nothing that a client was told is lost, and no node that was fenced tells anything.
#
#   ROUNDS=20     rounds on one cluster, of which the old primary is made anew in between
#   SEED=1        what happens in which round; printed, and repeated by the same number
#   CHAOS="sync_wait/freeze/plain/on ..."    these rounds instead
#
# Needs the test build (src/pg/faults.h): `make check-chaos`.
# negative-control: no_gate
use strict;
use warnings;
use List::Util qw(min shuffle sum);
use Orchestra::Cluster;
use Orchestra::Wait qw(wait_for now);
use Orchestra::Writer;
use PostgreSQL::Test::Utils;
use Test::More;

my @points = qw(before_gate before_flush sync_wait after_wait);
my @faults = qw(kill freeze kill_backend freeze_backend);
my @modes = qw(plain two_phase procedure);
my @commits = qw(on remote_write remote_apply);
my $enough = 25;    # acknowledged before the fault, and after it
my $patience = 60;

my ($rounds, $seed) = ($ENV{ROUNDS} || 20, $ENV{SEED} || 1);

# So many of them in random order, each as often as the others.
sub dealt
{
	my ($count, @values) = @_;
	my @dealt;
	push @dealt, shuffle @values while @dealt < $count;
	return @dealt[ 0 .. $count - 1 ];
}

# Rounds as [point, fault, mode, commit]. With a rule switched off, one that must go wrong.
sub plan_of_rounds
{
	return map { [ split m{/} ] } split ' ', $ENV{CHAOS} if $ENV{CHAOS};
	return [qw(sync_wait freeze_backend plain on)] if $ENV{ORCHESTRA_FAULT};
	note "SEED=$seed ROUNDS=$rounds";
	srand $seed;
	my @columns = map { [ dealt($rounds, @$_) ] } \@points, \@faults, \@modes, \@commits;
	return map { my $row = $_; [ map { $_->[$row] } @columns ] } 0 .. $rounds - 1;
}
my @plan = plan_of_rounds();

my $cluster = Orchestra::Cluster->new(nodes => 3, lease_ttl_ms => 500,
	settings => { max_prepared_transactions => 20 });
my %points_of = map { $_->name => PostgreSQL::Test::Utils::tempdir() } $cluster->nodes;
$_->{environment} = { ORCHESTRA_POINTS => $points_of{ $_->name } } for $cluster->nodes;
$cluster->form;
my @nodes = $cluster->nodes;
my $names = join ',', map { $_->name } @nodes;
$nodes[0]->safe_psql('postgres', Orchestra::Writer::procedure_sql('writes'));
# Nobody's machine loses its power here, and a clone's start would sync each of its files.
for my $node (@nodes)
{
	$node->append_conf('postgresql.conf', 'fsync = off');
	$node->reload;
}

# ---- between rounds

# The primary, once the other two follow it, vote, and are counted on. Who was a primary before has
# to be made anew, for its WAL may be another branch; its former vote is given up for that.
sub well
{
	my $primary = $cluster->wait_for_primary(seconds => $patience);
	my $name = $primary->name;
	my @anew = grep { $_ != $primary
		  && !($_->{_pid} && $_->value('SELECT pg_is_in_recovery()') eq 't') } @nodes;
	if (@anew)
	{
		changed($primary, "orchestra_set_voters('{$name}', wait => '10 s')");
		for my $node (@anew)
		{
			my $lost = $node->name;
			changed($primary, "orchestra_set_node('$lost', sync_candidate => false)");
			changed($primary, "orchestra_remove_node('$lost', wait => '10 s')");
			$node->kill_all;
			$cluster->make_anew($node, $primary);
			wait_for("$lost joins", sub { ($node->register // {})->{version} }, $patience);
		}
		changed($primary, "orchestra_set_voters('{$names}', wait => '10 s')");
	}
	my $register;
	eval { wait_for('commits wait for one of two standbys', sub {
		$register = $primary->register;
		$register->{primary_node} eq $name && $register->{active}
		  && $register->{reachable_voters} == @nodes && $register->{sync_k} == 1
		  && @{ $register->{sync_nodes} } == 2 }, $patience) }
	  or BAIL_OUT(explain($register) . $@);
	return $primary;
}

# The register is changed by this call, sooner or later.
sub changed
{
	my ($primary, $call) = @_;
	return wait_for($call, sub { $primary->value("SELECT $call") }, $patience);
}

# ---- to the point; undef when the node lost the role by itself on the way

sub lost { my ($node) = @_; return $node->role =~ /FENCED|STANDBY/ }

# Pid of the writers' backend that is stopped there.
sub stopped_at
{
	my ($node, $point) = @_;
	my ($wanted, $stopped) = map { $points_of{ $node->name } . "/$_" } $point, "$point.stopped";
	append_to_file($wanted, '');
	my $pid = wait_for("a backend at $point", sub {
		return 'lost' if lost($node);
		return unless -s $stopped;
		my ($pid) = slurp_file($stopped) =~ /^(\d+)$/;
		unlink $stopped;
		return $pid if $node->value(
			"SELECT count(*) FROM pg_stat_activity WHERE pid = $pid AND usename = 'app'");
		kill CONT => $pid;    # somebody else's
		append_to_file($wanted, '');
		return }, $patience);
	unlink $wanted;
	return $pid eq 'lost' ? undef : $pid;
}

# The same of one that waits for a standby. Standbys receive nothing from then on.
sub stopped_in_wait
{
	my ($node, @receivers) = @_;
	kill STOP => @receivers;
	my $pid = wait_for('a commit waits for a standby', sub {
		return 'lost' if lost($node);
		$node->value(q(SELECT min(pid) FROM pg_stat_activity
			WHERE usename = 'app' AND wait_event = 'SyncRep')) }, $patience);
	return if $pid eq 'lost';
	kill STOP => $pid;
	return $pid;
}

# ---- the faults: what happens, and what ends it once there is a new primary

my %fault = (
	kill => sub { my ($old) = @_; $old->kill_all; return sub { } },
	freeze => sub { my ($old) = @_; $old->freeze; return sub { $old->thaw } },
	kill_backend => sub { my ($old, $pid) = @_; kill KILL => $pid; return sub { } },
	freeze_backend => sub {
		my ($old, $pid, @others) = @_;
		$cluster->relay->isolate($old->name, map { $_->name } @others);
		return sub { $cluster->relay->heal; kill CONT => $pid } });

# Every one of the writers was told something since. Who waits for a standby is no longer let wait,
# which PostgreSQL itself would answer with success.
sub answered
{
	my ($old, $since, @writers) = @_;
	wait_for('every writer has an answer', sub {
		eval { $old->value(q(SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
			WHERE usename = 'app' AND wait_event = 'SyncRep')) } if $old->{_pid};
		!grep { my $writer = $_;
			!grep { $_->[0] > $since } $writer->failed, $writer->acknowledged } @writers
	}, $patience);
	return;
}

# ---- one round

my %reached;
my $told = 0;
my $attempts = 0;

# False when nothing came of it: the primary lost its role before anything was done to it.
sub attempt
{
	my ($what, $point, $fault, $mode, $commit) = @_;
	my $old = well();
	my @others = grep { $_ != $old } @nodes;
	my $id = ++$attempts * 1_000_000;
	my $new_writer = sub {
		my ($patience_ms, @hosts) = @_;
		return $cluster->writer('w' . ++$id, mode => $mode, first_id => $id, step => 16,
			patience_ms => $patience_ms,
			conninfo => $cluster->client_conninfo(@hosts)
			  . " options='-c synchronous_commit=$commit'") };
	my @writers = map { $new_writer->(1000 * $patience) } 1 .. 2;
	$_->wait_for_acknowledged($enough) for @writers;

	my @receivers = map { $_->worker('walreceiver') } @others;
	my $pid = $point eq 'sync_wait' ? stopped_in_wait($old, @receivers) : stopped_at($old, $point);
	my $when = now();
	my $end = $pid ? $fault{$fault}->($old, $pid, @others) : sub { };
	kill CONT => @receivers;

	my $fenced = $pid && $fault ne 'kill_backend';
	push @writers, my $elsewhere = $new_writer->(1000, $fenced ? @others : @nodes);
	my $primary = $cluster->wait_for_primary(seconds => $patience, $fenced ? (not => $old) : ());
	my $since = now();
	$elsewhere->wait_for_acknowledged($enough, after => $when);
	note sprintf '%s: %s writes %.2f s after', $what, $primary->name, $elsewhere->first_after($when);
	my $ended = now();
	$end->();
	answered($old, $ended, @writers);
	$_->stop for @writers;
	my $now_primary = $cluster->wait_for_primary(seconds => $patience);
	judge($what, $fault, $old, $now_primary, $when, $since, @writers);
	return $pid;
}

# Together they were told of enough, which is all there, and of nothing by a fenced node: one whose
# successor the test had seen, or a writer was told by. Where the whole node was frozen, one answer
# may come late: the backend that was stopped at the point gives none, but the other one may have
# been between its last check and its answer. What it tells is there (nothing lost).
sub judge
{
	my ($what, $fault, $old, $primary, $when, $since, @writers) = @_;
	my @verdicts = map { $_->verdict($primary, $when, before => 0, after => 0) } @writers;
	is(join(' ', grep { $_ } map { $_->{problem} } @verdicts), '', "$what: nothing lost");

	my $fenced = $primary == $old ? now()
	  : min($since, map { my $writer = $_; map { $_->[0] } $writer->told_by($primary->port, 0) }
		@writers);
	my @told = map { $_->told_by($old->port, $fenced) } @writers;
	my %answers = map { $_->[0] => 1 } @told;
	if ($fault eq 'freeze' && keys %answers == 1)
	{
		note 'told late: ', join ' ', map { $_->[1] } @told;
		@told = ();
	}
	is(scalar @told, 0, "$what: nothing told by a fenced node")
	  or diag "after $fenced: ", join ' ', map { "$_->[1] at $_->[0]" } @told;

	my ($before, $after) = map { my $key = $_; sum(map { $_->{$key} } @verdicts) } qw(before after);
	cmp_ok(min($before, $after), '>=', $enough, "$what: $before told before, $after after");
	$told += $before + $after;
	return;
}

for my $number (1 .. @plan)
{
	my @round = @{ $plan[ $number - 1 ] };
	my $what = "round $number: " . join ', ', @round;
	my $tries = 0;
	until (attempt($what, @round))
	{
		note "$what: the primary lost its role before that";
		BAIL_OUT('no primary lasts') if ++$tries == 3;
	}
	$reached{$_}++ for @round;
}

# The checker sees what is missing: a commit, and something prepared that is neither open nor there.
{
	my $primary = $cluster->wait_for_primary(seconds => $patience);
	my $told_of = sub {
		my ($name, @lines) = @_;
		return bless { name => $name, mode => 'two_phase', table => 'writes', first_id => 1,
			step => 1, file => $cluster->private_file($name, join '', map { "$_\n" } @lines) },
		  'Orchestra::Writer' };
	my @enough = (before => 0, after => 0);
	$primary->safe_psql('postgres',
		q(BEGIN; INSERT INTO writes VALUES (1); PREPARE TRANSACTION 'writes:1'));
	my $open = $told_of->('open', 'P 1 1 5432 1');
	is($open->verdict($primary, 0, @enough)->{problem}, '', 'checker: what is prepared is not lost');
	is($primary->value('SELECT count(*) FROM writes WHERE id = 1'), 1, 'checker: it is committed');
	my $missing = $told_of->('missing', 'P 1 1 5432 1', 'P 1 2 5432 1', 'A 1 3 5432 1');
	is($missing->verdict($primary, 0, @enough)->{problem}, 'lost: 3 2', 'checker: what is missing');
}

note "$told acknowledged in all";
if ($rounds >= @points && !$ENV{CHAOS} && !$ENV{ORCHESTRA_FAULT})
{
	is(join(' ', grep { !$reached{$_} } @points, @faults, @modes, @commits), '',
		'every point, every fault, every mode');
}
unlike($_->log_text, qr/PANIC/, $_->name . ': no PANIC') for @nodes;
is(join(' ', $cluster->passwords_in_logs), '', 'no password in any log');
$cluster->end;
diag "again: make check-chaos SEED=$seed ROUNDS=$rounds"
  unless Test::More->builder->is_passing || $ENV{CHAOS} || $ENV{ORCHESTRA_FAULT};
done_testing();
