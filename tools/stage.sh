#!/usr/bin/env bash
# stage.sh [--keep FILE] COMMAND [ARGUMENT...]
# Runs COMMAND where servers may run: PostgreSQL refuses root, and the clone may be under a home
# that nobody else can enter. As root, what the tests need is copied into a fresh directory of an
# unprivileged user (ORCHESTRA_TEST_USER, else postgres, else nobody) and runs there as that user;
# as anybody else it runs in the clone. COMMAND finds
#   ORCHESTRA_TOP   t/, test/, sql/, demo/, docs/ (also its current directory)
#   ORCHESTRA_ROOT  the relocated server (`make root`)
#   ORCHESTRA_WORK  a fresh directory to write in, also TMPDIR
# At the end, on Ctrl-C and on failure every process that works in ORCHESTRA_WORK is ended and the
# directory is removed; logs of a failure are kept in build/logs. --keep FILE: when COMMAND
# succeeds, all of it stays and FILE (in the clone) says where; stage.sh --end FILE ends it.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
root=${ORCHESTRA_ROOT:-$top/tmp_root}

# Processes whose current directory is in $1; a server's is its data directory.
inhabitants() {
  find /proc -mindepth 2 -maxdepth 2 -path '/proc/[0-9]*/cwd' \( -lname "$1" -o -lname "$1/*" \) \
    2>/dev/null | cut -d/ -f3
}

evict() {
  local signal pids tries
  for signal in INT KILL; do # INT: a fast shutdown
    for ((tries = 0; tries < 50; tries++)); do
      mapfile -t pids < <(inhabitants "$1")
      ((${#pids[@]})) || return 0
      if ((tries == 0)); then
        kill -"$signal" "${pids[@]}" 2>/dev/null || true
        kill -CONT "${pids[@]}" 2>/dev/null || true
      fi
      sleep 0.1
    done
  done
}

end_kept() {
  local work
  [[ -s $1 ]] || { echo "nothing is running"; return 0; }
  work=$(cat "$1")
  evict "$work"
  rm -rf "$work"
  rm -f "$1"
}

keep=
case ${1:-} in
  --end) end_kept "$2"; exit 0 ;;
  --keep) keep=$2; shift 2; end_kept "$keep" >/dev/null ;;
esac
(($#)) || { sed -n '2,/^set/s/^# //p' "$0" >&2; exit 2; }

user=
if ((EUID == 0)); then
  user=${ORCHESTRA_TEST_USER:-postgres}
  id -u "$user" >/dev/null 2>&1 || user=nobody
fi

[[ -z $user ]] || TMPDIR=/tmp # where that user can go
work=$(mktemp -d "${TMPDIR:-/tmp}/orchestra.XXXXXX")
child=

# shellcheck disable=SC2317 # runs as a trap
finish() {
  local status=$? tries
  trap '' INT TERM HUP
  if [[ -n $child ]]; then
    kill -INT -- "-$child" 2>/dev/null || true
    for ((tries = 0; tries < 100; tries++)); do
      kill -0 "$child" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL -- "-$child" 2>/dev/null || true
  fi
  if ((status == 0)) && [[ -n $keep ]]; then
    mkdir -p "$(dirname "$keep")"
    printf '%s\n' "$work" >"$keep"
    exit 0
  fi
  evict "$work"
  if ((status != 0)); then save_logs; fi
  rm -rf "$work"
  exit "$status"
}
# shellcheck disable=SC2317 # called by finish
save_logs() {
  local logs=${ORCHESTRA_LOGS:-$top/build/logs/last}
  rm -rf "$logs"
  mkdir -p "$logs"
  (cd "$work" && find . \( -name '*.log' -o -name 'regress_log_*' -o -name '*.out' \
    -o -name '*.diffs' \) -size -20M -exec cp --parents {} "$logs" \; 2>/dev/null) || true
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

run=()
if [[ -n $user ]]; then
  mkdir "$work/clone"
  for part in t test sql expected demo docs bench tools build/tools; do
    [[ -e $top/$part ]] && (cd "$top" && cp -a --parents "$part" "$work/clone")
  done
  cp -a "$root" "$work/root"
  export ORCHESTRA_TOP=$work/clone ORCHESTRA_ROOT=$work/root ORCHESTRA_WORK=$work/work
  mkdir "$ORCHESTRA_WORK"
  group=$(id -g "$user")
  chown -R "$user:$group" "$work"
  run=(setpriv "--reuid=$user" "--regid=$group" --clear-groups --)
else
  export ORCHESTRA_TOP=$top ORCHESTRA_ROOT=$root ORCHESTRA_WORK=$work
fi

# Nothing of the caller's surroundings reaches a server: not its PG* variables, locale or home.
for name in "${!PG@}"; do
  [[ $name == PG_CONFIG ]] || unset "$name"
done
unset LANGUAGE XDG_RUNTIME_DIR
export LC_ALL=C.UTF-8 LANG=C.UTF-8 HOME=$ORCHESTRA_WORK TMPDIR=$ORCHESTRA_WORK

set -m # the command becomes a process group of its own, and traps run while it does
(cd "$ORCHESTRA_TOP" && exec "${run[@]}" "$@") </dev/null &
child=$!
set +m
status=0
wait "$child" || status=$?
child=
exit "$status"
