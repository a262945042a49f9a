# One node: a PostgreSQL::Test::Cluster with orchestra's ports, and with the ways to make it fail.
# Made by Orchestra::Cluster.
package Orchestra::Node;
use strict;
use warnings;
use parent -norequire, 'PostgreSQL::Test::Cluster';
use IO::Socket::INET;
use IPC::Run;
use IPC::SysV qw(IPC_RMID);
use Orchestra::Wait qw(wait_for now);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

# Its settings; in a file of their own, so that a base backup's copy of another node's is replaced.
sub write_settings
{
	my ($self, %settings) = @_;
	$self->{settings} = { %{ $self->{settings} // {} }, %settings };
	my $text = '';
	for my $name (sort keys %{ $self->{settings} })
	{
		my $value = $self->{settings}{$name};
		$value =~ s/'/''/g;
		$text .= "$name = '$value'\n";
	}
	my $file = $self->data_dir . '/node.conf';
	unlink $file;
	append_to_file($file, $text);
	return;
}

# What the role port says; '' when nobody answers.
sub role
{
	my ($self) = @_;
	my $socket = IO::Socket::INET->new(
		PeerAddr => '127.0.0.1', PeerPort => $self->{role_port}, Timeout => 1) or return '';
	my ($answer, $ready) = ('', '');
	vec($ready, fileno $socket, 1) = 1;
	while (select(my $readable = $ready, undef, undef, 1))
	{
		last unless sysread $socket, $answer, 64, length $answer;
	}
	return $answer;
}

# Rows of a query as hashes; dies when the server does not answer in time.
sub rows
{
	my ($self, $query) = @_;
	my ($status, $out, $err) = $self->psql('postgres',
		"SELECT row_to_json(q) FROM ($query) q", timeout => 10);
	die $self->name . ": $err" if $status;
	require JSON::PP;
	return map { JSON::PP::decode_json($_) } split /\n/, $out;
}

# One value.
sub value
{
	my ($self, $query) = @_;
	my ($status, $out, $err) = $self->psql('postgres', $query, timeout => 10);
	die $self->name . ": $err" if $status;
	return $out;
}

# orchestra_status() of this node: name => row.
sub status
{
	my ($self) = @_;
	return map { $_->{name} => $_ } $self->rows('SELECT * FROM orchestra_status()');
}

# The rows of orchestra_cluster(): none when unconfigured.
sub register { my ($self) = @_; return ($self->rows('SELECT * FROM orchestra_cluster()'))[0] }

sub log_text { my ($self) = @_; return slurp_file($self->logfile) }

# ---- Processes. All are found by their parents, starting with the postmaster's pid.

# Pid, state and parent of a process, or nothing.
sub _stat
{
	my ($file) = @_;
	open my $stat, '<', $file or return;
	return (<$stat> // '') =~ /^(\d+) \(.*\) (\S) (\d+)/s;
}

sub _parents
{
	my %parent;
	for my $file (glob '/proc/[0-9]*/stat')
	{
		my ($pid, undef, $parent) = _stat($file) or next;
		$parent{$pid} = $parent;
	}
	return \%parent;
}

# A dead process that nobody has waited for yet is dead.
sub _alive
{
	my ($pid) = @_;
	my (undef, $state) = _stat("/proc/$pid/stat") or return 0;
	return $state !~ /[ZX]/;
}

# The postmaster and everything below it.
sub pids
{
	my ($self) = @_;
	my $postmaster = $self->{_pid} or return;
	my $parent = _parents();
	return unless $parent->{$postmaster};
	my @pids = ($postmaster);
	for (my $i = 0; $i < @pids; $i++)
	{
		push @pids, grep { $parent->{$_} == $pids[$i] } keys %$parent;
	}
	return @pids;
}

# Stops all of them where they are. The postmaster first, so that nobody is born meanwhile.
sub freeze
{
	my ($self) = @_;
	kill STOP => $self->{_pid};
	kill STOP => $self->pids for 1 .. 2;
	$self->{frozen} = 1;
	return;
}

sub thaw
{
	my ($self) = @_;
	kill CONT => reverse $self->pids;
	$self->{frozen} = 0;
	return;
}

# SIGKILL to all of them at once. Returns when, in seconds of Orchestra::Wait::now.
sub kill_all
{
	my ($self) = @_;
	return unless defined $self->{_pid};
	my $postmaster = $self->{_pid};
	kill STOP => $postmaster;    # bears nobody from now on
	my @pids = $self->pids;
	my $when = now();
	kill KILL => @pids;
	wait_for('the killed processes are gone', sub { !grep { _alive($_) } @pids });
	$self->{killed} = $postmaster;
	$self->{_pid} = undef;
	$self->{frozen} = 0;
	$self->_forget_shared_memory($postmaster);
	return $when;
}

# A new postmaster takes one that is dead but not waited for yet, of which the lock files tell, for
# another living one. $node->{environment} is added to the server's.
sub start
{
	my ($self, @how) = @_;
	local %ENV = (%ENV, %{ $self->{environment} // {} });
	my $killed = delete $self->{killed};
	wait_for("the killed postmaster $killed is waited for", sub { !kill 0, $killed }) if $killed;
	return $self->SUPER::start(@how);
}

# A killed postmaster leaves its segment behind; nobody else ever removes it.
sub _forget_shared_memory
{
	my ($self, $creator) = @_;
	open my $segments, '<', '/proc/sysvipc/shm' or return;
	while (my $line = <$segments>)
	{
		my (undef, $id, undef, undef, $pid, undef, $attached) = split ' ', $line;
		shmctl($id, IPC_RMID, 0) if $pid eq $creator && $attached eq '0';
	}
	return;
}

# Pid of a worker ("orchestra consensus") or of any process by its title.
sub worker
{
	my ($self, $title) = @_;
	for my $pid ($self->pids)
	{
		open my $file, '<', "/proc/$pid/cmdline" or next;
		return $pid if index(<$file> // '', $title) >= 0;
	}
	return;
}

# A backend dies of SIGSEGV, so that the postmaster restarts all the others.
sub crash_backend
{
	my ($self) = @_;
	my $session = IPC::Run::start(
		[ 'psql', '-Xd', $self->connstr('postgres'), '-c', q(SELECT 'victim', pg_sleep(600)) ],
		'<', \undef, '&>', \my $output);
	my $pid = wait_for('the victim runs', sub {
		$self->value(q(SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT ''victim''%')) });
	kill SEGV => $pid;
	$session->finish;
	return now();
}

1;
