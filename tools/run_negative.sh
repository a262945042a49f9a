#!/usr/bin/env bash
# The negative controls; inside tools/stage.sh, with the server of the FAULTS=1 build. A test file
# that says "# negative-control: RULE..." must fail when the server ignores that rule: not because
# nothing works, but by an assertion of its own. Prints TAP.
set -uo pipefail
number=0 status=0
report() { # "ok" or "not ok", what
  number=$((number + 1))
  printf '%s %d - %s\n' "$1" "$number" "$2"
  [[ $1 == ok ]] || status=1
}

if grep -q ORCHESTRA_FAULT "$(find "$ORCHESTRA_ROOT" -name orchestra.so)"; then
  report ok "the test build has the switch"
else
  report "not ok" "the test build has the switch"
fi

while IFS=: read -r file rules; do
  for rule in $rules; do
    log=$ORCHESTRA_WORK/$(basename "$file" .pl).$rule.log
    rm -rf "$ORCHESTRA_WORK/tmp_check"
    ORCHESTRA_FAULT=$rule tools/run_tap.sh "$file" >"$log" 2>&1
    if grep -q '^not ok ' "$log" && grep -q '^ok ' "$log"; then
      report ok "$file fails without the rule ($rule): $(grep -m1 '^not ok ' "$log")"
    else
      report "not ok" "$file fails without the rule ($rule)"
      tail -n 40 "$log" | sed 's/^/# /'
    fi
  done
done < <(grep -H '^# negative-control:' t/*.pl t/chaos/*.pl | sed 's/# negative-control: *//')
((number > 1)) || report "not ok" "there are negative controls"
printf '1..%d\n' "$number"
exit "$status"
