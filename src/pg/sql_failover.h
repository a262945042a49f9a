// orchestra_failover().
#pragma once
#include <optional>
#include <string>

#include "core/types.h"

namespace orchestra::pg {

// A failover by call, which loses nothing; waits until the new epoch is active.
std::string FailoverByCall(const std::optional<std::string>& target, Micros deadline);

// With accept_data_loss: while a coordinator is heard, a failover that does without the answer of
// those who may hold commits that nobody else has; else the forced recovery of this node, without
// the lost majority of the voters.
//
// Without `confirm` it changes nothing: tells what may be lost, and the word that confirms that.
// With it, waits until there is a primary that may commit. Raises what stands against it.
std::string LossyFailover(const std::optional<std::string>& target,
                          const std::optional<std::string>& confirm, Micros deadline);

}  // namespace orchestra::pg
