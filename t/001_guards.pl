# The two guards between C++ and PostgreSQL's longjmp, in a real server.
use strict;
use warnings;
use lib 't/lib';
use Orchestra::Wait qw(wait_for);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('guards');
$node->init;
$node->append_conf('postgresql.conf', <<'EOC');
shared_preload_libraries = 'orchestra'
orchestra.role_port = 0
EOC
$node->start;
my $postmaster = slurp_file($node->data_dir . '/postmaster.pid');
$node->safe_psql('postgres', <<'EOC');
CREATE FUNCTION fail(kind text) RETURNS void
	AS 'orchestra_test', 'orchestra_test_fail' LANGUAGE C STRICT;
CREATE FUNCTION witnesses() RETURNS text
	AS 'orchestra_test', 'orchestra_test_witnesses' LANGUAGE C STRICT;
CREATE FUNCTION state() RETURNS boolean
	AS 'orchestra_test', 'orchestra_test_state' LANGUAGE C STRICT;
CREATE FUNCTION arm_hook() RETURNS void
	AS 'orchestra_test', 'orchestra_test_hook' LANGUAGE C STRICT;
CREATE FUNCTION start_worker(kind text) RETURNS void
	AS 'orchestra_test', 'orchestra_test_worker' LANGUAGE C STRICT;
CREATE TABLE outcome (n int);
EOC

# What a client sees, and how many C++ objects were destroyed on the way (six frames deep).
my %expected = (
	ereport => [ '22012', 'raised below C++', 'the detail', 'the hint' ],
	fail => [ '55P03', 'thrown', 'a detail', 'a hint' ],
	runtime_error => [ 'XX000', 'a runtime error', '', '' ],
	bad_alloc => [ '53200', 'out of memory', '', '' ],
	int => [ 'XX000', 'exception of unknown type', '', '' ],
	huge => [ '55P03', 'h' x 1023, '', '' ],);
for my $kind (sort keys %expected)
{
	my $out = $node->safe_psql('postgres', <<"EOC");
DO \$\$
DECLARE
	state text; message text; detail text; hint text;
BEGIN
	INSERT INTO outcome VALUES (1);
	BEGIN
		INSERT INTO outcome VALUES (2);
		PERFORM fail('$kind');
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
			detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
		CREATE TEMP TABLE seen AS SELECT state, message, detail, hint;
	END;
END \$\$;
SELECT concat_ws('|', state, message, detail, hint) FROM seen;
SELECT witnesses();
SELECT string_agg(n::text, ',') FROM outcome;
TRUNCATE outcome;
EOC
	my ($seen, $witnesses, $rows) = split /\n/, $out;
	is($seen, join('|', @{ $expected{$kind} }), "$kind: SQLSTATE, message, detail and hint");
	is($witnesses, '0 6', "$kind: every destructor ran");
	is($rows, '1', "$kind: its subtransaction was rolled back, the outer one goes on");
}

my ($status, $out, $err) =
  $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT fail('ereport')");
like($err, qr/ERROR:  22012: raised below C\+\+/, 'an uncaught error ends the statement');

is($node->safe_psql('postgres', 'SELECT state()'),
	't', 'exception stack and held interrupts are as before');

($status, $out, $err) = $node->psql('postgres', <<'EOC', on_error_stop => 0);
SELECT arm_hook();
SELECT 1;
SELECT 'goes on ' || witnesses();
EOC
like($err, qr/ERROR:  a runtime error/, 'an exception in a hook is an ERROR');
like($out, qr/goes on 0 4/, 'and the session goes on');

# A worker that dies of an exception says so and comes back; nobody else notices.
my $session = $node->background_psql('postgres');
my $offset = -s $node->logfile;
$node->safe_psql('postgres', "SELECT start_worker('$_')") for qw(ereport runtime_error);
my $log = '';
my $died_twice = sub {
	$log = slurp_file($node->logfile, $offset);
	return !grep {
		my $text = $_;
		2 > (() = $log =~ /worker "orchestra test" ends after an error.*\Q$text\E/g)
	} 'raised below C++', 'a runtime error';
};
ok(wait_for('both workers ended twice', $died_twice),
	'both workers died, loudly, and were started again');
like($log, qr/exited with exit code 1/, 'by themselves, not by a signal');
is($session->query_safe('SELECT 7'), '7', 'a session from before goes on');
is($node->safe_psql('postgres', 'SELECT 8'), '8', 'new sessions are let in');
is(slurp_file($node->data_dir . '/postmaster.pid'), $postmaster, 'the instance stayed up');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'nothing crashed');
$session->quit;
$node->stop;
done_testing();
