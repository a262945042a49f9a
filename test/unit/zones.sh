#!/bin/sh
# The zones (docs/architecture.md): what each folder may include. Usage: zones.sh SOURCE_TREE
# Checks itself first: a breach of each rule, planted in a scratch tree, must be found.
set -u

# Prints every breach in tree $1, one a line.
breaches() {
  (
    cd "$1" || exit 1
    # The core's only conditional lines are none: tests and the product compile the same sources.
    grep -rnE '^[[:space:]]*#[[:space:]]*(if|ifdef|ifndef|elif|else|endif)\b' src/core
    grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' src/core | grep -vE '"core/'
    # Standard C++ headers have neither a folder nor an extension.
    grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*<' src/core | grep -vE '<[a-z_0-9]+>'
    grep -rnE '^[[:space:]]*#[[:space:]]*include.*(postgres\.h|[<"]pg/)' src/net src/core
    # How nodes agree is behind core/backend.h: only the consensus worker knows the service itself.
    grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"core/(consensus|machine)\.h"' src |
      grep -vE '^src/(core|pg/consensus_[a-z]+\.(h|cpp):)'
    # Only src/pg includes src/pg.
    find src -path src/pg -prune -o -type f \( -name '*.h' -o -name '*.cpp' \) \
      -exec grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]pg/' /dev/null {} +
  ) 2>/dev/null
}

expect_breach() { # file, line
  mkdir -p "$scratch/src/core" "$scratch/src/net" "$scratch/src/cli"
  printf '%s\n' "$2" >"$scratch/src/$1"
  if [ -z "$(breaches "$scratch")" ]; then
    echo "this breach was not noticed: src/$1: $2"
    failed=1
  fi
  rm "$scratch/src/$1"
}

failed=0
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
expect_breach core/a.cpp '#ifdef TEST'
expect_breach core/a.cpp '#  if 0'
expect_breach core/a.h '#ifndef CORE_A_H'
expect_breach core/a.cpp '#include "net/b.h"'
expect_breach core/a.cpp '#include <sys/socket.h>'
expect_breach core/a.cpp '#include <unistd.h>'
expect_breach net/a.cpp '#include "postgres.h"'
expect_breach net/a.cpp '#include "pg/pg.h"'
expect_breach cli/a.cpp '#include "pg/pg.h"'
expect_breach net/a.cpp '#include "core/consensus.h"'
expect_breach cli/a.cpp '#include "core/machine.h"'
if [ -n "$(breaches "$scratch")" ]; then
  echo "a breach was seen where there is none"
  failed=1
fi

found=$(breaches "$1")
if [ ! -d "$1/src/core" ] || [ -n "$found" ]; then
  echo "breaches in $1:"
  echo "$found"
  failed=1
fi
exit $failed
