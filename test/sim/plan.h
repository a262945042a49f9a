// A run as data: the world that it begins with, and what is done to it, one act after the other.
// A plan is written as a script (script.h), so that whatever went wrong can be read, edited, run
// again and kept. The same plan always gives the same run.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "world.h"

namespace orchestra::sim {

// The words of one command: {"kill", "n2", "1200ms"}.
using Act = std::vector<std::string>;

struct Plan {
  Plan();
  Config config;       // without its policy, which is `mutant`'s
  std::string mutant;  // the rule that is switched off, or empty
  std::vector<Act> acts;
};

// False: no setting, or not one of its values. Settings stand before the first act.
bool SetUp(Plan& plan, const Act& words);
// The settings that are not as in Plan{}.
std::vector<Act> SettingsOf(const Plan& plan);

// "> seed 17" and so on, one line a command.
std::string ToText(const Plan& plan);
// Takes only lines that are commands. What an act means is not looked at.
std::optional<Plan> ParsePlan(const std::string& text);

Act WordsOf(const std::string& command);
std::string ToText(const Act& act);

// "350ms", "2s"; nothing else.
std::optional<Micros> ParseTime(const std::string& word);
std::string TextOf(Micros time);

// What happens in it; nullopt: no invariant was violated.
std::optional<Violation> RunPlan(const Plan& plan, Coverage& coverage, TraceSink trace = nullptr);

}  // namespace orchestra::sim
