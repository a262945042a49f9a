// What a run has been through. A simulator that never got to the interesting places proves little.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "network.h"

namespace orchestra::sim {

struct Coverage {
  std::uint64_t seeds = 0, steps = 0, acknowledged = 0, gates_opened = 0;
  std::uint64_t clusters_created = 0, coordinators = 0, adoptions = 0;
  std::uint64_t fences_forced = 0, failovers = 0, failovers_primary_running = 0;
  std::uint64_t failovers_inactive = 0, failovers_moved = 0, activations = 0, promotions = 0;
  std::uint64_t leases = 0, lease_expiries = 0, hold_offs = 0, promises_kept = 0;
  std::uint64_t crashes = 0, worker_restarts = 0, total_restarts = 0, freezes = 0, suspends = 0;
  std::uint64_t disk_failures = 0, crashes_after_persist = 0, votes_lost = 0, rejoins = 0;
  std::uint64_t torn_files = 0, renames_unsynced = 0, crashes_in_write = 0, full_disks = 0;
  std::uint64_t slow_fsyncs = 0, held_up = 0, acks_paused = 0, roll_backs = 0, clones = 0;
  std::uint64_t commands = 0, commands_done = 0, commands_refused = 0, releases = 0;
  std::uint64_t forced = 0, written_off = 0, lost_async = 0, confirmed = 0, renewals = 0;
  std::uint64_t suspects = 0, expelled = 0, outdated_ignored = 0, outdated_counted = 0,
                nonces_only = 0;
  std::uint64_t voter_changes = 0, voter_changes_final = 0, sync_shrunk = 0, sync_grown = 0;
  std::uint64_t degraded = 0, ttl_changes = 0, mode_changes = 0, observed = 0, left = 0,
                starts_noted = 0, fed = 0, suppressed = 0;
  std::uint64_t joins = 0, removals = 0, holder_campaigns = 0, releases_late = 0;
  MessageCoverage messages;

  void Print() const;
  // What is under the floors of the issue, one sentence each; empty: nothing.
  std::vector<std::string> UnderFloor() const;
};

}  // namespace orchestra::sim
