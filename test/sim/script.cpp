#include "script.h"

#include <algorithm>
#include <memory>
#include <set>
#include <sstream>
#include <vector>

#include "mutants.h"
#include "plan.h"
#include "player.h"

namespace orchestra::sim {
namespace {

class Script {
 public:
  Told Run(const std::string& text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      const bool command = line.starts_with("> ");
      if (!command && !line.starts_with("#") && !line.empty()) continue;  // old output
      if (line.empty() && out_.ends_with("\n\n")) continue;
      out_ += line + "\n";
      if (command && !Execute(WordsOf(line.substr(2)))) {
        out_ += "does not understand or did not happen\n";
        passed_ = false;
      }
    }
    Told told{out_, std::nullopt, passed_};
    if (world_) told.violation = world_->observer.violation();
    if (told.violation) told.passed = passed_ && player_->as_expected();
    return told;
  }

 private:
  bool Execute(const Act& words) {
    if (words.empty()) return false;
    if (!world_ && SetUp(plan_, words)) return true;
    if (!world_) Begin();
    if (words[0] == "show") return Show(), true;
    if (words[0] == "messages") {
      messages_ = {words.begin() + 1, words.end()};
      return true;
    }
    if (!world_->Healthy() && words[0] != "expect") return false;
    const std::string before = out_;  // creation.txt tells how it goes
    const bool done = player_->Do(words) == Player::Result::kDone;
    if (done && words[0] == "form") out_ = before;
    return done;
  }

  void Begin() {
    Config config = plan_.config;
    if (!plan_.mutant.empty()) SwitchOff(plan_.mutant, config.policy);
    world_ = std::make_unique<World>(
        config, coverage_, [this](const std::string& line, bool detail) { Hear(line, detail); });
    player_ = std::make_unique<Player>(*world_);
  }

  void Hear(const std::string& line, bool detail) {
    const std::string what = line.substr(10);  // without the time
    if (detail) {
      const Act words = WordsOf(what);
      const auto wanted = [this](const std::string& word) { return messages_.contains(word); };
      if (std::none_of(words.begin(), words.end(), wanted)) return;
    }
    out_ += "  " + what + "\n";
  }

  void Show() {
    for (const Node& n : world_->nodes) {
      out_ += "  " + n.name + ": ";
      if (!n.up) {
        out_ += "down\n";
        continue;
      }
      const RegisterValue* value = CommittedValue(n.state);
      out_ += NameOf(n.state.phase);
      if (value) {
        out_ += ", epoch " + ToText(value->epoch) + (value->active ? " active" : " not active") +
                ", primary " + NameOf(*value, value->primary);
      }
      out_ += n.server.out_of_recovery ? ", out of recovery" : ", standby";
      out_ += " on timeline " + std::to_string(world_->wal.TimelineOf(n.server.written).value);
      if (n.server.connection != 0) out_ += ", streams";
      if (value && n.state.durable.fenced >= value->epoch) out_ += ", fenced";
      if (IsCoordinator(n.state)) out_ += ", coordinator";
      if (world_->Holds(n)) out_ += ", lease";
      if (world_->GateOpen(n)) out_ += ", gate open";
      out_ += "\n";
    }
  }

  std::string out_;
  bool passed_ = true;
  std::set<std::string> messages_;
  Plan plan_;
  Coverage coverage_;
  std::unique_ptr<World> world_;
  std::unique_ptr<Player> player_;
};

}  // namespace

Told RunScript(const std::string& text) { return Script().Run(text); }

}  // namespace orchestra::sim
