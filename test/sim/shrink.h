// Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input"): a
// plan that violates an invariant becomes as short and as quiet as it can while it violates the
// same one. With a mutant, the protocol itself must pass what is left.
#pragma once
#include <chrono>
#include <cstdint>

#include "plan.h"

namespace orchestra::sim {

struct Shrunk {
  Plan plan;
  Violation violation;
  std::uint64_t tried = 0;
};

Shrunk Shrink(const Plan& plan, const Violation& violation, std::chrono::seconds limit);

// As a golden test: a comment, the script, and what it tells.
std::string GoldenOf(const Shrunk& shrunk);

}  // namespace orchestra::sim
