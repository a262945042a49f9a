// Rules of the protocol switched off one at a time. A mutant is caught when the invariant that the
// rule protects, and no other, is violated within its budget; where chance alone hits the fault too
// rarely, by a directed schedule. The protocol itself must pass every directed schedule.
#pragma once
#include <string>

#include "batch.h"
#include "core/policy.h"

namespace orchestra::sim {

// False: no such mutant.
bool SwitchOff(const std::string& mutant, Policy& policy);

// Both print one line each.
Tally RunMutants(unsigned jobs);
Tally RunSchedules(unsigned jobs);

}  // namespace orchestra::sim
