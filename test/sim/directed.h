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

// The primary is cut off and fenced at once: its lease and its successor's must not overlap.
extern const Schedule kLeaseRace;
// The same, after renewals whose acknowledgements took more than a second.
extern const Schedule kLateAcknowledgements;
// The same, with a slow clock on the primary and fast ones on the voters.
extern const Schedule kDriftingClocks;
// The same, and the voters restart: they remember the accepted epoch, but not their promise.
extern const Schedule kVotersRestart;
// A fenced standby that has reported its end of WAL restarts while the old primary still commits.
extern const Schedule kFencedStandbyRestarts;
// FENCE while the primary still reaches one of the voters.
extern const Schedule kFenceBesideThePrimary;

std::optional<Violation> RunSchedule(const Schedule& schedule, std::uint64_t seed,
                                     const Policy& policy, Coverage& coverage,
                                     TraceSink trace = nullptr);

}  // namespace orchestra::sim
