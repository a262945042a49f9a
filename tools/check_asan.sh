#!/usr/bin/env bash
# check_asan.sh   unit tests, tests of the simulator, and ASAN_SEEDS (150) random runs of it, under
#                 AddressSanitizer and UndefinedBehaviorSanitizer; any report ends a test as failed.
#                 Built in build/asan. Last line: "N passed, N failed".
set -uo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
build=build/asan
log=$build/check.log
export ASAN_OPTIONS=halt_on_error=1:detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

die() { printf 'check_asan: %s\n' "$*" >&2; exit 1; }

mkdir -p "$build"
cmake -S . -B "$build" -DORCHESTRA_SANITIZE=ON -DCMAKE_BUILD_TYPE=None \
  -DCMAKE_CXX_FLAGS="-O1 -g1" -DCMAKE_MESSAGE_LOG_LEVEL=WARNING >/dev/null || die "cmake failed"
cmake --build "$build" -j2 --target unit_tests sim_tests sim || die "it does not build"

{
  ctest --test-dir "$build" --output-on-failure -j2 --timeout 300
  "$build/sim" --seeds "${ASAN_SEEDS:-150}" || echo "sim ended with status $?"
} </dev/null 2>&1 | tee "$log"

# A test or a simulator that does not come to its end, or a suite without tests, counts as failed.
read -r passed failed < <(awk '
  /^ *[0-9]+\/[0-9]+ Test +#/ {if (/ Passed /) tests++; else if (!/Skipped|Disabled/) failed++}
  /^[0-9]+ passed, [0-9]+ failed$/ {runs += $1; failed += $3; told = 1}
  /^sim ended with status/ {bad = 1}
  END {
    if (!tests) failed++
    if (!told || (bad && !failed)) failed++
    print tests + runs, failed + 0
  }
' "$log")
printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
