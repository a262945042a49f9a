#include "batch.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <vector>

#include "chaos.h"
#include "directed.h"

namespace orchestra::sim {
namespace {

// A tally is counters only: it goes through a pipe as it is, and is added up number by number.
static_assert(std::is_trivially_copyable_v<Tally> && sizeof(Tally) % sizeof(std::uint64_t) == 0);
using Counters = std::array<std::uint64_t, sizeof(Tally) / sizeof(std::uint64_t)>;

void Add(Tally& sum, const Tally& part) {
  Counters a;
  Counters b;
  std::memcpy(a.data(), &sum, sizeof a);
  std::memcpy(b.data(), &part, sizeof b);
  for (std::size_t i = 0; i < a.size(); i++) a[i] += b[i];
  std::memcpy(static_cast<void*>(&sum), a.data(), sizeof a);
}

struct Child {
  pid_t pid = -1;
  int pipe = -1;
};

Child Spawn(unsigned number, const std::function<Tally(unsigned)>& job) {
  int ends[2];
  if (pipe(ends) != 0) return {};
  const pid_t pid = fork();
  if (pid == 0) {
    const Tally tally = job(number);
    std::fflush(stdout);
    const bool told = write(ends[1], &tally, sizeof tally) == ssize_t{sizeof tally};
    _exit(told ? 0 : 1);
  }
  close(ends[1]);
  return {pid, ends[0]};
}

Tally Collect(const Child& child) {
  Tally tally;
  char* at = reinterpret_cast<char*>(&tally);
  std::size_t missing = sizeof tally;
  while (child.pipe >= 0 && missing > 0) {
    const ssize_t n = read(child.pipe, at, missing);
    if (n <= 0) break;
    at += n;
    missing -= static_cast<std::size_t>(n);
  }
  if (child.pipe >= 0) close(child.pipe);
  if (child.pid > 0) waitpid(child.pid, nullptr, 0);
  if (missing == 0) return tally;
  std::printf("a process of the simulator died\n");
  tally = Tally{};
  tally.failed = 1;
  return tally;
}

unsigned long long Wide(std::uint64_t n) { return n; }

class Progress {
 public:
  void Tell(const Tally& tally, std::uint64_t seed) {
    const auto now = std::chrono::steady_clock::now();
    if (now - told_ < std::chrono::seconds(10)) return;
    const Coverage& c = tally.coverage;
    const double passed = std::chrono::duration<double>(now - told_).count();
    std::printf(
        "seed %llu: %llu runs, %llu steps (%.0f/s), %llu acknowledged, %llu failovers, "
        "%llu violations\n",
        Wide(seed), Wide(c.seeds), Wide(c.steps), static_cast<double>(c.steps - steps_) / passed,
        Wide(c.acknowledged), Wide(c.failovers), Wide(tally.failed));
    std::fflush(stdout);
    told_ = now;
    steps_ = c.steps;
  }

 private:
  std::chrono::steady_clock::time_point told_ = std::chrono::steady_clock::now();
  std::uint64_t steps_ = 0;
};

std::string Option(const char* name, const std::string& value) {
  return value.empty() ? "" : name + value;
}

void TellViolation(const Batch& batch, std::uint64_t seed, const Violation& violation) {
  const std::string how =
      Option(" --schedule ", batch.schedule) + Option(" --mutant ", batch.mutant);
  std::printf("seed %llu: %s is violated: %s\n", Wide(seed), violation.invariant.c_str(),
              violation.text.c_str());
  std::printf("  replay: sim --seeds 1 --from %llu --verbose%s\n", Wide(seed), how.c_str());
  if (batch.schedule.empty()) {
    std::printf("  shrink: sim --shrink --from %llu%s\n", Wide(seed), how.c_str());
  }
  std::fflush(stdout);
}

Tally RunShare(const Batch& batch, unsigned job) {
  const Schedule* schedule = FindSchedule(batch.schedule);
  Tally tally;
  Progress progress;
  for (std::uint64_t seed = batch.from + job;
       seed < batch.from + batch.seeds || tally.coverage.steps < batch.events / batch.jobs;
       seed += batch.jobs) {
    const auto violation =
        schedule ? RunSchedule(*schedule, seed, batch.mutant, tally.coverage, batch.trace)
                 : RunSeed(seed, batch.mutant, tally.coverage, batch.trace);
    (violation ? tally.failed : tally.passed)++;
    if (violation) TellViolation(batch, seed, *violation);
    if (batch.progress) progress.Tell(tally, seed);
  }
  return tally;
}

}  // namespace

Tally InParallel(unsigned jobs, const std::function<Tally(unsigned)>& job) {
  if (jobs <= 1) return job(0);
  std::fflush(stdout);
  std::vector<Child> children;
  for (unsigned i = 0; i < jobs; i++) children.push_back(Spawn(i, job));
  Tally sum;
  for (const Child& child : children) Add(sum, Collect(child));
  return sum;
}

Tally RunBatch(const Batch& batch) {
  return InParallel(batch.jobs, [&batch](unsigned job) { return RunShare(batch, job); });
}

}  // namespace orchestra::sim
