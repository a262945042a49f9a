// One random run: a cluster is formed, faults of all kinds for half a minute, healing, a writable
// cluster within a bound, then one of the cases of the design's table, and the same again.
#pragma once
#include <cstdint>
#include <optional>

#include "world.h"

namespace orchestra::sim {

// What was violated, or nothing.
std::optional<Violation> RunSeed(std::uint64_t seed, const Policy& policy, Coverage& coverage,
                                 TraceSink trace = nullptr);

// Forms a cluster of a quiet world and waits until it is writable and every standby streams.
bool FormCluster(World& world);

// The last commit was acknowledged just now, and somebody leads.
bool Well(World& world);

}  // namespace orchestra::sim
