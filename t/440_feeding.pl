# A failover by call to a node that is behind. It is fed by whoever holds all of the WAL, up to that
# end and not a byte further, and becomes the primary: nothing is lost. Once the source is a
# standby, the primary dead; once it is the former primary, which goes on writing WAL.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(marks events_since running);
use Orchestra::Session;
use Orchestra::Wait qw(wait_for now);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3, mode => 'manual', lease_ttl_ms => 1000,
	slots => 1)->form;
my ($n1, $n2, $n3) = $cluster->nodes;

sub events { my ($marks) = @_; return map { events_since($marks, $_) } running($cluster) }

# What the coordinator told of the feeding of $node, each time: [ source, up to, what was read ].
sub feedings
{
	my ($marks, $node) = @_;
	my @feedings;
	for my $log (running($cluster))
	{
		for my $event (events_since($marks, $log))
		{
			next if $event->{node} ne $node->name;
			my ($upto, $source) = $event->{reason} =~ /^it lacks WAL from \S+ to (\S+), (\S+) has it$/;
			push @feedings, [ $source, $upto ] if $event->{event} eq 'feeding' && $upto;
			my ($end) = $event->{reason} =~ /end of WAL (\S+)$/;
			push @{ $feedings[-1] }, $end if $event->{event} eq 'node_fenced' && @feedings && $end;
		}
	}
	return @feedings;
}

sub fails_over_to
{
	my ($node, $asked) = @_;
	my ($status, $text, $err) = $asked->psql('postgres',
		"SELECT orchestra_failover('" . $node->name . "', wait => '60 s')", timeout => 90);
	is($err, '', 'no error');
	like($text, qr/^${\ $node->name} is the primary of epoch /, $node->name . ' is the primary');
	wait_for($node->name . ' says MASTER', sub { $node->role eq 'MASTER' });
	return;
}

# The pieces of a walsender's message that may be handed over.
$n1->safe_psql('postgres', q(CREATE FUNCTION length_up_to(pg_lsn, bytea) RETURNS int
	AS 'orchestra_test', 'orchestra_test_length_up_to' LANGUAGE C STRICT));
my $wal = sub { 'w' . pack('Q>Q>Q>', shift, 0xFFFF, 0) . 'x' x shift };
for my $row ([ 'all of it', 1000, $wal->(900, 50), 75 ],
	[ 'to its end', 1000, $wal->(900, 100), 125 ],
	[ 'a part', 1000, $wal->(900, 101), 125 ], [ 'one byte', 901, $wal->(900, 100), 26 ],
	[ 'nothing at the end', 1000, $wal->(1000, 8), 0 ], [ 'nor beyond', 1000, $wal->(5000, 8), 0 ],
	[ 'large numbers', 2**40, $wal->(2**40 - 3, 8), 28 ], [ 'no bytes', 5, $wal->(900, 0), 25 ],
	[ 'a keepalive', 1, 'k' . "\xFF" x 17, 18 ])
{
	my ($what, $upto, $message, $length) = @$row;
	is($n1->value(sprintf q(SELECT length_up_to('%X/%X', '\x%s')), $upto >> 32, $upto & 0xFFFFFFFF,
		unpack 'H*', $message), $length, "cut: $what");
}

# ---- n3 gets no WAL for a while, then the primary dies. n2 comes first in every other respect.
my $writer = $cluster->writer('w');
$writer->wait_for_acknowledged(500);
$cluster->relay->cut('n1', 'n3', 'pg');
my $cut = now();
$n1->safe_psql('postgres', 'CREATE TABLE large AS SELECT n, repeat(md5(n::text), 20) AS t
	FROM generate_series(1, 60000) AS n');
$writer->wait_for_acknowledged(500, after => $cut);
my $marks = marks($cluster);
my $killed = $n1->kill_all;
cmp_ok($n2->value(sprintf q(SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '%s')),
	$n3->value('SELECT pg_last_wal_receive_lsn()')), '>', 32 * 1024 * 1024,
	'n3 lacks more than 32 MB');
fails_over_to($n3, $n2);
note sprintf 'after %.2f s', now() - $killed;
my @feedings = feedings($marks, $n3);
note join ', ', map { "$_->[0]: $_->[1]" } @feedings;
is_deeply([ map { $_->[0] } @feedings ], ['n2'], 'n2 had fed it, once');
is($feedings[0][2], $feedings[0][1], 'and it held just what n2 had reported');
unlike($n3->value('SHOW primary_conninfo'), qr/port=$n2->{pg_front}\b/,
	'who feeds is not written down as the upstream');
$writer->wait_for_acknowledged(500, after => $killed);
is($writer->verdict($n3, $killed)->{problem}, '', 'nothing is lost');
is($n3->value('SELECT count(*) FROM large'), 60000, 'nor of the large table');

# ---- n2 gets no WAL, while n3 lives, and goes on writing WAL that nobody has asked it for. Later
# no standby is left for n2.
$writer->stop;
$n3->value(q(SELECT orchestra_set('on_no_sync', 'degrade')));
my $sender = wait_for('n2 has it all', sub {
	$n3->value(q(SELECT pid FROM pg_stat_replication WHERE application_name = 'n2'
		AND flush_lsn = pg_current_wal_flush_lsn())) });
$marks = marks($cluster);
kill STOP => $sender;
my $noise = Orchestra::Session->new($n3);
$noise->say(q(SELECT count(pg_logical_emit_message(false, 'test', repeat('x', 4000))::text
	|| pg_sleep(0.001)::text) FROM generate_series(1, 1500)));
my $lagging = $n3->value('SELECT pg_current_wal_flush_lsn()');
wait_for('n2 lags', sub { $n3->value(
	"SELECT pg_current_wal_flush_lsn() > '$lagging'::pg_lsn + 600000") eq 't' });
my $called = now();
fails_over_to($n2, $n3);
note sprintf 'after %.2f s', now() - $called;
kill CONT => $sender;
@feedings = feedings($marks, $n2);
note join ', ', map { "$_->[0]: $_->[1]" } @feedings;
is_deeply([ map { $_->[0] } @feedings ], [ ('n3') x @feedings ], 'the former primary had fed it');
cmp_ok(scalar(@feedings), '>', 0, 'and that was told');
is_deeply([ map { $_->[2] } @feedings ], [ map { $_->[1] } @feedings ],
	'and it held just what n3 had reported, although n3 wrote on');
my $end = $n3->value('SELECT pg_current_wal_flush_lsn()');
is($n3->value("SELECT '$end'::pg_lsn > '$feedings[-1][1]'::pg_lsn"), 't', 'n3 did so');
is($writer->verdict($n2, $killed)->{problem}, '', 'nothing is lost');
isnt($n3->role, 'MASTER', 'n3 is the primary no more');
$cluster->end;
done_testing();
