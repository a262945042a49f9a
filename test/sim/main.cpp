// sim: the consensus core under a deterministic simulator. See Usage().
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "chaos.h"
#include "coverage.h"
#include "directed.h"
#include "mutants.h"

namespace orchestra::sim {
namespace {

struct Options {
  std::uint64_t seeds = 100, from = 1;
  bool verbose = false, events = false, floors = false, mutants = false;
  std::string mutant, schedule;
};

int Usage() {
  std::fprintf(stderr,
               "usage: sim [--seeds N] [--from S] [--verbose] [--events] [--floors]\n"
               "           [--schedule NAME] [--mutant NAME] | --mutants\n"
               "  --seeds N      random runs (100), --from S: the first one (1)\n"
               "  --verbose      what the nodes do; --events: every message as well\n"
               "  --floors       fail if the runs have not been through enough\n"
               "  --schedule NAME a directed schedule instead (directed.h)\n"
               "  --mutant NAME  with one rule of the protocol switched off\n"
               "  --mutants      every mutant must be caught by its invariant\n");
  return 2;
}

bool Parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; i++) {
    const std::string_view arg = argv[i];
    const char* next = i + 1 < argc ? argv[i + 1] : nullptr;
    if (arg == "--verbose")
      options.verbose = true;
    else if (arg == "--events")
      options.verbose = options.events = true;
    else if (arg == "--floors")
      options.floors = true;
    else if (arg == "--mutants")
      options.mutants = true;
    else if (arg == "--seeds" && next)
      options.seeds = std::strtoull(argv[++i], nullptr, 10);
    else if (arg == "--from" && next)
      options.from = std::strtoull(argv[++i], nullptr, 10);
    else if (arg == "--schedule" && next)
      options.schedule = argv[++i];
    else if (arg == "--mutant" && next)
      options.mutant = argv[++i];
    else
      return false;
  }
  return true;
}

TraceSink Printer(const Options& options) {
  if (!options.verbose) return nullptr;
  return [events = options.events](const std::string& line, bool detail) {
    if (!detail || events) std::printf("%s\n", line.c_str());
  };
}

unsigned long long Wide(std::uint64_t n) { return n; }

std::string Option(const char* name, const std::string& value) {
  return value.empty() ? "" : name + value;
}

int Finish(std::uint64_t passed, std::uint64_t failed) {
  std::printf("%llu passed, %llu failed\n", Wide(passed), Wide(failed));
  return failed == 0 ? 0 : 1;
}

int RunSeeds(const Options& options) {
  Policy policy;
  if (!options.mutant.empty() && !SwitchOff(options.mutant, policy)) return Usage();
  const Schedule* schedule = FindSchedule(options.schedule);
  if (!options.schedule.empty() && !schedule) return Usage();
  Coverage coverage;
  std::uint64_t failed = 0;
  for (std::uint64_t seed = options.from; seed < options.from + options.seeds; seed++) {
    const auto violation = schedule
                               ? RunSchedule(*schedule, seed, policy, coverage, Printer(options))
                               : RunSeed(seed, policy, coverage, Printer(options));
    if (!violation) continue;
    failed++;
    std::printf("seed %llu: %s is violated: %s\n", Wide(seed), violation->invariant.c_str(),
                violation->text.c_str());
    std::printf("  replay: sim --seeds 1 --from %llu --verbose%s%s\n", Wide(seed),
                Option(" --schedule ", options.schedule).c_str(),
                Option(" --mutant ", options.mutant).c_str());
    std::fflush(stdout);
  }
  coverage.Print();
  std::uint64_t passed = options.seeds - failed;
  if (options.floors) {
    const std::vector<std::string> under = coverage.UnderFloor();
    for (const std::string& line : under) std::printf("coverage: %s\n", line.c_str());
    (under.empty() ? passed : failed)++;
  }
  return Finish(passed, failed);
}

}  // namespace
}  // namespace orchestra::sim

int main(int argc, char** argv) {
  orchestra::sim::Options options;
  if (!orchestra::sim::Parse(argc, argv, options)) return orchestra::sim::Usage();
  if (!options.mutants) return orchestra::sim::RunSeeds(options);
  const orchestra::sim::MutantResult result = orchestra::sim::RunMutants();
  return orchestra::sim::Finish(result.passed, result.failed);
}
