#!/usr/bin/env bash
# check.sh SUITE...   (unit sim regress tap chaos negative model fuzz asan)
# Runs the suites one after the other, prints what they print, counts their tests, and ends with
# one line: "N passed, N failed, N skipped". A suite that fails without naming a failed test, or in
# which nothing passed, counts as one failure more, so that a suite that does not run cannot look
# good.
set -uo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
logs=$top/build/check
mkdir -p "$logs"
jobs=2
sim_seeds=${SIM_SEEDS:-5000}
sim_events=20000000 # steps of the core, at least

run_unit() { ctest --test-dir build/cmake --output-on-failure -j "$jobs" --timeout 300; }
run_sim() {
  local status=0
  build/cmake/sim --jobs "$jobs" --seeds "$sim_seeds" --events "$sim_events" --floors || status=1
  build/cmake/sim --jobs "$jobs" --schedules || status=1
  build/cmake/sim --jobs "$jobs" --mutants || status=1
  return "$status"
}
run_regress() { tools/stage.sh tools/run_regress.sh; }
run_tap() { tools/stage.sh tools/run_tap.sh "${TESTS:-t/*.pl}"; }
run_chaos() {
  ORCHESTRA_ROOT=$ORCHESTRA_FAULTS_ROOT tools/stage.sh tools/run_tap.sh 't/chaos/*.pl'
}
run_negative() {
  local what="the product has no switch that turns a rule off"
  if grep -q ORCHESTRA_FAULT orchestra.so; then echo "not ok - $what"; else echo "ok - $what"; fi
  ORCHESTRA_ROOT=$ORCHESTRA_FAULTS_ROOT tools/stage.sh tools/run_negative.sh
}

run_model() { tools/check_model.sh build/model; }
run_fuzz() { tools/check_fuzz.sh; }
run_asan() { tools/check_asan.sh; }

# Each prints "passed failed skipped" of a suite's log.
count_unit() {
  awk '/^ *[0-9]+\/[0-9]+ Test +#/ {
    if (/ Passed /) p++; else if (/Skipped|Disabled/) s++; else f++
  } END {print p+0, f+0, s+0}' "$1"
}
count_tap() {
  awk '/^not ok / {if (/# TODO/) s++; else f++; next}
       /^ok / {if (/# [Ss][Kk][Ii][Pp]/) s++; else p++; next}
       /(^|\.\. *)skipped:/ {s++}
       /\(Wstat: [1-9].* Failed: 0\)/ {f++} # a file that did not come to its end
       END {print p+0, f+0, s+0}' "$1"
}
count_regress() {
  awk '/^test .* \.\.\. / {if (/ ok +[0-9]+ ms/) p++; else f++} END {print p+0, f+0, 0}' "$1"
}
count_sim() {
  awk '/^[0-9]+ passed, [0-9]+ failed$/ {p += $1; f += $3} END {print p+0, f+0, 0}' "$1"
}
count_chaos() { count_tap "$1"; }
count_negative() { count_tap "$1"; }
# These count for themselves; their last word is meant.
count_model() {
  awk '/^[0-9]+ passed, [0-9]+ failed$/ {p = $1; f = $3} END {print p+0, f+0, 0}' "$1"
}
count_fuzz() { count_model "$1"; }
count_asan() { count_model "$1"; }

passed=0 failed=0 skipped=0
for suite; do
  printf '\n== %s\n' "$suite"
  log=$logs/$suite.log
  export ORCHESTRA_LOGS=$top/build/logs/$suite
  "run_$suite" </dev/null 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  ((status < 128)) || { echo "interrupted"; exit "$status"; }
  read -r p f s < <("count_$suite" "$log")
  if ((p == 0 && f == 0)) || ((status != 0 && f == 0)); then
    printf '%s: ended with status %s; see build/check/%s.log\n' "$suite" "$status" "$suite"
    f=1
  fi
  printf '%s: %d passed, %d failed, %d skipped\n' "$suite" "$p" "$f" "$s" >>"$logs/summary"
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done

printf '\n'
if (($# > 1)); then cat "$logs/summary"; fi
rm -f "$logs/summary"
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
((failed == 0))
