# A commit that was never acknowledged dies with its primary, which lists it when it is back. And,
# in durability async, a primary that may have commits of which nobody ever heard: it is awaited.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(marks events_since running);
use Orchestra::Loss qw(hold_back check_list);
use Orchestra::Session;
use Orchestra::Wait qw(wait_for);
use Test::More;

my $limit = 60;

# ---- In durability quorum: a commit that waits for a standby when its primary dies.
my $cluster = Orchestra::Cluster->new(nodes => 3, lease_ttl_ms => 600,
	settings => { autovacuum => 'off' })->form;
my ($n1, $n2, $n3) = $cluster->nodes;
wait_for('both standbys are counted', sub {
	my $register = $n1->register;
	"@{ $register->{sync_nodes} } $register->{sync_k}" eq 'n2 n3 1' }, $limit);
$n1->safe_psql('postgres', 'CREATE TABLE ledger (id bigint PRIMARY KEY, filler text)');
my $session = Orchestra::Session->new($n1);
hold_back($cluster, $n1);
$session->say("INSERT INTO ledger VALUES (pg_current_xact_id()::text::bigint)");
my $waiting = wait_for('the commit waits', sub { $n1->value(
	q(SELECT backend_xid FROM pg_stat_activity WHERE wait_event = 'SyncRep')) }, $limit);
my $recovery = $n1->register->{epoch};
$n1->kill_all;
is($session->done, 0, 'quorum: nobody was told of it');
my $primary = $cluster->wait_for_primary(not => $n1, seconds => $limit);
is($primary->value('SELECT count(*) FROM ledger'), 0, 'quorum: and the cluster went on without it');
check_list('quorum', $cluster, $primary, $recovery, $n1, ids => [$waiting], ways => 'commit',
	detail => qr/^\d+ bytes of WAL here alone, .*; commits: 1; $waiting \(commit /,
	next => qr/^nothing: in durability quorum no client was told of them/);

# ---- In async again, where nobody is left who heard how far the primary got: it is awaited.
my ($standby) = grep { $_ != $primary } $n2, $n3;
$primary->safe_psql('postgres', "SELECT orchestra_set('durability', 'async')");
wait_for('async is known', sub {
	2 == grep { $_->register->{durability} eq 'async' } $standby, $n1 }, $limit);
hold_back($cluster, $primary);
$primary->safe_psql('postgres', "INSERT INTO ledger VALUES (-1)");
my $marks = marks($cluster);
$_->kill_all for $primary, $standby, $n1;
$_->start for $standby, $n1;
my $blocked = wait_for('the failover is blocked', sub {
	(grep { $_->{event} eq 'failover_blocked' && $_->{reason} =~ /is not known/ }
		  map { events_since($marks, $_) } running($cluster))[0] }, $limit);
is($blocked->{reason}, 'how far ' . $primary->name . ' got is not known: it was not heard in time',
	'unknown: why nobody is promoted');
$primary->start;
is($cluster->wait_for_primary(seconds => $limit)->name, $primary->name,
	'unknown: it goes on itself');
is($primary->value('SELECT count(*) FROM ledger WHERE id = -1'), 1, 'unknown: and nothing is lost');
$cluster->end;
done_testing();
