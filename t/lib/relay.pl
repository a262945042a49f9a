#!/usr/bin/perl
# The network between the nodes of a test: a relay through which all node-to-node traffic passes
# and which can cut links. Started and steered by Orchestra::Relay, on stdin and stdout:
#
#   front NODE KIND LISTEN_PORT TARGET_PORT   KIND: pg or peer; connections to NODE
#   cut A B      nothing passes between A and B        cut A>B     nothing from A to B
#   heal         everything passes again               reset A B   close what connects A and B
#   list         one line per connection
#
# cut and reset may end with a KIND: connections of the other kind are left alone.
#
# Each command is answered by "ok" (after its lines) or "error: why". It ends with its stdin.
#
# A cut swallows, as a network does: bytes are read and thrown away, new connections are accepted
# and stay silent, and the end of a stream does not arrive either. At heal the connections that
# lost something are reset, since a stream with a hole must not go on.
#
# Who dials is learnt from what the dialer says first: application_name of a PostgreSQL startup
# packet ("n1", or "orchestra n1"), the node name in a peer's hello. Until then, and for whoever
# is no node, everything passes.
use strict;
use warnings;
use IO::Socket::INET;
use Socket qw(SOL_SOCKET SO_LINGER SHUT_WR IPPROTO_TCP TCP_NODELAY MSG_PEEK);
use POSIX qw(EAGAIN EINPROGRESS);

use constant { CHUNK => 65536, FULL => 1 << 20, HELLO => 4096 };

$SIG{PIPE} = 'IGNORE';
$| = 1;

my %front;    # fileno => { socket, node, kind, target }
my %link;     # fileno of either end => link
my %cut;      # "A>B" or "A>B KIND" => 1
my $input = '';

# A link has two ends, 'c' (who dialed) and 's' (the node). Of each: socket, out (bytes that wait to
# be written to it), eof (read from it), shut (end of stream written to it).
sub other { return $_[0] eq 'c' ? 's' : 'c' }

sub direction
{
	my ($link, $from) = @_;
	return "" unless defined $link->{dialer};
	return $from eq 'c' ? "$link->{dialer}>$link->{node}" : "$link->{node}>$link->{dialer}";
}

# Every link once; a copy, so that links may be dropped meanwhile.
sub links
{
	my %seen;
	return grep { !$seen{$_}++ } my @both_ends = values %link;
}

sub is_cut
{
	my ($link, $from) = @_;
	my $way = direction($link, $from);
	return $cut{$way} || $cut{"$way $link->{kind}"};
}

sub drop_link
{
	my ($link, $hard) = @_;
	for my $end (qw(c s))
	{
		my $socket = delete $link->{$end}{socket} or next;
		delete $link{ fileno $socket };
		setsockopt($socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0)) if $hard;
		close $socket;
	}
}

sub accept_link
{
	my ($front) = @_;
	my $client = $front->{socket}->accept or return;
	my $server = IO::Socket::INET->new(Proto => 'tcp', Blocking => 0);
	my $address = Socket::pack_sockaddr_in($front->{target}, Socket::inet_aton('127.0.0.1'));
	my $link = {
		node => $front->{node}, kind => $front->{kind}, hello => '',
		c => { socket => $client, out => '', bytes => 0, ready => 1 },
		s => { socket => $server, out => '', bytes => 0 },
	};
	for my $socket ($client, $server)
	{
		$socket->blocking(0);
		setsockopt($socket, IPPROTO_TCP, TCP_NODELAY, 1);
		$link{ fileno $socket } = $link;
	}
	connect($server, $address) or $! == EINPROGRESS or drop_link($link, 1);
}

# The dialer's node name, '' when it is no node, undef while more has to be read.
sub dialer_of_postgres
{
	my ($bytes) = @_;
	for (;;)
	{
		return undef if length $bytes < 8;
		my ($length, $code) = unpack 'NN', $bytes;
		return '' if $length < 8 || $length > HELLO;
		return undef if length $bytes < $length;
		if ($length == 8 && ($code == 80877103 || $code == 80877104))
		{
			substr($bytes, 0, 8, '');    # SSLRequest, GSSENCRequest: the startup packet follows
			next;
		}
		return '' if $code >> 16 != 3;
		my %parameter = split /\0/, substr($bytes, 8, $length - 8);
		my $name = $parameter{application_name} // '';
		$name =~ s/^orchestra //;
		return $name;
	}
}

sub dialer_of_peer
{
	my ($bytes) = @_;    # "orchpeer", version, nonce of 32 bytes, length of the name, name
	my $before = 8 + 1 + 32;
	return '' if index('orchpeer', substr $bytes, 0, 8) != 0;
	return undef if length $bytes <= $before;
	my $name = unpack "x$before C/a", $bytes;
	return length $bytes < $before + 1 + ord(substr $bytes, $before, 1) ? undef : $name;
}

sub learn_dialer
{
	my ($link, $bytes) = @_;
	$link->{hello} .= $bytes;
	my $name = $link->{kind} eq 'pg' ? dialer_of_postgres($link->{hello})
	  : dialer_of_peer($link->{hello});
	$name //= '' if length $link->{hello} > HELLO;
	return unless defined $name;
	$link->{dialer} = $name;
	delete $link->{hello};
}

sub flush_to
{
	my ($link, $end) = @_;
	my $to = $link->{$end};
	while (length $to->{out})
	{
		my $n = syswrite $to->{socket}, $to->{out};
		if (!defined $n)
		{
			return 1 if $!{EAGAIN} || $!{EINTR};
			drop_link($link, 1);
			return 0;
		}
		substr($to->{out}, 0, $n, '');
	}
	if ($link->{ other($end) }{eof} && !$to->{shut} && !is_cut($link, other($end)))
	{
		$to->{shut} = 1;
		shutdown $to->{socket}, SHUT_WR;
		drop_link($link) if $link->{c}{shut} && $link->{s}{shut};
	}
	return 1;
}

sub read_from
{
	my ($link, $end) = @_;
	my ($from, $to) = ($link->{$end}, $link->{ other($end) });
	my $n = sysread $from->{socket}, my $bytes, CHUNK;
	if (!defined $n)
	{
		return if $!{EAGAIN} || $!{EINTR};
		# A reset does not pass a cut either: keep the other side as it is.
		return is_cut($link, $end) ? swallow($link, $end) : drop_link($link, 1);
	}
	$from->{eof} = 1 if $n == 0;
	$from->{bytes} += $n;
	learn_dialer($link, $bytes) if $end eq 'c' && !defined $link->{dialer} && $n;
	if (is_cut($link, $end))
	{
		$link->{holed} = 1;
		return;
	}
	$to->{out} .= $bytes;
	flush_to($link, other($end)) if $to->{ready};
}

sub swallow
{
	my ($link, $end) = @_;
	$link->{$end}{eof} = 1;
	$link->{holed} = 1;
}

my %command = (
	front => sub {
		my ($node, $kind, $listen, $target) = @_;
		my $socket = IO::Socket::INET->new(
			LocalAddr => '127.0.0.1', LocalPort => $listen, Listen => 128,
			ReuseAddr => 1, Proto => 'tcp') or return "port $listen: $@";
		$socket->blocking(0);
		$front{ fileno $socket } =
		  { socket => $socket, node => $node, kind => $kind, target => $target };
		return;
	},
	cut => sub {
		my $kind = $_[-1] =~ /^(?:pg|peer)$/ ? ' ' . pop : '';
		my ($from, $to) = @_;
		my @new = defined $to ? ("$from>$to", "$to>$from") : ($from);
		/^[^>]+>[^>]+$/ or return "which link is $_?" for @new;
		$cut{"$_$kind"} = 1 for @new;
		# What was accepted but not delivered yet is lost as well.
		for my $link (links())
		{
			for my $end (qw(c s))
			{
				next unless is_cut($link, $end) && length $link->{ other($end) }{out};
				$link->{ other($end) }{out} = '';
				$link->{holed} = 1;
			}
		}
		return;
	},
	heal => sub {
		%cut = ();
		drop_link($_, 1) for grep { $_->{holed} } links();
		return;
	},
	reset => sub {
		my ($a, $b, $kind) = @_;
		for my $link (links())
		{
			next if $kind && $link->{kind} ne $kind;
			my $way = direction($link, 'c');
			drop_link($link, 1) if $way eq "$a>$b" || $way eq "$b>$a";
		}
		return;
	},
	list => sub {
		for my $link (links())
		{
			printf "%s>%s %s %d %d%s\n", $link->{dialer} || '?', $link->{node}, $link->{kind},
			  $link->{c}{bytes}, $link->{s}{bytes}, $link->{holed} ? ' holed' : '';
		}
		return;
	});

sub read_commands
{
	sysread(STDIN, $input, 4096, length $input) or exit 0;
	while ($input =~ s/^(.*)\n//)
	{
		my ($name, @arguments) = split ' ', $1;
		my $error = $command{$name} ? $command{$name}->(@arguments) : "no command $name";
		print $error ? "error: $error\n" : "ok\n";
	}
}

for (;;)
{
	my ($reads, $writes) = ('', '');
	vec($reads, fileno STDIN, 1) = 1;
	vec($reads, $_, 1) = 1 for keys %front;
	for my $number (keys %link)
	{
		my $link = $link{$number};
		my $end = fileno $link->{c}{socket} == $number ? 'c' : 's';
		my $from = $link->{$end};
		my $connecting = $end eq 's' && !$from->{ready};
		vec($reads, $number, 1) = 1
		  unless $from->{eof} || $connecting || length $link->{ other($end) }{out} > FULL;
		vec($writes, $number, 1) = 1 if length $from->{out} || $connecting;
	}
	select($reads, $writes, undef, undef) > 0 or next;

	# Links first: nothing is opened meanwhile, so a number means what select was asked about.
	for my $number (keys %link)
	{
		my $link = $link{$number} or next;    # dropped meanwhile
		my $end = fileno $link->{c}{socket} == $number ? 'c' : 's';
		if (vec($writes, $number, 1))
		{
			$link->{$end}{ready} = 1;
			flush_to($link, $end) or next;
		}
		read_from($link, $end) if $link{$number} && vec($reads, $number, 1);
	}
	read_commands() if vec($reads, fileno STDIN, 1);
	for my $number (keys %front)
	{
		accept_link($front{$number}) if vec($reads, $number, 1);
	}
}
