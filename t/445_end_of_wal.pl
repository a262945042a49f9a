# Where its WAL ends, as a fenced node reports it, is where pg_waldump ends: with a backlog that
# replay has not got to, after kill -9, with what a power loss leaves of WAL that was never
# synced, in a recycled segment full of old records, and across a timeline switch. The archive
# holds more WAL; nothing of it is replayed by a fenced node.
use strict;
use warnings;
use File::Copy qw(copy);
use Orchestra::Cluster;
use Orchestra::Look qw(marks counts_of);
use Orchestra::Wait qw(wait_for now);
use PostgreSQL::Test::Utils;
use Test::More;

use constant { PAGE => 8192, SEGMENT => 16 * 1024 * 1024 };

my $archive = PostgreSQL::Test::Utils::tempdir();
my $cluster = Orchestra::Cluster->new(nodes => 3, lease_ttl_ms => 1000, settings => {
	archive_mode => 'on', archive_command => "cp %p $archive/%f", autovacuum => 'off',
	checkpoint_timeout => '1h', shared_buffers => '128MB', bgwriter_lru_maxpages => 0 });
my ($n1, $n2, $n3) = $cluster->nodes;
sub command_of { my ($node) = @_;
	return "echo %f >> $archive/asked_" . $node->name . "; cp $archive/%f %p" }
$cluster->init_primary;
for my $node ($n2, $n3)
{
	$cluster->clone($node);
	$node->write_settings(restore_command => command_of($node));
	$node->set_standby_mode;
	$node->start;
}
$cluster->create;

sub bytes
{
	my ($high, $low) = split m{/}, shift;
	return (hex($high) << 32) + hex $low;
}
sub lsn { my ($at) = @_; return sprintf '%X/%X', $at >> 32, $at & 0xFFFFFFFF }

sub segment
{
	my ($timeline, $at) = @_;
	my $number = int($at / SEGMENT);
	return sprintf '%08X%08X%08X', $timeline, $number >> 8, $number & 0xFF;
}

# First byte behind a record of $length that starts at $at, the headers of pages counted.
sub behind
{
	my ($at, $length) = @_;
	for (;;)
	{
		my $room = PAGE - $at % PAGE;
		return (int(($at + $length + 7) / 8)) * 8 if $length <= $room;
		$length -= $room;
		$at += $room;
		$at += $at % SEGMENT == 0 ? 40 : 24;
	}
}

# Where pg_waldump ends that begins some records before $near.
sub end_by_waldump
{
	my ($node, $timeline, $near) = @_;
	my $wal = $node->data_dir . '/pg_wal';
	my $begin = $near - $near % SEGMENT;
	my $from = $near - $begin > 64 * 1024 ? $near - 64 * 1024 : $begin;
	my ($out, $err);
	IPC::Run::run([ 'pg_waldump', '-p', $wal, '-t', $timeline, '-s', lsn($from) ],
		'>', \$out, '2>', \$err);
	my ($last) = $out =~ /^(rmgr: .*)\n\z/m or die "pg_waldump: $err";
	my ($length, $start) = $last =~ m{len \(rec/tot\): +\d+/ *(\d+),.* lsn: ([0-9A-F/]+), prev}
	  or die "pg_waldump: $last";
	my $end = behind(bytes($start), $length);
	$end = (int($end / SEGMENT) + 1) * SEGMENT if $last =~ /desc: SWITCH/;
	return lsn($end);
}

# What a node's log tells of the end that it read, behind $mark: [ timeline, end, kB ].
sub end_read
{
	my ($what, $node, $mark) = @_;
	return wait_for("$what: the end of WAL is read", sub {
		my ($timeline, $end, $kb) = slurp_file($node->logfile, $mark)
		  =~ /orchestra: read timeline (\d+), end of WAL ([0-9A-F\/]+): (\d+) kB in \d+ ms/;
		$end && [ $timeline, $end, $kb ] }, 60);
}

sub is_exact
{
	my ($what, $node, $mark) = @_;
	my ($timeline, $end, $kb) = @{ end_read($what, $node, $mark) };
	is($end, end_by_waldump($node, $timeline, bytes($end)), "$what: the end that pg_waldump finds");
	note "$what: $kb kB on timeline $timeline";
	return ($end, $timeline, $kb);
}

sub asked { my ($node) = @_; my $file = "$archive/asked_" . $node->name;
	return -e $file ? slurp_file($file) : '' }

# ---- n2 has much that it has not replayed; n3 will say nothing, for its receiver is frozen; and
# the archive gets WAL that neither has.
my $writer = $cluster->writer('w');
$writer->wait_for_acknowledged(200);
$n2->write_settings(recovery_min_apply_delay => '10min');
$n2->reload;
wait_for('n2 replays no more', sub { $n2->value('SHOW recovery_min_apply_delay') eq '10min' });
$n1->safe_psql('postgres', 'CREATE TABLE large AS SELECT n, repeat(md5(n::text), 20) AS t
	FROM generate_series(1, 70000) AS n');
my $acknowledged = $writer->acknowledged;
$writer->wait_for_acknowledged($acknowledged + 200);
my $frozen = $n3->worker('walreceiver');
kill STOP => $frozen;
$cluster->relay->cut('n1', 'n2', 'pg');
my $archived = $n1->value(q(SELECT pg_walfile_name(max(m)) FROM (SELECT pg_logical_emit_message(
	false, 'test', repeat('x', 2000)) AS m FROM generate_series(1, 12000)) AS s));
$n1->value('SELECT pg_switch_wal()');
wait_for('the archive has it', sub { -e "$archive/$archived" });
$writer->stop;
my $before = asked($n2);
my $marks = marks($cluster);
my $killed = $n1->kill_all;
my ($end, undef, $kb) = is_exact('backlog', $n2, $marks->{n2});
cmp_ok($kb, '>', 40 * 1024, 'backlog: it was long');
cmp_ok(bytes($end), '<', hex(substr $archived, 16) * SEGMENT, 'the archive has more');
is(counts_of($cluster, $marks, 'coordinator_lost'), '', 'the long tail held no heartbeat up');

# ---- Its server dies and starts again, with this and that in its pg_wal.
my $at = bytes($end);
my $wal = $n2->data_dir . '/pg_wal';
my $last = segment(1, $at);

sub overwrite
{
	my ($from, $where, $bytes) = @_;    # of another segment, to the same place in the last one
	open my $old, '<:raw', $from or die "$from: $!";
	open my $new, '+<:raw', "$wal/$last" or die "$last: $!";
	seek $_, $where % SEGMENT, 0 for $old, $new;
	my $text;
	read $old, $text, $bytes;
	print $new $text or die $!;
	close $new or die $!;
	return;
}

sub starts_again
{
	my ($what, $end, $change) = @_;
	$end->();
	$change->() if $change;
	my $mark = -s $n2->logfile;
	$n2->start;
	my ($found, undef, $much) = is_exact($what, $n2, $mark);
	cmp_ok($much, '>', 40 * 1024, "$what: all of the backlog is read");
	return bytes($found);
}
my $kill = sub { $n2->kill_all };

my $page = $at - $at % PAGE;
my $old = "$wal/" . segment(1, $at - SEGMENT);
my $more = $n1->data_dir . "/pg_wal/$last";
is(starts_again('kill -9', $kill), $at, 'kill -9: the same');

# WAL that came in last and was never synced, so never acknowledged: a page of it is lost, and a
# later one is not; then all up to the middle of a record is there.
is(starts_again('restart', sub { $n2->stop('fast') }, sub {
	overwrite($old, $at, SEGMENT - $at % SEGMENT);
	overwrite($more, $page + 2 * PAGE, 2 * PAGE);
	copy($old, "$wal/" . segment(1, $at + SEGMENT)) or die $!;
}), $at, 'restart: old records, and those behind a lost page, are not taken for new ones');
my $torn = starts_again('torn', $kill, sub { overwrite($more, $at, 5 * PAGE + 100) });
cmp_ok($torn, '>', $at, 'torn: what is whole of it counts');
cmp_ok($torn, '<=', $at + 5 * PAGE + 100, 'torn: and no more');

# ---- Replay goes on to that end, and not by one record further.
$n2->write_settings(recovery_min_apply_delay => '0');
$n2->reload;
wait_for('replay got to the end',
	sub { $n2->value('SELECT pg_last_wal_replay_lsn()') eq lsn($torn) });
wait_for('it waits for a receiver', sub { $n2->worker('walreceiver') });
is($n2->value('SELECT pg_last_wal_replay_lsn()'), lsn($torn), 'replay stays there');
is(asked($n2), $before, 'the archive was never asked for anything');
is($n2->value('SHOW restore_command'), command_of($n2), 'the setting is what it was');

# ---- n3 wakes up: n2 has more, and is the primary. The archive serves n3 again.
kill CONT => $frozen;
is($cluster->wait_for_primary(not => $n1, seconds => 60)->name, 'n2', 'n2 is the primary');
is($writer->verdict($n2, $killed, before => 400, after => 0)->{problem}, '', 'nothing is lost');
wait_for('n3 follows', sub { $n2->value(q(SELECT count(*) FROM pg_stat_replication
	WHERE application_name = 'n3' AND state = 'streaming')) == 1 });
$before = asked($n3);
wait_for('n3 asks the archive again', sub {
	my $receiver = $n3->worker('walreceiver');
	kill TERM => $receiver if $receiver;
	asked($n3) ne $before });

# ---- n3 starts with WAL of timeline 2 that it has to read from timeline 1 on. n1 votes.
$n1->start;
$cluster->relay->heal;
$n3->write_settings(recovery_min_apply_delay => '10min');
$n3->reload;
$writer = $cluster->writer('second', conninfo => $cluster->client_conninfo($n2));
$writer->wait_for_acknowledged(200);
wait_for('n1 votes', sub { my %status = $n3->status; ($status{n1}{seen_ago_ms} // 9999) < 1000 });
$writer->stop;
$n3->kill_all;
$killed = $n2->kill_all;
my $mark = -s $n3->logfile;
$n3->start;
my $timeline;
($end, $timeline, $kb) = is_exact('timeline switch', $n3, $mark);
is($timeline, 2, 'timeline switch: the newest one');
my $history = slurp_file($n3->data_dir . '/pg_wal/00000002.history');
my ($left) = $history =~ m{^1\t([0-9A-F/]+)\t}m;
cmp_ok(bytes($end) - 1024 * $kb, '<', bytes($left), 'timeline switch: it was read across');
wait_for('n3 is promoted', sub { $n3->value('SELECT pg_is_in_recovery()') eq 'f' }, 60);
is($n3->register->{primary_node}, 'n3', 'timeline switch: n3 is the primary');
is($writer->verdict($n3, $killed, before => 200, after => 0)->{problem}, '',
	'timeline switch: nothing is lost');
my ($switch) = slurp_file($n3->data_dir . '/pg_wal/00000003.history') =~ m{^2\t([0-9A-F/]+)\t}m;
is($switch, $end, 'and the new timeline begins at that end');
$cluster->end;
done_testing();
