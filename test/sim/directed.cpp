#include "directed.h"

#include <sstream>
#include <utility>

namespace orchestra::sim {
namespace {

const std::vector<Schedule> kSchedules = {
    // The primary is cut off and fenced at once: leases must not overlap.
    {"lease-race", R"(
      form
      isolate primary
      fence
      expect epoch 20s)"},
    // The same, after renewals whose acknowledgements took more than a second.
    {"late-acks", R"(
      form
      slow n2 -> n1 1100ms
      slow n3 -> n1 1100ms
      run 4s
      isolate primary
      fence
      expect epoch 20s)"},
    // The same, with a slow clock on the primary and fast ones on the voters.
    {"drifting-clocks", R"(
      form
      clock n1 -95
      clock n2 +95
      clock n3 +95
      run 2s
      isolate primary
      fence
      expect epoch 20s)"},
    // The same, and the voters restart: promises live in memory only.
    {"voters-restart", R"(
      form
      cast
      isolate primary
      kill coordinator
      start coordinator
      kill other
      start other
      run 60ms
      elect other
      try coordinator 1s
      fence
      expect epoch 20s)"},
    // A fenced standby that has reported its end of WAL restarts while the old primary commits.
    {"fenced-restart", R"(
      form
      cast
      cut primary coordinator
      fence
      try decided 1s
      restart other
      expect epoch 20s)"},
    // FENCE while the primary still reaches one of the voters.
    {"fence-beside-primary", R"(
      form
      cut primary coordinator
      fence
      expect epoch 20s)"},
};

}  // namespace

const std::vector<Schedule>& Schedules() { return kSchedules; }

const Schedule* FindSchedule(const std::string& name) {
  for (const Schedule& schedule : kSchedules)
    if (name == schedule.name) return &schedule;
  return nullptr;
}

std::optional<Violation> RunSchedule(const Schedule& schedule, std::uint64_t seed,
                                     const std::string& mutant, Coverage& coverage,
                                     TraceSink trace) {
  Plan plan;
  std::istringstream lines(schedule.script);
  for (std::string line; std::getline(lines, line);) {
    const Act words = WordsOf(line);
    if (words.empty() || (plan.acts.empty() && SetUp(plan, words))) continue;
    plan.acts.push_back(words);
  }
  plan.config.seed = seed;
  plan.mutant = mutant;
  return RunPlan(plan, coverage, std::move(trace));
}

}  // namespace orchestra::sim
