#!/usr/bin/env bash
# Runs pg_regress against a server of its own; inside tools/stage.sh.
set -euo pipefail
. tools/test_env.sh
mapfile -t tests < <(find sql -maxdepth 1 -name '*.sql' -printf '%f\n' | sed 's/\.sql$//' | sort)
"$PG_REGRESS" --bindir="$bin" --inputdir="$ORCHESTRA_TOP" --outputdir="$ORCHESTRA_WORK" \
  --temp-instance="$ORCHESTRA_WORK/instance" --temp-config=test/regress.conf \
  --dbname=contrib_regression --no-locale --encoding=UTF8 "${tests[@]}" || {
  cat "$ORCHESTRA_WORK/regression.diffs" 2>/dev/null || tail -n 50 "$ORCHESTRA_WORK"/log/*.log
  exit 1
}
