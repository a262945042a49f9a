#include "mutants.h"

#include <cstdio>
#include <iterator>
#include <optional>
#include <vector>

#include "chaos.h"
#include "directed.h"

namespace orchestra::sim {
namespace {

constexpr std::uint64_t kScheduleSeeds = 20;

struct Mutant {
  const char* name;
  std::vector<bool Policy::*> rules;  // several, where one covers what another lets through
  const char* caught_by;              // the invariant that the rule protects
  const char* schedule;               // null: chance finds it
  std::uint64_t budget;               // runs within which it must be caught
};

// Policy::recount has no mutant, for nothing can be seen of it here. A reply is counted of a node
// that is fenced durably: it takes no WAL before a newer epoch is committed, and that ends the
// failover. So what it reported under an older version of the register is still true under a newer
// one, and the same coordinator reads S from its newest proposal when it decides. The rule saves
// who reads the code that argument, and holds where a node's data is replaced while it is counted,
// which no operator may do (World::MayCopy).
// Nor has Policy::hears_before_shrink: a standby leaves S when it was not heard for a TTL. By then
// a deaf primary is out of date for the coordinator, which takes a REQUEST only of who heard one of
// its last four heartbeats (at most half a TTL), or, if it leads itself, has stepped down after
// eight of them (a TTL at most, and heartbeats come no later than WAL). The schedule
// deaf-primary-shrinks holds all of this together.
const Mutant kMutants[] = {
    {"promise_ignored", {&Policy::honor_promise}, "I1", nullptr, 300},
    {"hold_off_skipped", {&Policy::hold_off}, "I1", "voters-restart", kScheduleSeeds},
    {"no_adoption", {&Policy::adopt_accepted}, "I2", nullptr, 100},
    {"lease_from_ack", {&Policy::lease_from_send}, "I1", "late-acks", kScheduleSeeds},
    {"volatile_fence", {&Policy::durable_fence}, "I4", "fenced-restart", kScheduleSeeds},
    {"activation_skipped", {&Policy::activation}, "I3", nullptr, 200},
    {"fenced_lease_granted",
     {&Policy::refuse_fenced_lease, &Policy::newest_epoch_only},
     "L1",
     "fence-beside-primary",
     kScheduleSeeds},
    {"no_drift_margin", {&Policy::drift_margin}, "I1", "drifting-clocks", kScheduleSeeds},
    {"fenced_receiver_open", {&Policy::fence_receiver}, "L1", "lease-race", kScheduleSeeds},
    {"any_target", {&Policy::highest_target}, "I3", nullptr, 200},
    {"ballot_led_twice", {&Policy::single_lead}, "I2", nullptr, 600},
    {"deaf_coordinator", {&Policy::deaf_steps_down}, "L1", "deaf-coordinator", kScheduleSeeds},
    {"old_heartbeats", {&Policy::new_heartbeats_only}, "L2", "late-heartbeats", kScheduleSeeds},
    {"grants_itself", {&Policy::newest_epoch_only}, "L1", "grants-itself", kScheduleSeeds},
    {"no_echo", {&Policy::echo_nonce}, "L1", "one-way-cut-in", kScheduleSeeds},
    {"one_clock", {&Policy::both_clocks}, "I1", "suspended-primary", kScheduleSeeds},
    {"earliest_clock", {&Policy::latest_clock}, "I1", "runaway-clock", kScheduleSeeds},
    {"own_ttl", {&Policy::least_ttl_granted}, "I1", "shorter-lease", kScheduleSeeds},
    {"ttl_of_now", {&Policy::longest_ttl_held}, "I1", "shorter-lease-restart", kScheduleSeeds},
    {"dangling_fence", {&Policy::complete_fence}, "L1", "dangling-fence", kScheduleSeeds},
    {"orderless_fence",
     {&Policy::voters_fenced_first},
     "L1",
     "fence-reaches-nobody",
     kScheduleSeeds},
    {"inexact_counted", {&Policy::exact_only}, "I7", "inexact-ends", kScheduleSeeds},
    {"inactive_counted", {&Policy::basis_quorum}, "I3", "basis-of-inactive", kScheduleSeeds},
    {"not_gated_yet", {&Policy::gated_first}, "I5", "observe-ends-unheard", kScheduleSeeds},
    {"fed_unseen", {&Policy::fed_is_counted}, "I3", nullptr, 400},
    {"any_lineage", {&Policy::lineage}, "I3", nullptr, 400},
    {"register_first", {&Policy::sync_order}, "I11", nullptr, 100},
    {"request_dropped", {&Policy::request_stands}, "I11", nullptr, 300},
    {"start_not_noted",
     {&Policy::start_noted, &Policy::peer_memory},
     "I11",
     "late-request",
     kScheduleSeeds},
    {"acks_by_register", {&Policy::ack_by_setting}, "I12", nullptr, 900},
    {"no_barrier", {&Policy::sync_barrier}, "I12", "barrier", kScheduleSeeds},
    {"new_voters_only", {&Policy::joint_quorums}, "I2", "voters-grow", kScheduleSeeds},
    {"joint_too_short", {&Policy::joint_waits}, "I5", "voters-grow", kScheduleSeeds},
    {"old_voters_grant", {&Policy::voters_known}, "I5", "voters-unknown", kScheduleSeeds},
    {"no_veto", {&Policy::lease_is_veto}, "L1", "unreachable-primary", kScheduleSeeds},
    {"peers_forget", {&Policy::peer_memory}, "I14", "voter-rolled-back", kScheduleSeeds},
    {"suspect_votes", {&Policy::suspect_is_mute}, "I9", "snapshot-beside", kScheduleSeeds},
    {"release_all", {&Policy::release_up_to_seq}, "I13", "late-release", kScheduleSeeds},
    {"released_counts",
     {&Policy::released_stay_released},
     "I1",
     "late-acks-of-released",
     kScheduleSeeds},
};

std::optional<Violation> RunOnce(const Mutant& mutant, std::uint64_t seed, const std::string& off,
                                 Coverage& coverage) {
  return mutant.schedule ? RunSchedule(*FindSchedule(mutant.schedule), seed, off, coverage)
                         : RunSeed(seed, off, coverage);
}

// What the protocol itself does not pass either proves nothing about a mutant.
bool Caught(const Mutant& mutant, Coverage& coverage) {
  std::string others;
  for (std::uint64_t seed = 1; seed <= mutant.budget; seed++) {
    const auto violation = RunOnce(mutant, seed, mutant.name, coverage);
    if (!violation) continue;
    if (violation->invariant == mutant.caught_by && !RunOnce(mutant, seed, "", coverage)) {
      std::printf("mutant %-22s caught by %s, %s seed %llu: %s\n", mutant.name, mutant.caught_by,
                  mutant.schedule ? mutant.schedule : "random",
                  static_cast<unsigned long long>(seed), violation->text.c_str());
      return true;
    }
    if (others.find(violation->invariant) == std::string::npos) {
      others += (others.empty() ? "" : ", ") + violation->invariant;
    }
  }
  std::printf("mutant %-22s SURVIVED: %s held for %llu runs%s%s\n", mutant.name, mutant.caught_by,
              static_cast<unsigned long long>(mutant.budget),
              others.empty() ? "" : ", though violated were ", others.c_str());
  return false;
}

}  // namespace

bool SwitchOff(const std::string& name, Policy& policy) {
  for (const Mutant& mutant : kMutants) {
    if (name != mutant.name) continue;
    for (const auto rule : mutant.rules) policy.*rule = false;
    return true;
  }
  return false;
}

Tally RunMutants(unsigned jobs) {
  return InParallel(jobs, [jobs](unsigned job) {
    Tally tally;
    for (std::size_t i = job; i < std::size(kMutants); i += jobs) {
      (Caught(kMutants[i], tally.coverage) ? tally.passed : tally.failed)++;
      std::fflush(stdout);
    }
    return tally;
  });
}

Tally RunSchedules(unsigned jobs) {
  return InParallel(jobs, [jobs](unsigned job) {
    Tally tally;
    for (std::size_t i = job; i < Schedules().size(); i += jobs) {
      const char* name = Schedules()[i].name;
      Batch batch;
      batch.seeds = kScheduleSeeds;
      batch.schedule = name;
      const Tally runs = RunBatch(batch);
      std::printf("schedule %-22s %s\n", name, runs.failed == 0 ? "passed" : "FAILED");
      (runs.failed == 0 ? tally.passed : tally.failed)++;
      std::fflush(stdout);
    }
    return tally;
  });
}

}  // namespace orchestra::sim
