# A client that writes while things fail (test/tools/writer.cpp), and what it was told.
#
#   my $writer = $cluster->writer('w', pace_us => 2000);
#   $writer->wait_for_acknowledged(1000);
#   my $killed = $n1->kill_all;
#   $writer->wait_for_acknowledged(500, after => $killed);
#   $writer->stop;
#   my $verdict = $writer->verdict($new_primary, $killed);     see there
package Orchestra::Writer;
use strict;
use warnings;
use Carp;
use Orchestra::Wait qw(wait_for);

my %running;    # pid => 1

# pace_us: from one commit to the next. patience_ms: with one that is not answered.
sub new
{
	my ($class, %self) = @_;
	my $self = bless { pace_us => 2000, patience_ms => 1000, table => 'writes', %self }, $class;
	$self->{file} = "$self->{dir}/$self->{name}.writes";
	my $program = ($ENV{ORCHESTRA_TOP} // '.') . '/build/tools/writer';
	my @command = ($program, @$self{qw(conninfo table first_id step pace_us patience_ms file)});
	$self->{pid} = fork // croak "fork: $!";
	if (!$self->{pid})
	{
		chdir $self->{dir};
		exec { $program } @command or print STDERR "$program: $!\n";
		require POSIX;
		POSIX::_exit(1);
	}
	$running{ $self->{pid} } = 1;
	return $self;
}

# Reads on in its file: acknowledged = [time, id, port], failed = [time, text], in order.
sub _read
{
	my ($self) = @_;
	open my $file, '<', $self->{file} or return;
	seek $file, $self->{read} //= 0, 0;
	while (my $line = <$file>)
	{
		last unless $line =~ /\n\z/;    # being written
		$self->{read} += length $line;
		my ($kind, $time, $rest) = $line =~ /^(\w) (\d+) (.*)$/ or croak "$self->{file}: $line";
		my $at = $time / 1e9;
		push @{ $self->{acknowledged} }, [ $at, split ' ', $rest ] if $kind eq 'A';
		push @{ $self->{failed} }, [ $at, $rest ] if $kind =~ /[UX]/;
	}
	return;
}

sub acknowledged { my ($self) = @_; $self->_read; return @{ $self->{acknowledged} // [] } }
sub failed { my ($self) = @_; $self->_read; return @{ $self->{failed} // [] } }

# Acknowledgements of commits that were asked for after `after`.
sub acknowledged_after
{
	my ($self, $after) = @_;
	return grep { $_->[3] / 1e9 >= $after } $self->acknowledged;
}

sub wait_for_acknowledged
{
	my ($self, $count, %chosen) = @_;
	my $after = $chosen{after} // 0;
	return wait_for("$count acknowledged commits of $self->{name}",
		sub { $self->acknowledged_after($after) >= $count }, $chosen{seconds} // 60);
}

sub stop
{
	my ($self) = @_;
	my $pid = delete $self->{pid} or return $self;
	delete $running{$pid};
	local $?;
	kill TERM => $pid;
	my $gone = eval { wait_for('the writer ends', sub { waitpid($pid, 1) != 0 }, 10) };
	kill KILL => $pid unless $gone;
	waitpid $pid, 0;
	return $self;
}

sub end_all
{
	local $?;
	for my $pid (keys %running) { kill KILL => $pid; waitpid $pid, 0 }
	%running = ();
	return;
}

# What became of the acknowledged commits, judged on the final primary. $fault: when it happened.
#   before, after   acknowledged before the fault, asked for and acknowledged after it
#   lost            acknowledged ids that the primary does not have
#   pause           seconds from the fault to the first commit asked for after it... acknowledged
#   problem         '' when nothing is lost and there was enough to lose; else why it proves nothing
sub verdict
{
	my ($self, $primary, $fault, %chosen) = @_;
	my @all = $self->acknowledged;
	my @after = grep { $_->[0] > $fault } @all;
	my %there = map { $_ => 1 } split /\n/,
	  $primary->safe_psql('postgres', "SELECT id FROM $self->{table}");
	my @lost = grep { !$there{$_} } map { $_->[1] } @all;
	my ($before, $after) = (@all - @after, scalar @after);
	my ($least_before, $least_after) = ($chosen{before} // 1000, $chosen{after} // 500);
	my $problem =
	    @lost ? 'lost: ' . join ' ', @lost[ 0 .. ($#lost < 9 ? $#lost : 9) ]
	  : $before < $least_before ? "only $before acknowledged before the fault"
	  : $after < $least_after ? "only $after acknowledged after the fault"
	  :                         '';
	return { before => $before, after => $after, lost => scalar @lost, problem => $problem,
		first_after => $self->first_after($fault) };
}

# Seconds from the fault until a commit that was asked for after it is acknowledged.
sub first_after
{
	my ($self, $fault) = @_;
	my ($first) = $self->acknowledged_after($fault);
	return $first ? $first->[0] - $fault : undef;
}

1;
