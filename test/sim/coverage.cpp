#include "coverage.h"

#include <cstdio>

namespace orchestra::sim {
namespace {

struct Row {
  const char* name;
  std::uint64_t Coverage::*count;
  std::uint64_t floor;  // for 5,000 seeds
};

constexpr Row kRows[] = {
    {"seeds", &Coverage::seeds, 5000},
    {"steps of the core", &Coverage::steps, 20'000'000},
    {"clusters created", &Coverage::clusters_created, 5000},
    {"commits acknowledged", &Coverage::acknowledged, 1000},
    {"gates opened", &Coverage::gates_opened, 1000},
    {"coordinators elected", &Coverage::coordinators, 1000},
    {"adoptions of an accepted value", &Coverage::adoptions, 1},
    {"fences at any moment", &Coverage::fences_forced, 300},
    {"committed failovers", &Coverage::failovers, 1000},
    {"  to another node", &Coverage::failovers_moved, 300},
    {"  with the old primary still running", &Coverage::failovers_primary_running, 300},
    {"  out of an inactive epoch", &Coverage::failovers_inactive, 1},
    {"acknowledgements suppressed", &Coverage::suppressed, 1000},
    {"records that fenced nodes were fed with", &Coverage::fed, 100},
    {"promotions", &Coverage::promotions, 300},
    {"activations", &Coverage::activations, 300},
    {"leases acquired", &Coverage::leases, 1000},
    {"lease expiries", &Coverage::lease_expiries, 1},
    {"proposals refused for a promise", &Coverage::promises_kept, 1},
    {"proposals refused for a hold-off", &Coverage::hold_offs, 1},
    {"crashes", &Coverage::crashes, 1},
    {"worker restarts", &Coverage::worker_restarts, 1},
    {"total restarts", &Coverage::total_restarts, 200},
    {"freezes", &Coverage::freezes, 1},
    {"suspends", &Coverage::suspends, 1},
    {"writes of the vote file that failed", &Coverage::disk_failures, 1},
    {"crashes between writing and sending", &Coverage::crashes_after_persist, 1},
    {"  in the middle of a write", &Coverage::crashes_in_write, 1},
    {"files torn beside the good one", &Coverage::torn_files, 1},
    {"renames that the directory was not synced after", &Coverage::renames_unsynced, 1},
    {"disks full for seconds", &Coverage::full_disks, 1},
    {"slow writes", &Coverage::slow_fsyncs, 1},
    {"workers held up between clock and step", &Coverage::held_up, 1},
    {"acknowledgements held up behind the gate", &Coverage::acks_paused, 1},
    {"disks rolled back", &Coverage::roll_backs, 1},
    {"disks cloned", &Coverage::clones, 1},
    {"vote files lost", &Coverage::votes_lost, 1},
    {"rejoins by an operator", &Coverage::rejoins, 1},
    {"new copies made by an operator", &Coverage::renewals, 1},
    {"suspect starts", &Coverage::suspects, 1},
    {"suspects confirmed by an operator", &Coverage::confirmed, 1},
    {"nodes expelled", &Coverage::expelled, 1},
    {"votes of outdated disks that did not count", &Coverage::outdated_ignored, 1},
    {"  that did, where nobody could know", &Coverage::outdated_counted, 0},
    {"commands", &Coverage::commands, 1},
    {"  done", &Coverage::commands_done, 1},
    {"  refused", &Coverage::commands_refused, 1},
    {"leases given up by call", &Coverage::releases, 1},
    {"RELEASEs of older requests than the newest", &Coverage::releases_late, 1},
    {"nonces without a promise", &Coverage::nonces_only, 1},
    {"campaigns of a lease holder", &Coverage::holder_campaigns, 1},
    {"changes of voters", &Coverage::voter_changes, 1},
    {"  made final", &Coverage::voter_changes_final, 1},
    {"members that joined", &Coverage::joins, 1},
    {"members removed", &Coverage::removals, 1},
    {"synchronous sets made smaller", &Coverage::sync_shrunk, 1},
    {"synchronous sets made larger", &Coverage::sync_grown, 1},
    {"  one copy only", &Coverage::degraded, 1},
    {"changes of the lease's TTL", &Coverage::ttl_changes, 1},
    {"turns of a primary in mode observe", &Coverage::observed, 1000},
    {"members of dropped clusters that left", &Coverage::left, 0},
    {"changes of mode, pause or durability", &Coverage::mode_changes, 1},
    {"starts of a primary's worker noted", &Coverage::starts_noted, 1},
    {"forced recoveries", &Coverage::forced, 1},
    {"commits written off by them", &Coverage::written_off, 1},
    {"commits lost in durability async", &Coverage::lost_async, 1},
};

unsigned long long Wide(std::uint64_t n) { return n; }

}  // namespace

void Coverage::Print() const {
  for (const Row& row : kRows) std::printf("%-40s %12llu\n", row.name, Wide(this->*row.count));
  std::printf("%-14s %10s %10s %10s %10s\n", "message", "sent", "lost", "duplicated", "reordered");
  for (std::size_t i = 0; i < kMessageKinds; i++) {
    std::printf("%-14s %10llu %10llu %10llu %10llu\n", MessageName(i), Wide(messages.sent[i]),
                Wide(messages.lost[i]), Wide(messages.duplicated[i]), Wide(messages.reordered[i]));
  }
}

std::vector<std::string> Coverage::UnderFloor() const {
  std::vector<std::string> under;
  for (const Row& row : kRows) {
    if (this->*row.count < row.floor) {
      under.push_back(std::string(row.name) + ": " + std::to_string(this->*row.count) +
                      ", the floor is " + std::to_string(row.floor));
    }
  }
  for (std::size_t i = 0; i < kMessageKinds; i++) {
    if (messages.lost[i] == 0 || messages.duplicated[i] == 0 || messages.reordered[i] == 0) {
      under.push_back(std::string(MessageName(i)) +
                      " was not lost, duplicated and reordered at least once each");
    }
  }
  return under;
}

}  // namespace orchestra::sim
