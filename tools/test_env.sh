# shellcheck shell=bash
# Sourced inside tools/stage.sh: the relocated server first in PATH, and PostgreSQL's own test
# modules beside ours.
: "${PG_CONFIG:=pg_config}"
pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")/../..
bin=$ORCHESTRA_ROOT$("$PG_CONFIG" --bindir)
export PG_REGRESS=$pgxs/src/test/regress/pg_regress
export PATH=$bin:$PATH
export PERL5LIB=$ORCHESTRA_TOP/t/lib:$pgxs/src/test/perl
export TESTDIR=$ORCHESTRA_WORK PG_TEST_PORT_DIR=$ORCHESTRA_WORK/ports
