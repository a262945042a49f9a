# The network between the nodes of a test; see relay.pl. One process, ended with this object.
package Orchestra::Relay;
use strict;
use warnings;
use Carp;
use File::Basename qw(dirname);
use IPC::Open2;

sub new
{
	my ($class) = @_;
	my $self = bless {}, $class;
	$self->{pid} = open2($self->{from}, $self->{to}, $^X, dirname(__FILE__) . '/../relay.pl');
	return $self;
}

# One command; returns the lines before its "ok".
sub _command
{
	my ($self, @words) = @_;
	my @lines;
	print { $self->{to} } join(' ', @words), "\n" or croak "relay is gone";
	$self->{to}->flush;
	while (defined(my $line = readline $self->{from}))
	{
		chomp $line;
		return @lines if $line eq 'ok';
		croak "relay: $line" if $line =~ /^error: /;
		push @lines, $line;
	}
	croak "relay is gone";
}

# Connections to port $listen become connections to $target of $node; $kind is pg or peer.
sub front { my ($self, $node, $kind, $listen, $target) = @_;
	return $self->_command('front', $node, $kind, $listen, $target) }

# cut('n1', 'n2'): both ways. cut('n1>n2'): what n1 says to n2. A last argument pg or peer: only
# connections of that kind.
sub cut { my ($self, @link) = @_; return $self->_command('cut', @link) }

# Cuts $node off from every one of @others, both ways.
sub isolate { my ($self, $node, @others) = @_; $self->cut($node, $_) for @others; return }

sub heal { my ($self) = @_; return $self->_command('heal') }

# Ends the connections between two nodes, of one kind or all, as a dying host's kernel does.
sub reset { my ($self, @link) = @_; return $self->_command('reset', @link) }

# "n1>n2 pg 120 3400": who dialed whom, and the bytes that each side said.
sub list { my ($self) = @_; return $self->_command('list') }

sub stop
{
	my ($self) = @_;
	my $pid = delete $self->{pid} or return;
	close $self->{to};
	close $self->{from};
	local $?;
	waitpid $pid, 0;
	return;
}

sub DESTROY { local $@; $_[0]->stop; return }

1;
