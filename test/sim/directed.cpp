#include "directed.h"

#include <sstream>
#include <utility>

namespace orchestra::sim {

const std::vector<Schedule>& Schedules() {
  static const std::vector<Schedule> all = [] {
    std::vector<Schedule> schedules = SchedulesOfLease();
    for (const auto& more : {SchedulesOfData(), SchedulesOfCases()})
      schedules.insert(schedules.end(), more.begin(), more.end());
    return schedules;
  }();
  return all;
}

const Schedule* FindSchedule(const std::string& name) {
  for (const Schedule& schedule : Schedules())
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
