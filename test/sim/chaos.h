// Random runs: a cluster is formed, faults of all kinds for half a minute, healing, a writable
// cluster within a bound, then one of the cases of the design's table, and the same again.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "plan.h"

namespace orchestra::sim {

// All of it is drawn before it begins; only the noise (lost messages and the like) is drawn on the
// way, from the same seed.
Plan PlanOf(std::uint64_t seed, const std::string& mutant = "");

// What was violated, or nothing.
std::optional<Violation> RunSeed(std::uint64_t seed, const std::string& mutant, Coverage& coverage,
                                 TraceSink trace = nullptr);

}  // namespace orchestra::sim
