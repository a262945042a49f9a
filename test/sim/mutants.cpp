#include "mutants.h"

#include <cstdio>
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

// Schedules are to be passed by the protocol itself, or they prove nothing about a mutant.
bool Innocent(const char* name, Coverage& coverage) {
  const Schedule& schedule = *FindSchedule(name);
  for (std::uint64_t seed = 1; seed <= kScheduleSeeds; seed++) {
    const auto violation = RunSchedule(schedule, seed, Policy{}, coverage);
    if (!violation) continue;
    std::printf("schedule \"%s\", seed %llu: %s is violated without a mutant: %s\n", schedule.name,
                static_cast<unsigned long long>(seed), violation->invariant.c_str(),
                violation->text.c_str());
    return false;
  }
  return true;
}

bool Caught(const Mutant& mutant, Coverage& coverage) {
  Policy policy;
  policy.*mutant.rule = false;
  std::string others;
  for (std::uint64_t seed = 1; seed <= mutant.budget; seed++) {
    const auto violation = mutant.schedule
                               ? RunSchedule(*FindSchedule(mutant.schedule), seed, policy, coverage)
                               : RunSeed(seed, policy, coverage);
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

MutantResult RunMutants() {
  MutantResult result;
  Coverage coverage;
  for (const Mutant& mutant : kMutants) {
    const bool innocent = !mutant.schedule || Innocent(mutant.schedule, coverage);
    const bool caught = Caught(mutant, coverage);
    (innocent && caught ? result.passed : result.failed)++;
    std::fflush(stdout);
  }
  return result;
}

}  // namespace orchestra::sim
