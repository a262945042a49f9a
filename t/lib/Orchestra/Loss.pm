# A primary that has commits which no other node has, and how it tells of them when it is back.
package Orchestra::Loss;
use strict;
use warnings;
use Exporter 'import';
use Orchestra::Wait qw(wait_for);
use Test::More;

our @EXPORT_OK = qw(hold_back steps check_list);

my $limit = 60;

sub behind
{
	my ($primary, @standbys) = @_;
	my $end = $primary->value('SELECT pg_current_wal_flush_lsn()');
	return grep { $_->value(
		"SELECT pg_is_in_recovery() AND pg_last_wal_replay_lsn() < '$end'") eq 't' } @standbys;
}

# From now on no other node gets WAL from the primary, or writes records of its own there.
sub hold_back
{
	my ($cluster, $primary) = @_;
	my @others = grep { $_ != $primary } $cluster->nodes;
	wait_for('another node coordinates', sub {
		my $name = $primary->register->{coordinator} // '';
		$name ne '' && $name ne $primary->name }, $limit);
	wait_for('the standbys have everything', sub { !behind($primary, @others) }, $limit);
	for my $other (@others)
	{
		$cluster->relay->cut($primary->name, $other->name, 'pg');
		$cluster->relay->reset($primary->name, $other->name, 'pg');
	}
	return;
}

# Of a recovery, as $node knows them.
sub steps
{
	my ($node, $recovery, $kind) = @_;
	return $node->rows("SELECT coordinator, node, detail, next FROM orchestra_recovery_steps("
		  . "'$recovery') WHERE kind = '$kind' ORDER BY step");
}

# The old primary is started, stays fenced, and lists what it has alone.
#   ids, ways      of the transactions, in the order of their commits
#   detail, next   what the step of the recovery says
sub check_list
{
	my ($what, $cluster, $primary, $recovery, $old, %list) = @_;
	my $name = $old->name;
	$cluster->relay->heal;
	$old->start;
	my $rows = "FROM orchestra_lost_transaction WHERE recovery = '$recovery' AND node = '$name'";
	wait_for("$what: listed", sub { $primary->value("SELECT count(*) $rows") > 0 }, $limit);
	is($primary->value("SELECT string_agg(xid::text, ' ' ORDER BY lsn) $rows AND what LIKE 'commit%'"),
		"@{ $list{ids} }", "$what: exactly what is missing");
	is($primary->value("SELECT string_agg(what, ', ' ORDER BY lsn) $rows"), $list{ways},
		"$what: in order");
	my @own = grep { $_->{coordinator} eq $name } steps($primary, $recovery, 'loss_measured');
	is(scalar @own, 1, "$what: told once");
	note "$what: $own[0]{detail}";
	like($own[0]{detail}, $list{detail}, "$what: from where on, and how many");
	like($own[0]{next}, $list{next}, "$what: and what that means");
	like($old->log_text, qr/: loss_measured node=$name epoch=\Q$recovery\E reason="\d+ bytes of WAL/,
		"$what: in its log as well");
	is($old->role, 'FENCED', "$what: it stays fenced");
	return;
}

1;
