// Rules of the protocol switched off one at a time. A mutant is caught when the invariant that the
// rule protects, and no other, is violated within its budget; where chance alone hits the fault too
// rarely, by a directed schedule. The protocol itself must pass every directed schedule.
#pragma once
#include <cstdint>
#include <string>

#include "core/policy.h"

namespace orchestra::sim {

// False: no such mutant.
bool SwitchOff(const std::string& mutant, Policy& policy);

struct MutantResult {
  std::uint64_t passed = 0, failed = 0;
};

// Prints one line a mutant.
MutantResult RunMutants();

}  // namespace orchestra::sim
