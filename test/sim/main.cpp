// sim: the consensus core under a deterministic simulator. See Usage().
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "batch.h"
#include "chaos.h"
#include "directed.h"
#include "mutants.h"
#include "script.h"
#include "shrink.h"

namespace orchestra::sim {
namespace {

struct Options {
  Batch batch;
  std::uint64_t limit = 60, jobs = 1;
  std::string script, invariant;
  bool verbose = false, messages = false, floors = false, mutants = false, schedules = false;
  bool soak = false, shrink = false, plan = false;
};

int Usage() {
  std::fprintf(stderr,
               "usage: sim [--seeds N] [--from S] [--events N] [--jobs N] [--floors] [--soak]\n"
               "           [--schedule NAME] [--mutant NAME] [--verbose] [--messages]\n"
               "       sim --mutants | --schedules | --shrink | --plan | --script FILE\n"
               "  --seeds N       random runs (100), --from S: the first one (1)\n"
               "  --events N      goes on until the core has made so many steps\n"
               "  --jobs N        in so many processes\n"
               "  --floors        fails if the runs have not been through enough\n"
               "  --soak          a line of progress every ten seconds\n"
               "  --schedule NAME a directed schedule instead (directed.cpp)\n"
               "  --mutant NAME   with one rule of the protocol switched off (mutants.cpp)\n"
               "  --verbose       what the nodes do; --messages: every message as well\n"
               "  --mutants       every mutant must be caught by its invariant\n"
               "  --schedules     the protocol must pass every directed schedule\n"
               "  --shrink        the first run that fails, as a short script; --limit SECONDS\n"
               "    (60), --invariant NAME: the first that violates this one\n"
               "  --plan          the run of seed S as a script\n"
               "  --script FILE   runs a script (script.h), -: standard input\n");
  return 2;
}

bool ParseFlag(const std::string& arg, Options& o) {
  const struct {
    const char* name;
    bool& flag;
  } flags[] = {
      {"--verbose", o.verbose}, {"--messages", o.messages},   {"--floors", o.floors},
      {"--mutants", o.mutants}, {"--schedules", o.schedules}, {"--soak", o.soak},
      {"--shrink", o.shrink},   {"--plan", o.plan},
  };
  for (const auto& each : flags)
    if (arg == each.name) return each.flag = true;
  return false;
}

bool ParseValue(const std::string& arg, const std::string& value, Options& o) {
  const struct {
    const char* name;
    std::uint64_t& number;
  } numbers[] = {{"--seeds", o.batch.seeds},
                 {"--from", o.batch.from},
                 {"--events", o.batch.events},
                 {"--jobs", o.jobs},
                 {"--limit", o.limit}};
  for (const auto& each : numbers)
    if (arg == each.name) return static_cast<bool>(std::istringstream(value) >> each.number);
  if (arg == "--schedule") return FindSchedule(o.batch.schedule = value) != nullptr;
  Policy policy;
  if (arg == "--mutant") return SwitchOff(o.batch.mutant = value, policy);
  if (arg == "--invariant") return !(o.invariant = value).empty();
  if (arg == "--script") return !(o.script = value).empty();
  return false;
}

bool Parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; i++) {
    if (ParseFlag(argv[i], options)) continue;
    if (i + 1 == argc || !ParseValue(argv[i], argv[i + 1], options)) return false;
    i++;
  }
  options.batch.progress = options.soak;
  options.batch.jobs = static_cast<unsigned>(options.jobs);
  if (options.verbose || options.messages) {
    options.batch.trace = [all = options.messages](const std::string& line, bool detail) {
      if (!detail || all) std::printf("%s\n", line.c_str());
    };
  }
  return options.jobs > 0 && options.jobs <= 64;
}

int Finish(const Tally& tally) {
  std::printf("%llu passed, %llu failed\n", static_cast<unsigned long long>(tally.passed),
              static_cast<unsigned long long>(tally.failed));
  return tally.failed == 0 ? 0 : 1;
}

int RunSeeds(const Options& options) {
  const auto began = std::chrono::steady_clock::now();
  Tally tally = RunBatch(options.batch);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  tally.coverage.Print();
  std::printf("%-40s %12llu\n%-40s %12.1f\n", "violations",
              static_cast<unsigned long long>(tally.failed), "seconds", took.count());
  if (options.floors) {
    const std::vector<std::string> under = tally.coverage.UnderFloor();
    for (const std::string& line : under) std::printf("coverage: %s\n", line.c_str());
    (under.empty() ? tally.passed : tally.failed)++;
  }
  return Finish(tally);
}

int ShrinkFirst(const Options& options) {
  const Batch& batch = options.batch;
  for (std::uint64_t seed = batch.from; seed < batch.from + batch.seeds; seed++) {
    const Plan plan = PlanOf(seed, batch.mutant);
    Coverage coverage;
    const auto violation = RunPlan(plan, coverage);
    if (!violation) continue;
    if (!options.invariant.empty() && violation->invariant != options.invariant) continue;
    std::fprintf(stderr, "seed %llu: %s is violated: %s\n", static_cast<unsigned long long>(seed),
                 violation->invariant.c_str(), violation->text.c_str());
    const Shrunk shrunk = Shrink(plan, *violation, std::chrono::seconds(options.limit));
    std::fprintf(stderr, "%zu acts became %zu in %llu runs\n", plan.acts.size(),
                 shrunk.plan.acts.size(), static_cast<unsigned long long>(shrunk.tried));
    std::fputs(GoldenOf(shrunk).c_str(), stdout);
    return 0;
  }
  std::fprintf(stderr, "no run failed\n");
  return 1;
}

int RunFile(const std::string& name) {
  std::stringstream text;
  if (name == "-") {
    text << std::cin.rdbuf();
  } else {
    text << std::ifstream(name).rdbuf();
  }
  const Told told = RunScript(text.str());
  std::fputs(told.text.c_str(), stdout);
  return told.passed ? 0 : 1;
}

int Run(const Options& options) {
  if (options.shrink) return ShrinkFirst(options);
  if (!options.script.empty()) return RunFile(options.script);
  if (options.mutants) return Finish(RunMutants(options.batch.jobs));
  if (options.schedules) return Finish(RunSchedules(options.batch.jobs));
  if (!options.plan) return RunSeeds(options);
  std::fputs(ToText(PlanOf(options.batch.from, options.batch.mutant)).c_str(), stdout);
  return 0;
}

}  // namespace
}  // namespace orchestra::sim

int main(int argc, char** argv) {
  orchestra::sim::Options options;
  if (!orchestra::sim::Parse(argc, argv, options)) return orchestra::sim::Usage();
  return orchestra::sim::Run(options);
}
