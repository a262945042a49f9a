#!/bin/sh
# docs/reference.md names everything that users meet: SQL functions with their result columns,
# tables, settings, answers of the role port, events of the log. Usage: reference.sh SOURCE_TREE
# Checks itself first: each kind of name must be found in the sources at all, and a name that is
# missing must be noticed.
# shellcheck disable=SC2317 # functions are called by their names
set -u
cd "$1" || exit 1

functions() {
  sed -nE 's/^CREATE FUNCTION (orchestra_[a-z_]+).*/\1/p' sql/install/orchestra--*.sql
}
tables() { sed -nE 's/^CREATE TABLE (orchestra_[a-z_]+).*/\1/p' sql/install/orchestra--*.sql; }
columns() { sed -nE 's/^ +OUT ([a-z_]+) .*/\1/p' sql/install/orchestra--*.sql; }
settings() {
  sed -nE 's/.*Define[A-Za-z]*\("(orchestra\.[a-z_]+)".*/\1/p
    s/.* k[A-Za-z]+\[\] = "(orchestra\.[a-z_]+)";/\1/p' src/pg/*.cpp
}
answers() {
  sed -n '/^const char\* RoleAnswer/,/^}/p' src/core/board.cpp | grep -oE '"[A-Z]+"' | tr -d '"'
}
events() {
  sed -n '/^const char\* NoteName/,/^}/p' src/core/*.cpp | sed -nE 's/.*return "([a-z_]+)";.*/\1/p'
  sed -nE 's/.*[^a-zA-Z]Log\("([a-z_]+)".*/\1/p' src/pg/monitor.cpp
}

# Names from standard input that the text on file $1 lacks, as words in backquotes.
missing() {
  sort -u | while read -r name; do
    grep -qE "\`([^\`]*[^a-z_.])?$name([^a-zA-Z_.][^\`]*)?\`" "$1" || echo "$name"
  done
}

failed=0
scratch=$(mktemp) || exit 1
trap 'rm -f "$scratch"' EXIT
for kind in functions tables columns settings answers events; do
  found=$($kind | sort -u | grep -c .)
  if [ "$found" -lt 3 ]; then
    echo "only $found $kind found in the sources: this test has lost them"
    failed=1
  fi
  # The first of them taken out of the text must be missed.
  first=$($kind | sort -u | head -n 1)
  sed "s/$first/gone/g" docs/reference.md >"$scratch"
  if [ -z "$($kind | missing "$scratch")" ]; then
    echo "$kind: a missing $first was not noticed"
    failed=1
  fi
  for name in $($kind | missing docs/reference.md); do
    echo "docs/reference.md does not name this of the $kind: $name"
    failed=1
  done
done
exit $failed
