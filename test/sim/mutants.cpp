#include "mutants.h"

#include <cstdio>
#include <iterator>
#include <optional>

#include "chaos.h"
#include "directed.h"

namespace orchestra::sim {
namespace {

constexpr std::uint64_t kScheduleSeeds = 20;

struct Mutant {
  const char* name;
  bool Policy::*rule;
  const char* caught_by;  // the invariant that the rule protects
  const char* schedule;   // null: chance finds it
  std::uint64_t budget;   // runs within which it must be caught
};

const Mutant kMutants[] = {
    {"promise_ignored", &Policy::honor_promise, "I1", nullptr, 200},
    {"hold_off_skipped", &Policy::hold_off, "I1", "voters-restart", kScheduleSeeds},
    {"no_adoption", &Policy::adopt_accepted, "I2", nullptr, 100},
    {"lease_from_ack", &Policy::lease_from_send, "I1", "late-acks", kScheduleSeeds},
    {"volatile_fence", &Policy::durable_fence, "I8", "fenced-restart", kScheduleSeeds},
    {"activation_skipped", &Policy::activation, "I3", nullptr, 400},
    {"fenced_lease_granted", &Policy::refuse_fenced_lease, "L1", "fence-beside-primary",
     kScheduleSeeds},
    {"no_drift_margin", &Policy::drift_margin, "I1", "drifting-clocks", kScheduleSeeds},
    {"fenced_receiver_open", &Policy::fence_receiver, "L1", "lease-race", kScheduleSeeds},
    {"any_target", &Policy::highest_target, "I3", nullptr, 100},
};

bool Caught(const Mutant& mutant, Coverage& coverage) {
  std::string others;
  for (std::uint64_t seed = 1; seed <= mutant.budget; seed++) {
    const auto violation =
        mutant.schedule ? RunSchedule(*FindSchedule(mutant.schedule), seed, mutant.name, coverage)
                        : RunSeed(seed, mutant.name, coverage);
    if (!violation) continue;
    if (violation->invariant == mutant.caught_by) {
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
    policy.*mutant.rule = false;
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
