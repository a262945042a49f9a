# The primary is cut off while it goes on running, in one way or another: the rest of the cluster
# goes on without it, there is one writer at every moment, and nothing is lost, then and after all
# was healed.
package Orchestra::Partition;
use strict;
use warnings;
use Exporter 'import';
use Orchestra::Wait qw(wait_for now);
use Test::More;

our @EXPORT_OK = qw(cut_off_primary);

# One writer writes to the primary alone, one to the others alone.
#   cut, heal   what happens to the primary, and what ends it
#   silent      its standbys hear no WAL, or it hears not that they do: a commit is left waiting
sub cut_off_primary
{
	my ($what, $cluster, %chosen) = @_;
	my ($n1, @others) = $cluster->nodes;
	my $old = $cluster->writer('old', patience_ms => 20000,
		conninfo => $cluster->client_conninfo($n1));
	my $new = $cluster->writer('new', conninfo => $cluster->client_conninfo(@others));
	$old->wait_for_acknowledged(1000);
	my ($epoch, $ttl_ms) = @{ $n1->register }{qw(epoch lease_ttl_ms)};

	my $cut = now();
	$chosen{cut}->();
	my $lease_end = now() + $ttl_ms / 1000;    # or before: it was renewed before the cut
	give_up_waiting($what, $n1) if $chosen{silent};
	my $primary = $cluster->wait_for_primary(not => $n1, seconds => 60);
	isnt($n1->role, 'MASTER', "$what: the old primary is none any more");
	is(scalar $old->acknowledged_after($lease_end), 0, "$what: nothing commits without a lease");
	$new->wait_for_acknowledged(500, after => $cut);
	note sprintf '%s: last commit of the old primary %.2f s after the cut, first of %s after %.2f s',
	  $what, ($old->acknowledged)[-1][0] - $cut, $primary->name, $new->first_after($cut);

	my $healed = now();
	$chosen{heal}->();
	wait_for('the old primary knows the new epoch', sub {
		my ($here, $there) = map { $_->register->{epoch} } $n1, $primary;
		$here eq $there && $here ne $epoch }, 60);
	$new->wait_for_acknowledged(500, after => $healed);
	my ($answer) = wait_for('the old primary answers after all was healed',
		sub { (grep { $_->[0] > $healed } $old->failed, $old->acknowledged)[0] }, 60);
	like($answer->[1], qr/ 25006 |this node is fenced/, "$what: and refuses to commit");
	is(join(' ', map { $_->name } grep { $_->role eq 'MASTER' } $cluster->nodes), $primary->name,
		"$what: one primary");
	$_->stop for $old, $new;
	is($cluster->turns($old, $new), $n1->name . ' ' . $primary->name,
		"$what: the last commit of the old primary precedes the first of the new one");
	is($old->verdict($primary, $cut, after => 0)->{problem}, '', "$what: nothing lost of the old");
	is($new->verdict($primary, $cut, before => 0)->{problem}, '', "$what: nor of the new");
	return $primary;
}

# Commits that wait for a standby at the old primary, while its lease still lasts, are cancelled,
# which PostgreSQL itself would answer with success. If one is, `turns` and `verdict` find it.
sub give_up_waiting
{
	my ($what, $old) = @_;
	my $cancel = q(SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
		WHERE wait_event = 'SyncRep');
	ok(wait_for('a commit waits', sub { $old->value($cancel) > 0 }),
		"$what: a commit was in flight, and is given up");
	return;
}

1;
