#!/usr/bin/env bash
# run_tap.sh FILE...   Runs TAP files against the relocated server; inside tools/stage.sh.
set -euo pipefail
. tools/test_env.sh
status=0
# Most of the time the clusters wait, so that three files at once do not hinder each other.
# shellcheck disable=SC2068,SC2086 # patterns are expanded here, where the files are
prove --verbose --timer --failures -j "${PROVE_JOBS:-3}" ${PROVE_FLAGS:-} $@ || status=$?
# What stopped the files that did not come to their end.
for log in "$TESTDIR"/tmp_check/log/regress_log_*; do
  grep -qE '\) 1\.\.[0-9]+' "$log" || { echo "# $log:"; tail -n 25 "$log" | sed 's/^/#   /'; }
done
exit "$status"
