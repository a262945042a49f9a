// What the monitor of this node found by logging in to each node, for everybody else to read.
#pragma once
#include <string>
#include <vector>

#include "core/types.h"

namespace orchestra::pg {

struct LoginCheck {
  NodeId node;
  bool reachable = false;
  Micros checked_at{};  // CLOCK_MONOTONIC_RAW
  std::string text;     // what the node said of its replication, or why it cannot be reached
};

// The monitor only. Long texts are cut.
void PublishLoginChecks(const std::vector<LoginCheck>& checks);
// Empty: none yet, or they kept changing while they were read.
std::vector<LoginCheck> ReadLoginChecks();

}  // namespace orchestra::pg
