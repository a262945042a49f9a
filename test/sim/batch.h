// Many runs: in one process or in several, counted together.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "coverage.h"
#include "plan.h"

namespace orchestra::sim {

struct Tally {
  std::uint64_t passed = 0, failed = 0;
  Coverage coverage;
};

// job(0) to job(jobs - 1) side by side, each in a process of its own if there are several; one that
// dies counts as a failure. What they print is not mixed within a line.
Tally InParallel(unsigned jobs, const std::function<Tally(unsigned job)>& job);

struct Batch {
  std::uint64_t from = 1, seeds = 100;
  std::uint64_t events = 0;  // goes on with more seeds until the core has made so many steps
  std::string schedule, mutant;
  unsigned jobs = 1;
  bool progress = false;  // a line every ten seconds
  TraceSink trace = nullptr;
};

// Prints what fails, with how to see it again.
Tally RunBatch(const Batch& batch);

}  // namespace orchestra::sim
