# Waiting for something to become true, with a deadline. Tests have no other way to wait.
package Orchestra::Wait;
use strict;
use warnings;
use Carp;
use Exporter 'import';
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

our @EXPORT_OK = qw(wait_for now);

# Seconds of the one clock that all processes of this machine share; writers note it too.
sub now { return clock_gettime(CLOCK_MONOTONIC) }

# Calls $condition every few ms until it returns something true, and returns that. Dies after
# $seconds with $what. An exception in $condition counts as false; the last one is told.
sub wait_for
{
	my ($what, $condition, $seconds) = @_;
	my $deadline = now() + ($seconds // 30);
	my $why = '';
	for (;;)
	{
		my $value = eval { $condition->() };
		$why = $@ ? ": $@" : '';
		return $value if $value;
		croak "still not, after the deadline: $what$why" if now() > $deadline;
		select undef, undef, undef, 0.02;
	}
}

1;
