#!/usr/bin/env bash
# The demo; inside tools/stage.sh.
set -euo pipefail
. tools/test_env.sh
exec perl demo/demo.pl "$@"
