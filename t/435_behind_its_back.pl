# What orchestra sets in PostgreSQL is changed behind its back: ALTER SYSTEM refuses it, an edited
# file is noticed, set again and told, and no commit is acknowledged with less than the register
# asks for meanwhile.
# negative-control: no_gate
use strict;
use warnings;
use Orchestra::Cluster;
use Orchestra::Look qw(standby_coordinator marks events_since);
use Orchestra::Session;
use Orchestra::Wait qw(wait_for now);
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = Orchestra::Cluster->new(nodes => 3, lease_ttl_ms => 1000)->form;
my ($n1, $n2, $n3) = $cluster->nodes;
my $coordinator = standby_coordinator($cluster, $n1);
my $name = 'synchronous_standby_names';

sub auto_conf { my ($node) = @_; return $node->data_dir . '/postgresql.auto.conf' }
sub names { return $n1->value("SHOW $name") }
sub reload { return $n1->value('SELECT pg_reload_conf()') }

sub edit
{
	my ($change) = @_;
	local $_ = slurp_file(auto_conf($n1));
	$change->();
	my $file = auto_conf($n1) . '.edited';
	unlink $file;
	append_to_file($file, $_);
	chmod 0600, $file;
	rename $file, auto_conf($n1) or die $!;
	return;
}

wait_for('both standbys are counted', sub { names() eq 'ANY 1 ("n2", "n3")' });

# ---- ALTER SYSTEM
for my $node ($n1, $n2)
{
	my $before = slurp_file(auto_conf($node));
	for my $statement ("SET $name = ''", "SET $name = '*'", "SET Synchronous_STANDBY_names = 'n2'",
		"RESET $name", 'SET orchestra.sync_generation = 7', 'RESET ALL')
	{
		my (undef, undef, $err) = $node->psql('postgres',
			"\\set VERBOSITY verbose\nALTER SYSTEM $statement");
		like($err, qr/ERROR:  55006: cannot change "\S+": orchestra sets it on this node.*HINT:/s,
			$node->name . ": refused: $statement");
	}
	is(slurp_file(auto_conf($node)), $before, $node->name . ': its file is as it was');
	$node->safe_psql('postgres', "ALTER SYSTEM $_") for q(SET work_mem = '5MB'), 'RESET work_mem';
	is(slurp_file(auto_conf($node)), $before, $node->name . ': others can be set, and reset');
}

# ---- The file is edited by hand, and reloaded.
my $writer = $cluster->writer('w', patience_ms => 10_000);
$writer->wait_for_acknowledged(200);
my $begun = now();
my $told = 0;
for my $case (
	[ 'another value', sub { s/^$name = .*$/$name = 'ANY 1 ("n2")'/m }, q{ANY 1 ('n2')} ],
	[ 'no value', sub { s/^$name = .*$/$name = ''/m }, '' ],
	[ 'a second line', sub { $_ .= "$name = 'FIRST 1 (n3)'\n" }, 'FIRST 1 (n3)' ],
	[ 'the lines taken out', sub { s/^($name|orchestra\.sync_generation) = .*\n//mg }, '' ],
	[ 'a setting of everybody', sub { s/^$name = .*$/$name = '*'/m }, '*' ])
{
	my ($what, $change, $seen) = @$case;
	my $marks = marks($cluster);
	edit($change);
	reload();
	my $event = wait_for("$what: told", sub {
		(grep { $_->{event} eq 'setting_repaired' } events_since($marks, $n1))[0] });
	is("$event->{node}: $event->{reason}", "n1: $name had been set by hand to ($seen) on n1",
		"$what: the log tells it");
	is(names(), 'ANY 1 ("n2", "n3")', "$what: repaired");
	is(join(' ', slurp_file(auto_conf($n1)) =~ /^$name = (.*)$/mg), q('ANY 1 ("n2", "n3")'),
		"$what: in the file, too");
	$told++;
}
wait_for('the audit has all of them', sub {
	$n1->value(qq(SELECT count(*) FROM orchestra_change
	                WHERE detail LIKE '$name had been set by hand to (%) on n1')) == $told });
pass('the audit has all of them');

# What does not come into force is nobody's business.
my $marks = marks($cluster);
append_to_file($n1->data_dir . '/other.conf', "$name = 'n9'\nwork_mem = '7MB'\n");
append_to_file($n1->data_dir . '/postgresql.conf', "\ninclude_if_exists = 'other.conf'\n");
reload();
wait_for('loaded', sub { $n1->value('SHOW work_mem') eq '7MB' });
is(names(), 'ANY 1 ("n2", "n3")', 'postgresql.conf: not in force');
is(scalar(grep { $_->{event} eq 'setting_repaired' } events_since($marks, $n1)), 0,
	'postgresql.conf: nothing to repair');
unlink $n1->data_dir . '/other.conf';

# ---- It cannot be repaired: a file that is included last. Everybody is told as long as that lasts.
append_to_file($n1->data_dir . '/last.conf', "$name = ''\n");
edit(sub { $_ .= "include_if_exists = 'last.conf'\n" });
reload();
wait_for('status on every node tells it', sub {
	for my $node ($cluster->nodes)
	{
		my %status = $node->status;
		return if ($status{n1}{problem} // '') !~ /\b$name is overridden by hand: it is \(\)/;
	}
	1 });
pass('a file behind it: a problem on every node');
wait_for('so does the finding', sub {
	my ($rule) = $coordinator->rows(q(SELECT * FROM orchestra_analysis() WHERE source = 'rules'));
	$rule->{evidence} =~ /on n1 $name is overridden/ });
pass('a file behind it: in the evidence of the finding');
unlink $n1->data_dir . '/last.conf';
reload();
wait_for('in force again', sub {
	my %status = $n1->status;
	names() eq 'ANY 1 ("n2", "n3")' && !defined $status{n1}{problem} });
edit(sub { s/^include_if_exists.*\n//m });
$writer->wait_for_acknowledged(200, after => now());
is($writer->stop->verdict($n1, $begun, before => 100, after => 200)->{problem}, '',
	'nothing that was acknowledged is lost');

# ---- A commit waits for a standby, and somebody gives up waiting for all of them.
$cluster->relay->cut('n1', $_->name, 'pg') for $n2, $n3;
$cluster->relay->reset('n1', $_->name, 'pg') for $n2, $n3;
my $session = Orchestra::Session->new($n1);
$session->say('INSERT INTO writes VALUES (-1)');
my $waiting = q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep');
wait_for('a commit waits', sub { $n1->value($waiting) == 1 });
edit(sub { s/^$name = .*$/$name = ''/m });
reload();
wait_for('nobody waits any more', sub { $n1->value($waiting) == 0 });
wait_for('it is answered or dropped', sub {
	$session->text =~ /INSERT 0 1|server closed the connection|terminating connection/ });
is($session->done, 0, 'a commit that was given up is not acknowledged');
$cluster->relay->heal;
wait_for('repaired', sub { names() eq 'ANY 1 ("n2", "n3")' });
wait_for('commits pass', sub {
	$n1->psql('postgres', 'INSERT INTO writes VALUES (-2)', timeout => 5) == 0 });
is($n1->role, 'MASTER', 'the same primary goes on');

# ---- In mode observe the setting is the administrator's.
$n1->safe_psql('postgres', q(SELECT orchestra_set_mode('observe')));
$n1->safe_psql('postgres', "ALTER SYSTEM SET $name = ''");
pass('mode observe: not refused');
$n1->safe_psql('postgres', q(SELECT orchestra_set_mode('automatic')));
wait_for('set again', sub { names() eq 'ANY 1 ("n2", "n3")' });
$cluster->end;
done_testing();
