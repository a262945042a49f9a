// Schedules that set up by hand what chance meets too rarely, as scripts. Each begins with a
// healthy cluster in a world without other faults and ends as it must, unless an invariant was
// violated on the way. What they are about is where they are: schedules_*.cpp.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "plan.h"

namespace orchestra::sim {

struct Schedule {
  const char* name;
  const char* script;  // without "> "
};

std::vector<Schedule> SchedulesOfLease();
std::vector<Schedule> SchedulesOfData();
std::vector<Schedule> SchedulesOfCases();
const std::vector<Schedule>& Schedules();               // all of them
const Schedule* FindSchedule(const std::string& name);  // or null

std::optional<Violation> RunSchedule(const Schedule& schedule, std::uint64_t seed,
                                     const std::string& mutant, Coverage& coverage,
                                     TraceSink trace = nullptr);

}  // namespace orchestra::sim
