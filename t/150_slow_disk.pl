# A disk whose fsync takes 5 s, once under the primary and once under the coordinating standby: the
# lease lives in memory, so none is lost, and nobody is failed over.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(standby_coordinator marks counts_of);
use Orchestra::Wait qw(wait_for now);
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3);
my $preload = ($ENV{ORCHESTRA_TOP} // '.') . '/build/tools/slow_fsync.so';
my %flag = map { $_->name => PostgreSQL::Test::Utils::tempdir() . '/slow' } $cluster->nodes;
$_->{environment} = {
	LD_PRELOAD => $preload,
	SLOW_FSYNC_DIR => $_->data_dir,
	SLOW_FSYNC_FLAG => $flag{ $_->name } } for $cluster->nodes;
$cluster->form;
my ($n1, $n2, $n3) = $cluster->nodes;
my $epoch = $n1->register->{epoch};
my $coordinator = standby_coordinator($cluster, $n1);
my $marks = marks($cluster);
my $writer = $cluster->writer('w', patience_ms => 120_000);
$writer->wait_for_acknowledged(1000);
my $first_fault = now();

sub slow_disk
{
	my ($what, $node) = @_;
	my $flag = $flag{ $node->name };
	my ($since, $version) = (now(), $n1->register->{version});
	append_to_file($flag, '');
	wait_for("$what: its WAL was late twice",
		sub { 2 <= (() = slurp_file($flag) =~ m{/pg_wal/}g) }, 60);
	my @late = split /\n/, slurp_file($flag);
	unlink $flag;
	note "$what: late were @{[ map { s{.*/(?=[^/]+/[^/]+$)}{}r } @late ]}";
	# A standby that flushes nothing for seconds is not counted on: the register says so, durably.
	my $changes = $n1->register->{version} - $version;
	my $written = grep { m{/orchestra/} } @late;
	note "$what: $changes changes of the register";
	ok(!$written || $changes, "$what: orchestra wrote nothing but what changed in the register");
	$writer->wait_for_acknowledged(500, after => now());
	is($n1->role, 'MASTER', "$what: the same primary");
	is($n1->register->{epoch}, $epoch, "$what: in the same epoch");
	is(counts_of($cluster, $marks, qw(lease_lost gate_closed fence_started fenced)), '',
		"$what: no lease lost, no failover");
	return grep { $_->[0] - $_->[3] / 1e9 > 4.5 && $_->[3] / 1e9 > $since - 5 }
	  $writer->acknowledged;
}

cmp_ok(scalar(slow_disk('primary', $n1)), '>', 0, 'primary: commits waited for its disk');
is(scalar(slow_disk('standby', $coordinator)), 0, 'standby: the other one acknowledged meanwhile');
is(scalar($writer->failed), 0, 'no commit failed');
is($writer->stop->verdict($n1, $first_fault)->{problem}, '', 'nothing lost');
$cluster->end;
done_testing();
