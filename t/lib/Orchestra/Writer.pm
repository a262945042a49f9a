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

# What a writer in mode procedure calls, for a table with the column id.
sub procedure_sql
{
	my ($table) = @_;
	return <<"END";
CREATE PROCEDURE ${table}_batch(first bigint, step bigint, count int, INOUT port text DEFAULT NULL)
LANGUAGE plpgsql AS \$\$
BEGIN
	FOR i IN 0 .. count - 1 LOOP
		INSERT INTO $table (id) VALUES (first + i * step);
		COMMIT;
	END LOOP;
	port := current_setting('port');
END \$\$;
END
}

# mode: plain, two_phase or procedure (test/tools/writer.cpp). pace_us: from one turn to the next.
# patience_ms: with one that is not answered.
sub new
{
	my ($class, %self) = @_;
	my $self = bless { pace_us => 2000, patience_ms => 1000, table => 'writes', mode => 'plain',
		%self }, $class;
	$self->{file} = "$self->{dir}/$self->{name}.writes";
	my $program = ($ENV{ORCHESTRA_TOP} // '.') . '/build/tools/writer';
	my @command = ($program, @$self{qw(conninfo table first_id step pace_us patience_ms file mode)});
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

# Reads on in its file: acknowledged and prepared = [time, id, port, asked at], failed =
# [time, text], in order.
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
		push @{ $self->{prepared} }, [ $at, split ' ', $rest ] if $kind eq 'P';
		push @{ $self->{failed} }, [ $at, $rest ] if $kind =~ /[UX]/;
	}
	return;
}

sub acknowledged { my ($self) = @_; $self->_read; return @{ $self->{acknowledged} // [] } }
sub prepared { my ($self) = @_; $self->_read; return @{ $self->{prepared} // [] } }
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

# What it was told by the server at $port after $since: of commits, and of what was prepared.
sub told_by
{
	my ($self, $port, $since) = @_;
	return grep { $_->[2] == $port && $_->[0] > $since } $self->acknowledged, $self->prepared;
}

# What became of the acknowledged commits, judged on the final primary. $fault: when it happened.
#   before, after   acknowledged before the fault, asked for and acknowledged after it
#   lost            acknowledged ids that the primary does not have; of those that were only
#                   prepared, which it neither has nor could still commit
#   first_after     see there
#   problem         '' when nothing is lost and there was enough to lose; else why it proves nothing
# Its transactions that are still prepared are committed then.
sub verdict
{
	my ($self, $primary, $fault, %chosen) = @_;
	my @all = $self->acknowledged;
	my @after = grep { $_->[0] > $fault } @all;
	my %open = $self->_prepared_on($primary);    # before the ids: it may just be committed
	my %there = $self->_ids_on($primary);
	my @lost = grep { !$there{$_} } map { $_->[1] } @all;
	push @lost, grep { !$there{$_} && !$open{$_} } map { $_->[1] } $self->prepared;
	push @lost, $self->_commit_prepared($primary, keys %open);
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

sub _ids_on
{
	my ($self, $primary) = @_;
	return map { $_ => 1 } split /\n/,
	  $primary->safe_psql('postgres', "SELECT id FROM $self->{table}");
}

# Ids of its transactions that wait there for COMMIT PREPARED.
sub _prepared_on
{
	my ($self, $primary) = @_;
	return unless $self->{mode} eq 'two_phase';
	my ($table, $first, $step) = @$self{qw(table first_id step)};
	return map { $_ => 1 } grep { $_ >= $first && ($_ - $first) % $step == 0 }
	  map { /^\Q$table\E:(\d+)$/ ? $1 : () } split /\n/,
	  $primary->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts');
}

# Commits them all, and returns those of @ids that are not there afterwards.
sub _commit_prepared
{
	my ($self, $primary, @ids) = @_;
	return unless @ids;
	wait_for("nothing of $self->{name} is left prepared", sub {
		my %open = $self->_prepared_on($primary);
		$primary->psql('postgres', "COMMIT PREPARED '$self->{table}:$_'") for keys %open;
		!%open });
	my %there = $self->_ids_on($primary);
	return grep { !$there{$_} } @ids;
}

# Seconds from the fault until a commit that was asked for after it is acknowledged.
sub first_after
{
	my ($self, $fault) = @_;
	my ($first) = $self->acknowledged_after($fault);
	return $first ? $first->[0] - $fault : undef;
}

1;
