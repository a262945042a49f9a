# Durability async: there and back under load, without an outage. Then standbys that lack commits
# when the primary dies: within max_failover_lag_bytes a failover happens by itself, beyond it only
# with a call that accepts the loss. Each time what was lost is estimated at once, and listed
# exactly, from its own WAL, when the old primary is back.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Loss qw(hold_back steps check_list);
use Orchestra::Look qw(standby_coordinator marks events_since running);
use Orchestra::Wait qw(wait_for now);
use Test::More;

my $limit = 60;
my $cluster = Orchestra::Cluster->new(nodes => 3, lease_ttl_ms => 1000,
	settings => { autovacuum => 'off', max_prepared_transactions => 5 })->form;
my ($n1, $n2, $n3) = $cluster->nodes;
standby_coordinator($cluster, $n1);

sub set_to
{
	my ($node, $name, $value) = @_;
	$node->safe_psql('postgres', "SELECT orchestra_set('$name', '$value')");
	return;
}

sub sync_set
{
	my $register = $n1->register;
	return "$register->{durability}: $register->{sync_k} of @{ $register->{sync_nodes} }";
}

# Longest time without an acknowledgement since $from, in seconds.
sub longest_pause
{
	my ($writer, $from) = @_;
	my ($longest, $before) = (0, $from);
	for my $at (grep { $_ >= $from } map { $_->[0] } $writer->acknowledged)
	{
		$longest = $at - $before if $at - $before > $longest;
		$before = $at;
	}
	return $longest;
}

# ---- There, back, and there again.
my $writer = $cluster->writer('w');
wait_for('both standbys are counted', sub { sync_set() eq 'quorum: 1 of n2 n3' }, $limit);
$writer->wait_for_acknowledged(200);
my $begun = now();
for my $case ([ 'async', 'async: 0 of ', '' ],
	[ 'quorum', 'quorum: 1 of n2 n3', 'ANY 1 ("n2", "n3")' ], [ 'async', 'async: 0 of ', '' ])
{
	my ($durability, $set, $names) = @$case;
	set_to($n1, 'durability', $durability);
	wait_for("$durability: the register counts on whom it should", sub { sync_set() eq $set }, $limit);
	wait_for("$durability: PostgreSQL waits for whom it should",
		sub { $n1->value('SHOW synchronous_standby_names') eq $names }, $limit);
	$writer->wait_for_acknowledged(100, after => now());
	pass("durability $durability");
}
is(join(' ', map { $_->[1] } $writer->failed), '', 'no write failed meanwhile');
my $pause = longest_pause($writer, $begun);
cmp_ok($pause, '<', 2, sprintf 'and none waited for long (%.2f s)', $pause);
$writer->stop;

# ---- A loss.

$n1->safe_psql('postgres', 'CREATE TABLE ledger (id bigint PRIMARY KEY, filler text)');

# Commits in every way, all answered; one is undone. Returns the transactions that count.
sub write_ledger
{
	my ($node, $filler) = @_;
	my $insert = 'INSERT INTO ledger VALUES '
	  . "(pg_current_xact_id()::text::bigint, repeat('x', $filler))";
	my ($status, $out, $err) = $node->psql('postgres', <<"END");
SET default_transaction_isolation = 'read committed';
$insert RETURNING id;
$insert RETURNING id;
BEGIN; SAVEPOINT s; $insert RETURNING id; RELEASE s; COMMIT;
BEGIN; $insert; ROLLBACK;
BEGIN; $insert RETURNING id; PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p';
CREATE TABLE kept_no_longer AS SELECT pg_current_xact_id() AS id;
SELECT id FROM kept_no_longer;
$insert RETURNING id;
END
	die $err if $status;
	return split /\n/, $out;
}

# The independent checker: which of these the node does not have.
sub missing_on
{
	my ($node, @ids) = @_;
	my %there = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', 'SELECT id FROM ledger');
	return grep { !$there{$_} } @ids;
}

# The others know how far the primary is, by its own words.
sub wait_until_heard
{
	my ($primary, @others) = @_;
	my $end = $primary->value('SELECT pg_current_wal_flush_lsn()');
	my $name = $primary->name;
	wait_for("$name is heard on " . $_->name, sub { $_->value(
		"SELECT flush_lsn >= '$end' FROM orchestra_status() WHERE name = '$name'") eq 't' }, $limit)
	  for @others;
	return;
}

sub lsn { my ($high, $low) = split m{/}, $_[0]; return (hex($high) << 32) + hex $low }

# What the coordinator said at once: bytes, from, to.
sub check_estimate
{
	my ($what, $node, $recovery, $old) = @_;
	my ($estimate) = wait_for("$what: the estimate is recorded", sub {
		my @told = grep { $_->{coordinator} ne $old->name } steps($node, $recovery, 'loss_measured');
		return @told && \@told }, $limit)->[0];
	my ($bytes, $from, $to) =
	  $estimate->{detail} =~ /^(\d+) bytes, LSN (\S+) to (\S+), as far as (?:\S+) was heard$/;
	note "$what: $estimate->{detail}";
	is($estimate->{node}, $old->name, "$what: it is about the old primary");
	is($bytes, lsn($to) - lsn($from), "$what: from where to where");
	return ($bytes, $from);
}

# All that write_ledger writes.
sub check_ledger_list
{
	my ($what, $primary, $recovery, $old, $from, $ids) = @_;
	return check_list($what, $cluster, $primary, $recovery, $old, ids => $ids,
		ways => 'commit, commit, commit, prepare, commit prepared, commit, commit',
		detail =>
		  qr/^\d+ bytes of WAL here alone, timeline \d+ from \Q$from\E to \S+; commits: 6; PREPARE or /,
		next => qr/^clients may have been told of them/);
}

# ---- Within the bound: by itself.
hold_back($cluster, $n1);
my @written = write_ledger($n1, 100);
wait_until_heard($n1, $n2, $n3);
my $recovery = $n1->register->{epoch};
$n1->kill_all;
my $primary = $cluster->wait_for_primary(not => $n1, seconds => $limit);
my @lost = missing_on($primary, @written[ 0 .. 3, 5 ]);
is("@lost", "@written[0 .. 3, 5]", 'within the bound: the new primary has none of it');
my ($bytes, $from) = check_estimate('within the bound', $primary, $recovery, $n1);
cmp_ok($bytes, '>', 500, 'within the bound: at least what the rows need');
cmp_ok($bytes, '<=', 1 << 20, 'within the bound: and no more than may be lost');
check_ledger_list('within the bound', $primary, $recovery, $n1, $from, \@written);

# A start later it finds the same, and says so; it is recorded once.
$primary->safe_psql('postgres', "ALTER ROLE orchestra SET log_statement = 'all'");
$n1->kill_all;
my $marks = marks($cluster);
$n1->start;
wait_for('it is measured again', sub {
	grep { $_->{event} eq 'loss_measured' } events_since($marks, $n1) }, $limit);
wait_for('and sent again', sub {
	$primary->log_text =~ /orchestra_record_loss.*n1 lost \Q$recovery\E 6\+1/s }, $limit);
my $sent = sub { $primary->value("SELECT count(*) FROM pg_stat_activity WHERE usename = 'orchestra'
	AND query LIKE '%orchestra_record_loss%' AND state = 'active'") };
wait_for('and taken', sub { $sent->() == 0 }, $limit);
is(scalar(grep { $_->{coordinator} eq 'n1' } steps($primary, $recovery, 'loss_measured')), 1,
	'told twice, recorded once');

# ---- Beyond it: only by call.
my ($standby) = grep { $_ != $primary } $n2, $n3;
set_to($primary, 'max_failover_lag_bytes', '16kB');
wait_for('the standby streams', sub { $primary->value(
	q(SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming')) == 1 }, $limit);
hold_back($cluster, $primary);
@written = write_ledger($primary, 20000);
wait_until_heard($primary, $standby, $n1);
$recovery = $primary->register->{epoch};
$marks = marks($cluster);
$primary->kill_all;
my $blocked = wait_for('the failover is blocked', sub {
	(grep { $_->{event} eq 'failover_blocked' && $_->{reason} =~ /most advanced standby/ }
		  map { events_since($marks, $_) } running($cluster))[0] }, $limit);
my $old_name = $primary->name;
like($blocked->{reason}, qr/^the most advanced standby lacks \d+ bytes of what $old_name had,/,
	'beyond the bound: the reason');
like($blocked->{reason}, qr/ more than max_failover_lag_bytes \(16384\)$/,
	'beyond the bound: how much it lacks, and which setting that is');
my ($lacks) = $blocked->{reason} =~ /lacks (\d+)/;
is(join(' ', map { $_->role } $standby, $n1), 'STANDBY FENCED',
	'beyond the bound: nobody is promoted');

# The word confirms the state of its moment.
my $answer = wait_for('an operator takes the loss', sub {
	my $call = "SELECT orchestra_failover('" . $standby->name . "', accept_data_loss => true";
	my ($word) = $standby->safe_psql('postgres', "$call)") =~ /Confirmation: (\w+)/ or return;
	return $standby->safe_psql('postgres', "$call, confirm => '$word')");
}, $limit);
like($answer, qr/^\S+ is the primary of epoch/, 'by call: done');
my $last = $cluster->wait_for_primary(not => $primary, seconds => $limit);
is($last->name, $standby->name, 'the standby is the primary');
@lost = missing_on($last, @written[ 0 .. 3, 5 ]);
is("@lost", "@written[0 .. 3, 5]", 'by call: what it lacked is lost');
($bytes, $from) = check_estimate('by call', $last, $recovery, $primary);
is($bytes, $lacks, 'by call: as many bytes as were said before');
wait_for('by call: what was accepted is recorded',
	sub { scalar steps($last, $recovery, 'loss_accepted') }, $limit);
is($last->value("SELECT outcome IN ('activated', 'recovered') FROM orchestra_recoveries()
	WHERE recovery = '$recovery'"), 't', 'by call: and what came of it');
check_ledger_list('by call', $last, $recovery, $primary, $from, \@written);
is(join(' ', $cluster->passwords_in_logs), '', 'no password in any log');

$cluster->end;

done_testing();
