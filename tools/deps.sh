#!/usr/bin/env bash
# Names what building, testing and the demo need and, as root on Debian or Ubuntu, installs what is
# missing. Installing starts no service and enables, creates and upgrades nothing that is in use:
# what was running, enabled or clustered before is compared with what is afterwards.
set -euo pipefail

major=${PG_MAJOR:-15}
# These three are built from one source and must be of one version: an extension compiled against
# the headers of one minor release is only proven against that server.
server=("postgresql-$major" "postgresql-client-$major" "postgresql-server-dev-$major")
others=(g++ make perl cmake pkg-config libssl-dev libpq-dev libgtest-dev libgmock-dev
  libbenchmark-dev libipc-run-perl haproxy clang
  libclang-rt-dev spin)

say() { printf 'deps: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

if ! command -v dpkg-query >/dev/null; then
  say "only Debian's packages are known here; needed are the equivalents of:"
  say "  ${others[*]} ${server[*]}"
  say "(clang and libclang-rt-dev, for the fuzz targets, are clang and compiler-rt on RHEL)"
  exit 0
fi

# version of an installed package, or nothing
declare -A have=()
read_installed() {
  have=()
  local name version status
  while read -r name version status; do
    [[ $status == installed ]] && have[$name]=$version
  done < <(dpkg-query -W -f='${Package} ${Version} ${db:Status-Status}\n' \
    "${server[@]}" "${others[@]}" postgresql-common 2>/dev/null || true)
}

missing() {
  local name
  for name in "${others[@]}" "${server[@]}"; do
    [[ -n ${have[$name]:-} ]] || printf '%s\n' "$name"
  done
}

one_version() {
  local name
  for name in "${server[@]}"; do
    [[ ${have[$name]:-} == "${have[${server[0]}]:-}" ]] || return 1
  done
}

read_installed
lacking=$(missing | tr '\n' ' ')
if [[ -z $lacking ]] && one_version; then exit 0; fi

describe() {
  [[ -z $lacking ]] || say "missing: $lacking"
  [[ -n $lacking ]] || say "not of one version: $(for name in "${server[@]}"; do
    printf '%s %s  ' "$name" "${have[$name]:-}"; done)"
}
describe
if ((EUID != 0)); then
  say "as root, run:  tools/deps.sh   (installs them without starting any service)"
  say "or:  apt-get update && apt-get install --no-install-recommends ${others[*]} ${server[*]}"
  exit 1
fi

# ---- what must be the same afterwards -------------------------------------------------------

# Services that run: servers with the system's configuration. Not their children, which come and go,
# nor a server that somebody runs for a test.
running() {
  local dir pid name parent
  for dir in /proc/[0-9]*; do
    pid=${dir#/proc/}
    name=$(cat "$dir/comm" 2>/dev/null) || continue
    [[ $name == postgres || $name == haproxy ]] || continue
    tr '\0' ' ' 2>/dev/null <"$dir/cmdline" | grep -qE '/etc/(postgresql|haproxy)/' || continue
    parent=$(awk '/^PPid:/ {print $2}' "$dir/status" 2>/dev/null) || continue
    [[ $(cat "/proc/$parent/comm" 2>/dev/null) == "$name" ]] || printf '%s %s\n' "$name" "$pid"
  done | sort
}
clusters() {
  ! command -v pg_lsclusters >/dev/null || pg_lsclusters -h | awk '{print $1 "/" $2}' | sort
}
enabled() { find /etc/systemd/system /etc/rc[S0-6].d -type l 2>/dev/null | grep -v '/K' | sort; }
added() { comm -13 <(printf '%s\n' "$1") <(printf '%s\n' "$2") | grep . || true; }

running_before=$(running)
clusters_before=$(clusters)
enabled_before=$(enabled)

policy=/usr/sbin/policy-rc.d
createcluster=/etc/postgresql-common/createcluster.conf
made_policy=
saved_createcluster=
restore() {
  [[ -z $made_policy ]] || rm -f "$policy"
  made_policy=
  if [[ -n $saved_createcluster ]]; then
    cat "$saved_createcluster" >"$createcluster"
    rm -f "$saved_createcluster"
    saved_createcluster=
  fi
}
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 \
    -o Dpkg::Options::=--force-confold "$@" </dev/null >&2
}
install() { apt install --no-install-recommends "$@"; }

# The version to have of the three: the one that is here already when the archive still has it, so
# that a server in use is left alone; otherwise the archive's newest.
target_version() {
  local server_has=${have[${server[0]}]:-} headers_have=${have[${server[2]}]:-} wish candidate
  wish=${server_has:-$headers_have}
  [[ -z $server_has || -z $headers_have || $server_has == "$headers_have" ]] || wish=
  candidate=$(apt-cache policy "${server[0]}" | awk '/Candidate:/ {print $2}')
  [[ -n $candidate && $candidate != "(none)" ]] || die "the archive has no ${server[0]}"
  if [[ -n $wish ]] && apt-cache madison "${server[0]}" "${server[2]}" |
    awk -v v="$wish" '$3 == v {seen[$1]} END {exit length(seen) < 2}'; then
    printf '%s\n' "$wish"
  else
    printf '%s\n' "$candidate"
  fi
}

if [[ ! -e $policy ]]; then
  made_policy=yes
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi

apt update
version=$(target_version)
present=${have[${server[0]}]:-}
if [[ -n $present && $present != "$version" && -n $(running | grep '^postgres' || true) ]]; then
  die "${server[0]} $present has to become $version, but a PostgreSQL server is running here:" \
    "upgrade it yourself (apt-get install ${server[*]} libpq-dev) and run this again"
fi

# postgresql-common brings the switch that keeps the server package from making a cluster
[[ -e $createcluster ]] || install postgresql-common
saved_createcluster=$(mktemp)
cat "$createcluster" >"$saved_createcluster"
printf '\ncreate_main_cluster = false\n' >>"$createcluster"

pinned=()
for name in "${server[@]}"; do pinned+=("$name=$version"); done
install "${others[@]}" "${pinned[@]}"

# Packages enable their services; what was not enabled before is disabled again.
while read -r link; do
  case $link in
    /etc/systemd/*) rm -f "$link" ;;
    *) service=${link##*/S[0-9][0-9]} && update-rc.d "$service" disable ;;
  esac
done < <(added "$enabled_before" "$(enabled)" | grep -E 'postgres|haproxy' || true)
restore

# ---- and it is the same ---------------------------------------------------------------------
broken=
differs() {
  [[ -z $2 ]] || { say "installing $1: $(tr '\n' ' ' <<<"$2")"; broken=yes; }
}
differs "started a server" "$(added "$running_before" "$(running)")"
differs "ended a server" "$(added "$(running)" "$running_before")"
differs "made a cluster" "$(added "$clusters_before" "$(clusters)")"
differs "enabled a service" \
  "$(added "$enabled_before" "$(enabled)" | grep -E 'postgres|haproxy' || true)"
[[ -z $broken ]] || exit 1

read_installed
lacking=$(missing | tr '\n' ' ')
if [[ -n $lacking ]] || ! one_version; then
  describe
  exit 1
fi
say "installed; no service was started, enabled or changed"
