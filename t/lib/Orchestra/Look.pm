# What a test looks at from outside: who coordinates, and what the servers logged.
package Orchestra::Look;
use strict;
use warnings;
use Exporter 'import';
use Orchestra::Wait qw(wait_for);
use PostgreSQL::Test::Utils;

our @EXPORT_OK = qw(running standby_coordinator events_of marks events_since counts_of told);

sub running { my ($cluster) = @_; return grep { $_->{_pid} } $cluster->nodes }

# The standby that every running node knows as the coordinator, once every other running node
# streams from the primary: nothing is under way any more.
sub standby_coordinator
{
	my ($cluster, $primary, %chosen) = @_;
	my @running = running($cluster);
	my $others = @running - 1;
	return wait_for('a standby coordinates and every running standby streams', sub {
		my %known = map { ($_->register->{coordinator} // '') => 1 } @running;
		my ($name) = keys %known;
		return if keys %known != 1 || $name eq '' || $name eq $primary->name;
		return if $primary->value(
			"SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") != $others;
		my $node = $cluster->node($name);
		return $node->{_pid} ? $node : undef;
	}, $chosen{seconds} // 60);
}

# What a statement answers, with its errors and notices, and how it ended.
sub told
{
	my ($node, $statement) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement",
		timeout => 90);
	return ($out, $err, $status);
}

# Its state changes in the order of its log: { event, node, epoch, reason, next }.
sub events_of
{
	my ($node, $offset) = @_;
	my @events;
	for my $line (split /\n/, slurp_file($node->logfile, $offset // 0))
	{
		next unless $line =~ /LOG:  orchestra: (\w+) node=(\S+) epoch=(\S+) reason="(.*?)"(.*)/;
		my ($event, $about, $epoch, $reason, $rest) = ($1, $2, $3, $4, $5);
		my ($next) = $rest =~ /next="(.*?)"/;
		push @events, { event => $event, node => $about, epoch => $epoch, reason => $reason,
			next => $next // '' };
	}
	return @events;
}

# How long each node's log is now; events_since reads on from there.
sub marks { my ($cluster) = @_; return { map { $_->name => -s $_->logfile } $cluster->nodes } }
sub events_since { my ($marks, $node) = @_; return events_of($node, $marks->{ $node->name }) }

# Events of this kind since then on all nodes, for people: "n2: lease_lost".
sub counts_of
{
	my ($cluster, $marks, @kinds) = @_;
	my %wanted = map { $_ => 1 } @kinds;
	return join ', ', map {
		my $name = $_->name;
		map { "$name: $_->{event} ($_->{reason})" }
		  grep { $wanted{ $_->{event} } } events_since($marks, $_)
	} $cluster->nodes;
}

1;
