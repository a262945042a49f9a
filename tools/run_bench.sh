#!/usr/bin/env bash
# Benchmarks on real servers; inside tools/stage.sh.
set -euo pipefail
. tools/test_env.sh
perl bench/cluster.pl "$@"
