# A primary without a lease still sends WAL to everybody. Fenced nodes take none of it, and none
# says where its WAL ends before its receiver can write no more, even when that receiver is frozen.
# negative-control: no_fence
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Wait qw(wait_for now);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
my ($n1, $n2, $n3) = $cluster->nodes;
my $writer = $cluster->writer('w', conninfo => $cluster->client_conninfo($n1));
my $others = $cluster->writer('others', conninfo => $cluster->client_conninfo($n2, $n3));
$writer->wait_for_acknowledged(1000);
my $epoch = $n1->register->{epoch};

my $receiver = $n3->worker('walreceiver');
kill STOP => $receiver;
my $cut = now();
$cluster->relay->cut('n1', $_->name, 'peer') for $n2, $n3;

sub is_fenced { my ($node) = @_; return { $node->status }->{ $node->name }{state} eq 'fenced' }

sub recovery_waits
{
	return is_fenced($n2) && is_fenced($n3)
	  && grep { $_->log_text =~ /orchestra: failover_blocked / } $n2, $n3;
}

wait_for('the recovery waits, or is over', sub {
	recovery_waits() || $n2->register->{epoch} ne $epoch }, 60);
ok(recovery_waits(), 'the recovery waits for a node whose receiver is frozen');
is(join(' ', map { $_->register->{epoch} } $n2, $n3), "$epoch $epoch", 'no other epoch');

# WAL that no gate stops: these are no commits.
my $streaming = q(SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming');
my %before = $n2->status;
my $from = $n1->value('SELECT pg_current_wal_flush_lsn()');
$n1->value(q(SELECT pg_logical_emit_message(false, 'test', repeat('x', 8000))
	FROM generate_series(1, 100)));
wait_for('the old primary has flushed much more', sub {
	$n1->value("SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '$from') > 500000") eq 't' });
is($n2->value($streaming), 0, 'a fenced node has no receiver that streams');
my %after = $n2->status;
ok(is_fenced($n2), 'it is still fenced');
is($after{n2}{flush_lsn}, $before{n2}{flush_lsn}, 'and its WAL does not grow');

kill CONT => $receiver;
my $primary = $cluster->wait_for_primary(not => $n1, seconds => 60);
$others->wait_for_acknowledged(500, after => $cut);
my $healed = now();
$cluster->relay->heal;
$others->wait_for_acknowledged(500, after => $healed);
$_->stop for $writer, $others;
is($cluster->turns($writer, $others), 'n1 ' . $primary->name, 'one writer');
is($writer->verdict($primary, $cut, after => 0)->{problem}, '', 'nothing lost of the old primary');
is($others->verdict($primary, $cut, before => 0)->{problem}, '', 'nor of the new one');
my ($standby) = grep { $_ != $n1 && $_ != $primary } $cluster->nodes;
is($standby->role, 'STANDBY', 'the other one follows');

done_testing();
