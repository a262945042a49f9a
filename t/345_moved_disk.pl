# A voter's disk wakes up on another machine, or so it seems: everything in it is right, but the
# machine that its vote file names is not this one. It has no vote until the other voters confirm
# that they remember nothing newer of it; where they are down it stays mute until an operator does.
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(standby_coordinator);
use Orchestra::Wait qw(wait_for now);
use PostgreSQL::Test::Utils;
use Test::More;

my $machine = eval { slurp_file('/etc/machine-id') } // '';
$machine =~ s/\n+\z//;
plan skip_all => 'this machine has no /etc/machine-id' if $machine eq '';

my $limit = 60;
my $cluster = Orchestra::Cluster->new(nodes => 3)->form;
my ($n1, $n2, $n3) = $cluster->nodes;

sub row
{
	my ($node, $name) = @_;
	my %status = $node->status;
	return $status{ $name // $node->name } // {};
}

# As the product hashes it: FNV-1a in 64 bits.
sub fnv
{
	my ($text) = @_;
	use integer;
	my $hash = -3750763034362895579;    # 0xcbf29ce484222325
	$hash = ($hash ^ ord $_) * 1099511628211 for split //, $text;
	return pack 'q<', $hash;
}

sub crc32c
{
	my ($bytes) = @_;
	my $crc = 0xffffffff;
	for my $byte (unpack 'C*', $bytes)
	{
		$crc ^= $byte;
		$crc = $crc & 1 ? $crc >> 1 ^ 0x82f63b78 : $crc >> 1 for 1 .. 8;
	}
	return pack 'L<', $crc ^ 0xffffffff;
}

# The vote file of a stopped node says from now on that it was written elsewhere. In place: its
# directory stays what it was.
sub written_elsewhere
{
	my ($node) = @_;
	my $file = $node->data_dir . '/orchestra/pgsql_tmp_vote/vote';
	my $bytes = slurp_file($file);
	is(substr($bytes, -4), crc32c(substr $bytes, 0, -4), $node->name . ': a vote file, sealed');
	my $here = fnv($machine);
	is(scalar(() = $bytes =~ /\Q$here\E/g), 1, $node->name . ': it names this machine once');
	substr($bytes, -4) = '';
	$bytes =~ s/\Q$here\E/fnv("$machine elsewhere")/e;
	open my $out, '+<:raw', $file or die "$file: $!";
	print $out $bytes . crc32c($bytes);
	close $out or die $!;
	return;
}

# ---- Two others live: they confirm it.
standby_coordinator($cluster, $n1);
my $epoch = $n1->register->{epoch};
$n3->stop;
written_elsewhere($n3);
my $log = -s $n3->logfile;
my $started = now();
$n3->start;
wait_for('the log tells that it is confirmed', sub {
	slurp_file($n3->logfile, $log) =~ /orchestra: identity_confirmed node=n3 / }, $limit);
my $took = now() - $started;
note sprintf 'confirmed %.1f s after its start', $took;
cmp_ok($took, '<', 15, 'others live: confirmed soon');
my $text = slurp_file($n3->logfile, $log);
like($text, qr/identity_suspect node=n3 \S+ reason="its disk is on another machine than before"/,
	'others live: it said why it did not vote');
like($text, qr/identity_suspect.*identity_confirmed node=n3 \S+ reason="by a majority of the /s,
	'others live: and who confirmed it');
wait_for('n3 streams', sub { row($n1, 'n3')->{state} eq 'streaming' }, $limit);
wait_for('n3 votes', sub { $n1->register->{reachable_voters} == 3 }, $limit);
is($n1->register->{epoch}, $epoch, 'others live: no failover');
$log = -s $n3->logfile;
$n3->restart;
wait_for('n3 streams', sub { row($n1, 'n3')->{state} eq 'streaming' }, $limit);
unlike(slurp_file($n3->logfile, $log), qr/identity_suspect/, 'others live: and for good');

# ---- Nobody else is there: no vote, no commit, before an operator vouches for it.
isnt($n3->psql('postgres', 'SELECT orchestra_confirm_identity()', timeout => 30), 0,
	'nothing to confirm: refused');
$_->stop for $n3, $n2, $n1;
written_elsewhere($n1);
$n1->start;
my $mute = qr/are on another machine or file system than before: it takes no part until/;
wait_for('n1 says why it takes no part', sub { (row($n1)->{problem} // '') =~ $mute }, $limit);
like(row($n1)->{problem}, qr/make sure that no copy of it runs and call orchestra_confirm_ident/,
	'alone: and what an operator may do');
my $until = now() + 2 * $n1->register->{lease_ttl_ms} / 1000;
wait_for('it stays so', sub { die "it votes\n" if row($n1)->{problem} !~ $mute; now() > $until });
isnt($n1->psql('postgres', 'INSERT INTO writes VALUES (-1)', timeout => 10), 0,
	'alone: no commits');
isnt($n1->role, 'MASTER', 'alone: not MASTER');
is($n1->value('SELECT orchestra_confirm_identity()'), 'n1 votes again', 'alone: vouched for');
wait_for('n1 takes part', sub { (row($n1)->{problem} // '') !~ $mute }, $limit);
isnt($n1->role, 'MASTER', 'alone: one vote is no majority');
$n2->start;
is($cluster->wait_for_primary(seconds => $limit), $n1, 'with n2 it is a majority: n1 goes on');
is($n1->psql('postgres', 'INSERT INTO writes VALUES (1)', timeout => 30), 0, 'and it writes');
$cluster->end;
done_testing();
