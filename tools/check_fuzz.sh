#!/usr/bin/env bash
# check_fuzz.sh            builds the fuzz targets (test/fuzz/NAME_fuzz.cpp) in build/fuzz, and runs
#                          each on its corpus and then on for a while; two at a time
# check_fuzz.sh --corpus   writes the seeds in test/fuzz/corpus anew, after a change of a format
#
# FUZZ_SECONDS  for each target (15)          FUZZ_SEED  of the first random choice (1)
# FUZZ_TARGETS  names of targets (all)        CLANGXX    the compiler (clang++)
#
# An input that fails is kept in build/fuzz/crashes. Last line: "N passed, N failed".
set -uo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
build=build/fuzz
crashes=$build/crashes
work=$build/work
corpus=test/fuzz/corpus
compiler=${CLANGXX:-clang++}
export ASAN_OPTIONS=quarantine_size_mb=64 UBSAN_OPTIONS=print_stacktrace=1

die() { printf 'check_fuzz: %s\n' "$*" >&2; exit 1; }

build_targets() {
  command -v "$compiler" >/dev/null ||
    die "there is no $compiler: install clang (Debian and RHEL: package clang)"
  mkdir -p "$build"
  echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
    "$compiler" -x c++ -fsanitize=fuzzer,address,undefined -o "$build/probe" - 2>/dev/null ||
    die "$compiler has no libFuzzer or no sanitizers: install its run-time library (Debian:" \
      "package libclang-rt-dev, RHEL: compiler-rt)"
  cmake -S . -B "$build" -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=None \
    -DCMAKE_CXX_FLAGS="-O1 -g1" -DORCHESTRA_SANITIZE=ON -DORCHESTRA_FUZZ=ON \
    -DCMAKE_MESSAGE_LOG_LEVEL=WARNING >/dev/null || die "cmake failed"
  cmake --build "$build" -j2 --target fuzz || die "the targets do not build"
}

seeds_of() { # target, folder
  rm -rf "$2"
  mkdir -p "$2"
  "$build/$1_fuzz" --seeds "$2" || die "$1 writes no seeds"
}

write_corpus() {
  local name
  for name in "${all[@]}"; do
    mkdir -p "$corpus/$name"
    rm -f "$corpus/$name"/seed-*
    seeds_of "$name" "$work/$name/seeds"
    cp "$work/$name"/seeds/seed-* "$corpus/$name/"
  done
  du -sh --apparent-size "$corpus"
}

# Seeds of an old format are refused at once, and would prove nothing.
seeds_are_current() { # target
  seeds_of "$1" "$work/$1/seeds"
  diff <(cd "$work/$1/seeds" && sha256sum seed-*) \
    <(cd "$corpus/$1" 2>/dev/null && sha256sum seed-*) >/dev/null 2>&1
}

fuzz() { # program, its name, corpus
  rm -rf "$work/$2/found"
  mkdir -p "$work/$2/found"
  "$build/$1" -max_total_time="${FUZZ_SECONDS:-15}" -timeout=10 -rss_limit_mb=2048 \
    -seed="${FUZZ_SEED:-1}" -print_final_stats=1 -report_slow_units=60 \
    -artifact_prefix="$crashes/$2-" "$work/$2/found" "$3" >"$work/$2/log" 2>&1 </dev/null
}
runs_of() { awk '/^stat::number_of_executed_units:/ {print $2}' "$work/$1/log"; }
what_failed() {
  grep -m1 -E 'broken: |runtime error: |ERROR: (Address|Leak)Sanitizer|ERROR: libFuzzer' \
    "$work/$1/log" || echo "see $work/$1/log"
}

report() { # target; prints its lines
  local status=0 runs
  fuzz "$1_fuzz" "$1" "$corpus/$1" || status=$?
  runs=$(runs_of "$1")
  if ((status == 0 && ${runs:-0} > 0)); then
    echo "ok - fuzz $1: $runs runs"
    return
  fi
  echo "not ok - fuzz $1: $(what_failed "$1")"
  sed -nE "s|.*Test unit written to (.*)|  replay: $build/$1_fuzz \1|p" "$work/$1/log"
}

# The whole of it proves nothing unless a fault is found and kept.
check_itself() {
  mkdir -p "$work/planted/seeds"
  printf o >"$work/planted/seeds/o"
  if ! fuzz planted planted "$work/planted/seeds" &&
    [[ $(what_failed planted) == *heap-buffer-overflow* ]] &&
    rm "$(sed -nE 's/.*Test unit written to //p' "$work/planted/log")"; then
    echo "ok - fuzz: a planted fault is found"
  else
    echo "not ok - fuzz: a planted fault is found"
  fi
}

check_corpus() {
  local name stale=
  for name in "${all[@]}"; do seeds_are_current "$name" || stale+=" $name"; done
  if [[ -z $stale ]]; then
    echo "ok - fuzz: the seeds are of the present format"
  else
    echo "not ok - fuzz: the seeds are of the present format (make fuzz-corpus), but:$stale"
  fi
}

all=()
for source in test/fuzz/*_fuzz.cpp; do
  name=${source##*/}
  all+=("${name%_fuzz.cpp}")
done
build_targets
mkdir -p "$crashes" "$work"
if [[ ${1:-} == --corpus ]]; then
  write_corpus
  exit
fi

results=$work/results
{
  check_itself
  check_corpus
  read -ra wanted <<<"${FUZZ_TARGETS:-${all[*]}}"
  for name in "${wanted[@]}"; do
    while (($(jobs -rp | wc -l) >= 2)); do wait -n; done
    report "$name" &
  done
  wait
} | tee "$results"
passed=$(grep -c '^ok ' "$results")
failed=$(grep -c '^not ok ' "$results")
printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0 && passed > 2))
