# A psql session of the superuser that stays open: it is told statements without waiting for their
# answers, also while its server is frozen.
package Orchestra::Session;
use strict;
use warnings;
use IPC::Run;
use Orchestra::Wait qw(wait_for);

# options: conninfo parameters, for example "options='-c synchronous_commit=local'"
sub new
{
	my ($class, $node, $options) = @_;
	my $self = bless { in => '', out => '', asked => 0, said => 0 }, $class;
	my @command = ('psql', '-XAt', '-v', 'VERBOSITY=verbose', '-f', '-',
		'-d', $node->connstr('postgres') . ' ' . ($options // ''));
	$self->{psql} = IPC::Run::start(\@command, '<', \$self->{in}, '&>', \$self->{out});
	$self->ask('SELECT 1');
	return $self;
}

sub say
{
	my ($self, $sql) = @_;
	$self->{in} .= "$sql;\n";
	$self->{said}++;
	$self->text;
	return;
}

# What it printed since the last `ask`.
sub text
{
	my ($self) = @_;
	eval { $self->{psql}->pump_nb if $self->{psql}->pumpable };
	return $self->{out};
}

# The answer to one statement; waits for it.
sub ask
{
	my ($self, $sql) = @_;
	my $mark = 'answer ' . ++$self->{asked};
	$self->{in} .= "$sql;\n\\echo $mark\n";
	wait_for("an answer to $sql", sub { $self->text =~ /^$mark$/m });
	my ($answer) = $self->{out} =~ /\A(.*?)^$mark$/ms;
	@$self{qw(out said)} = ('', 0);
	return $answer;
}

# How many statements since the last `ask` were refused because the node is fenced, how many did
# something, how many are not answered yet.
sub refused { my ($self) = @_; return scalar(() = $self->text =~ /ERROR:  25006: /g) }

sub done
{
	my ($self) = @_;
	return scalar(() = $self->text =~ /^(?:INSERT 0 \d+|COMMIT|COMMIT PREPARED|CREATE TABLE)$/mg);
}

sub open_statements
{
	my ($self) = @_;
	return $self->{said} - $self->refused - $self->done;
}

sub DESTROY
{
	my ($self) = @_;
	local ($@, $?);
	eval { $self->{psql}->kill_kill(grace => 2) } if $self->{psql};
	return;
}

1;
