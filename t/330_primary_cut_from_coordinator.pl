# The primary and the coordinator, which is a standby, do not hear each other, or only one of them
# does; the third node hears both. Nobody fails over, no lease is lost, writes go on, and what the
# primary or its operator asks of the register gets there.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(standby_coordinator marks counts_of);
use Orchestra::Wait qw(wait_for now);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
my ($n1, $n2, $n3) = $cluster->nodes;
my $epoch = $n1->register->{epoch};
my $ttl_ms = $n1->register->{lease_ttl_ms};
my $writer = $cluster->writer('w', patience_ms => 20000);
$writer->wait_for_acknowledged(500);

sub counted { my ($node) = @_; return join ' ', sort @{ $node->register->{sync_nodes} } }

# The longest time without an acknowledgement since then.
sub longest_silence
{
	my ($from) = @_;
	my ($longest, $last) = (0, $from);
	for my $at (grep { $_ > $from } map { $_->[0] } $writer->acknowledged)
	{
		$longest = $at - $last if $at - $last > $longest;
		$last = $at;
	}
	return $longest;
}

sub asked
{
	my ($node, $name, $value, $wait) = @_;
	my (undef, undef, $error) = $node->psql('postgres',
		"SELECT orchestra_set_node('$name', sync_candidate => $value, wait => '$wait')",
		timeout => 60);
	return $error;
}

# An operator asks $node that $name counts no more, and that it counts again. What is counted then
# is for the primary to ask.
sub changes_get_there
{
	my ($what, $node, $name) = @_;
	for my $value ('false', 'true')
	{
		my $began = now();
		is(asked($node, $name, $value, '30 s'), '', "$what: sync_candidate => $value is committed");
		note sprintf '%s: asked on %s, committed after %.2f s', $what, $node->name, now() - $began;
		wait_for("$name counts: $value", sub {
			(counted($n1) =~ /$name/ ? 'true' : 'false') eq $value }, 30) if $node != $n1;
	}
	return;
}

# The third node alone holds what is committed while the coordinator gets no WAL.
sub goes_on
{
	my ($what, $links, %chosen) = @_;
	my $coordinator = standby_coordinator($cluster, $n1);
	wait_for('both standbys count', sub { counted($n1) eq 'n2 n3' }, 60);
	my ($other) = grep { $_ != $coordinator } $n2, $n3;
	my ($c, $t) = ($coordinator->name, $other->name);
	my $marks = marks($cluster);
	my $cut = now();
	$cluster->relay->cut(map { s/C/$c/r } @$_) for @$links;
	if ($chosen{both_ways})
	{
		wait_for('commits are counted on the third node', sub { counted($n1) eq $t }, 30);
		changes_get_there($what, $n1, $c);    # to which its lease holder has campaigned
	}
	else
	{
		like(asked($n1, $t, 'true', '2 s'), qr/the coordinator, $c, did not answer in time/,
			"$what: an operator at the primary is told so");
		changes_get_there($what, $other, $t);
	}
	$writer->wait_for_acknowledged(500, after => $cut + 3 * $ttl_ms / 1000);
	is($n1->role, 'MASTER', "$what: the primary is the primary");
	is(join(' ', map { $_->register->{epoch} } $n1, $other), "$epoch $epoch", "$what: one epoch");
	note sprintf '%s: the coordinator was %s, is %s now; longest silence %.3f s', $what, $c,
	  $n1->register->{coordinator} // 'unknown', longest_silence($cut);
	cmp_ok(longest_silence($cut), '<', 8, "$what: writes go on");
	$cluster->relay->heal;
	standby_coordinator($cluster, $n1);
	is(counts_of($cluster, $marks, qw(lease_lost gate_closed fence_started fenced)), '',
		"$what: no lease was lost, nobody was fenced");
	return;
}

goes_on('cut', [ [ 'n1', 'C' ] ], both_ways => 1);
goes_on('the coordinator does not hear the primary', [ [ 'n1>C', 'peer' ] ]);
goes_on('the primary does not hear the coordinator', [ [ 'C>n1', 'peer' ] ]);

is($cluster->turns($writer->stop), 'n1', 'one node acknowledged all of it');
is($writer->verdict($n1, 0, before => 0)->{problem}, '', 'nothing is lost');
is($n1->value('SELECT count(*) FROM orchestra_recoveries()'), 0, 'no recovery');
$cluster->end;
done_testing();
