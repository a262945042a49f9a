#!/usr/bin/env bash
# check_model.sh [BUILD_DIR]
# Searches every state of the spin models in test/model. A model as it is must have no error; with a
# rule left out (BROKEN_*) an assertion must fail, and so it must where the claim is that something
# interesting never happens (REACH_*). One line a run, and at the end "N passed, N failed".
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$top/build/model}

for tool in spin gcc; do
  command -v "$tool" >/dev/null || {
    printf 'check-model: there is no %s here; "make deps" installs it\n' "$tool" >&2
    exit 1
  }
done

# The runs of the models as they are, and with which definitions a switch is tried.
good=(
  "register_lease"
  "wal_fence"
  "wal_fence K1=2"
  "membership OLD=1 NEW=7"
  "membership OLD=7 NEW=1"
  "membership OLD=7 NEW=28 ONE_BALLOT"
  "sync_set"
  "release"
)
declare -A with=([membership]="OLD=7 NEW=1" [BROKEN_NO_BASIS]="K1=2")

passed=0 failed=0
report() { # "ok" or "not ok", what
  printf '%s - %s\n' "$1" "$2"
  if [[ $1 == ok ]]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

# search MODEL DEFINITION...: leaves the verifier's output in $log
search() {
  local model=$1 dir defines=()
  shift
  for definition; do defines+=("-D$definition"); done
  dir=$build/$model$(printf -- '-%s' "$@")
  dir=${dir%-}
  rm -rf "$dir"
  mkdir -p "$dir"
  log=$dir/log
  (cd "$dir" && spin -a "${defines[@]}" "$top/test/model/$model.pml" &&
    gcc -O1 -DSAFETY -DNOREDUCE -DMEMLIM=2000 -w -o pan pan.c &&
    timeout 300 ./pan -E -m10000 -w22) </dev/null >"$log" 2>&1
  states=$(awk '/ states, stored/ {printf "%.0f", $1}' "$log")
  transitions=$(awk '/ transitions \(/ {printf "%.0f", $1}' "$log")
}

# run must-hold|must-fail MODEL DEFINITION...
run() {
  local must=$1 what="" result
  shift
  what="$1 ${*:2}"
  search "$@"
  result="${what% }: ${states:-no} states, ${transitions:-no} transitions"
  local full=yes
  if grep -qE 'depth too small|not completed|out of memory' "$log"; then full=; fi
  if [[ $must == must-hold ]]; then
    if [[ $full ]] && grep -q 'errors: 0$' "$log"; then
      report ok "$result"
      return
    fi
  elif grep -q 'assertion violated' "$log" && grep -q 'errors: 1$' "$log"; then
    report ok "$result, fails as it must"
    return
  fi
  report "not ok" "$result; see ${log#"$top"/}"
  grep -E 'assertion violated|rror|depth too small|memory' "$log" | head -n 5 | sed 's/^/# /'
}

for configuration in "${good[@]}"; do
  read -ra words <<<"$configuration"
  run must-hold "${words[@]}"
done
for file in "$top"/test/model/*.pml; do
  model=$(basename "$file" .pml)
  mapfile -t switches < <(grep -oE '\b(BROKEN|REACH)_[A-Z_]+' "$file" | sort -u)
  for switch in "${switches[@]}"; do
    read -ra words <<<"${with[$model]:-} ${with[$switch]:-}"
    run must-fail "$model" "$switch" "${words[@]}"
  done
done
printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
