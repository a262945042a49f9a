// orchestra_failover(accept_data_loss => true).
#pragma once
#include <optional>
#include <string>

#include "core/types.h"

namespace orchestra::pg {

// Without `confirm` it changes nothing: tells what may be lost, and the word that confirms that.
// With it, waits until this node is a primary that may commit. Raises what stands against it.
std::string ForcedFailover(const std::optional<std::string>& target,
                           const std::optional<std::string>& confirm, Micros deadline);

}  // namespace orchestra::pg
