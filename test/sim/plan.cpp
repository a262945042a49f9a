#include "plan.h"

#include <charconv>
#include <sstream>
#include <type_traits>
#include <utility>
#include <variant>

#include "mutants.h"
#include "player.h"

namespace orchestra::sim {
namespace {

// A flag is set by its name alone, to `on`.
struct Setting {
  const char* name;
  std::variant<std::uint32_t Config::*, std::uint64_t Config::*, bool Config::*,
               Durability Config::*, OnNoSync Config::*, Mode Config::*>
      field;
  int on = 1;
};

const Setting kSettings[] = {
    {"seed", &Config::seed},
    {"nodes", &Config::nodes},
    {"witnesses", &Config::witnesses},
    {"members", &Config::extra_members},
    {"spares", &Config::spares},
    {"ttl", &Config::ttl_ms},
    {"async", &Config::durability, static_cast<int>(Durability::kAsync)},
    {"degrade", &Config::on_no_sync, static_cast<int>(OnNoSync::kDegrade)},
    {"copies", &Config::sync_copies},
    {"min-copies", &Config::min_sync_copies},
    {"manual", &Config::mode, static_cast<int>(Mode::kManual)},
    {"auto-voters", &Config::auto_voters},
    {"frames", &Config::frames},
    {"drifting", &Config::clocks_drift},
    {"random", &Config::plain, 0},
};

template <typename Field>
constexpr bool kNumber = std::is_same_v<Field, std::uint32_t Config::*> ||
                         std::is_same_v<Field, std::uint64_t Config::*>;

template <typename T>
bool ParseNumber(const std::string& word, T& number) {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  return error == std::errc{} && end == word.data() + word.size();
}

}  // namespace

Plan::Plan() {
  config.plain = true;
  config.clocks_drift = false;
}

bool SetUp(Plan& plan, const Act& words) {
  if (words.size() == 2 && words[0] == "mutant") {
    Policy policy;
    if (!SwitchOff(words[1], policy)) return false;
    plan.mutant = words[1];
    return true;
  }
  for (const Setting& setting : kSettings) {
    if (words.empty() || words[0] != setting.name) continue;
    return std::visit(
        [&](auto field) {
          auto& value = plan.config.*field;
          if constexpr (kNumber<decltype(field)>) {
            return words.size() == 2 && ParseNumber(words[1], value);
          } else {
            value = static_cast<std::remove_reference_t<decltype(value)>>(setting.on);
            return words.size() == 1;
          }
        },
        setting.field);
  }
  return false;
}

std::vector<Act> SettingsOf(const Plan& plan) {
  const Config usual = Plan{}.config;
  std::vector<Act> settings;
  for (const Setting& setting : kSettings) {
    std::visit(
        [&](auto field) {
          const auto value = plan.config.*field;
          if (value == usual.*field) return;
          settings.push_back({setting.name});
          if constexpr (kNumber<decltype(field)>) {
            settings.back().push_back(std::to_string(value));
          }
        },
        setting.field);
  }
  if (!plan.mutant.empty()) settings.push_back({"mutant", plan.mutant});
  return settings;
}

Act WordsOf(const std::string& command) {
  std::istringstream in(command);
  Act words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

std::string ToText(const Act& act) {
  std::string text;
  for (const std::string& word : act) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string ToText(const Plan& plan) {
  std::string text;
  for (const Act& setting : SettingsOf(plan)) text += "> " + ToText(setting) + "\n";
  for (const Act& act : plan.acts) text += "> " + ToText(act) + "\n";
  return text;
}

std::optional<Plan> ParsePlan(const std::string& text) {
  Plan plan;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("> ")) continue;
    const Act words = WordsOf(line.substr(2));
    if (words.empty()) return std::nullopt;
    if (plan.acts.empty() && SetUp(plan, words)) continue;
    plan.acts.push_back(words);
  }
  return plan;
}

std::optional<Micros> ParseTime(const std::string& word) {
  const std::size_t unit = word.find_first_not_of("0123456789");
  std::int64_t n = 0;
  if (unit == 0 || unit == std::string::npos || !ParseNumber(word.substr(0, unit), n)) return {};
  if (word.substr(unit) == "ms") return Ms(n);
  if (word.substr(unit) == "s") return Seconds(n);
  return std::nullopt;
}

std::string TextOf(Micros time) {
  const std::int64_t ms = time.count() / 1000;
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + "s" : std::to_string(ms) + "ms";
}

std::optional<Violation> RunPlan(const Plan& plan, Coverage& coverage, TraceSink trace) {
  Config config = plan.config;
  if (!plan.mutant.empty()) SwitchOff(plan.mutant, config.policy);
  World world(config, coverage, std::move(trace));
  Player player(world);
  for (const Act& act : plan.acts) {
    if (!world.Healthy() || player.ended()) break;
    player.Do(act);
  }
  return world.observer.violation();
}

}  // namespace orchestra::sim
