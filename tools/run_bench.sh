#!/usr/bin/env bash
# run_bench.sh NAME [ARGUMENT...]   A benchmark on real servers, bench/NAME.pl; inside
# tools/stage.sh.
set -euo pipefail
. tools/test_env.sh
perl "bench/$1.pl" "${@:2}"
