// Schedules that set up by hand what chance meets too rarely. Each begins with a healthy cluster of
// three (n1 primary, another node coordinator) in a world without other faults, and ends with a
// writable cluster unless an invariant was violated on the way.
#pragma once
#include <cstdint>
#include <optional>

#include "world.h"

namespace orchestra::sim {

struct Schedule {
  const char* name;
  void (*run)(World& world);
};

// By name, or null:
//   lease-race            the primary is cut off and fenced at once: leases must not overlap
//   late-acks             the same, after renewals whose acknowledgements took more than a second
//   drifting-clocks       the same, with a slow clock on the primary and fast ones on the voters
//   voters-restart        the same, and the voters restart: promises live in memory only
//   fenced-restart        a fenced standby that has reported its end of WAL restarts while the old
//                         primary still commits
//   fence-beside-primary  FENCE while the primary still reaches one of the voters
const Schedule* FindSchedule(const std::string& name);

std::optional<Violation> RunSchedule(const Schedule& schedule, std::uint64_t seed,
                                     const Policy& policy, Coverage& coverage,
                                     TraceSink trace = nullptr);

}  // namespace orchestra::sim
