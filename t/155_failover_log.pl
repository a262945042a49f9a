# The log of a failover: after a kill -9 of the primary each survivor logs exactly these events, in
# this order. Findings that call for no failover may come in between, as nodes come and go.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(standby_coordinator marks events_since);
use Orchestra::Wait qw(wait_for);
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
my ($n1, $n2, $n3) = $cluster->nodes;
my $coordinator = standby_coordinator($cluster, $n1);
my $writer = $cluster->writer('w');
$writer->wait_for_acknowledged(1000);
my $marks = marks($cluster);
my $killed = $n1->kill_all;
my $primary = $cluster->wait_for_primary(not => $n1, seconds => 60);
my ($standby) = grep { $_ != $primary } $n2, $n3;
$writer->wait_for_acknowledged(500, after => $killed);
wait_for('the recovery ends', sub {
	grep { $_->{event} eq 'recovered' } events_since($marks, $coordinator) }, 60);

# Up to the end of the recovery; the coordinator steps aside afterwards if it is the new primary.
sub story
{
	my ($node) = @_;
	my @story;
	for my $event (events_since($marks, $node))
	{
		my $kind = $event->{event};
		next if $kind eq 'detected' && $event->{next} ne 'failover';
		next if $kind eq 'login_failed';
		last if $kind =~ /^coordinator_/;
		push @story, $kind eq 'detected' ? 'failover' : $kind;
	}
	return @story;
}

# What a node decides as coordinator, and what it does itself, go on side by side.
my %decides = map { $_ => 1 } qw(failover fence_started voters_fenced node_fenced candidate_chosen
	epoch_committed promoted activated repointed recovered);
sub decisions { return join ' ', grep { $decides{$_} } @_ }
sub deeds { return join ' ', grep { !$decides{$_} } @_ }

my @story = story($coordinator);
note $coordinator->name . " coordinates: @story";
note $primary->name . ' is the new primary: ' . join ' ', story($primary);
# The standby streams before or after the activation that its flush allows.
is(decisions(@story) =~ s/repointed activated/activated repointed/r,
	'failover fence_started voters_fenced node_fenced node_fenced candidate_chosen '
	  . 'epoch_committed promoted activated repointed recovered',
	'the coordinator decides, in this order');
is(deeds(story($primary)), 'fenced epoch_entered promoting lease_acquired gate_opened',
	'the new primary does, in this order');
is(deeds(story($standby)), 'fenced epoch_entered unfenced', 'the standby does, in this order');
my ($other) = grep { $_ != $coordinator } $n2, $n3;
is(decisions(story($other)), '', 'the other one decides nothing');
like("@story", qr/fence_started.* fenced .*voters_fenced.*epoch_committed epoch_entered/,
	'fenced after the decision, entered after the commit');

is($writer->stop->verdict($primary, $killed)->{problem}, '', 'nothing lost');
$cluster->end;
done_testing();
