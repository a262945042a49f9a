#!/usr/bin/env bash
# run_tap.sh FILE...   Runs TAP files against the relocated server; inside tools/stage.sh.
set -euo pipefail
. tools/test_env.sh
# shellcheck disable=SC2068,SC2086 # patterns are expanded here, where the files are
exec prove --verbose --timer --failures ${PROVE_FLAGS:-} $@
