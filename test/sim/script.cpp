#include "script.h"

#include <set>
#include <sstream>
#include <vector>

#include "chaos.h"

namespace orchestra::sim {
namespace {

constexpr Micros kPatience = Seconds(30);

class Script {
 public:
  Script()
      : world_(QuietConfig(), coverage_,
               [this](const std::string& line, bool detail) { Hear(line, detail); }) {}

  std::string Run(const std::string& text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      const bool command = line.starts_with("> ");
      if (!command && !line.starts_with("#") && !line.empty()) continue;  // old output
      if (line.empty() && out_.ends_with("\n\n")) continue;
      out_ += line + "\n";
      if (command && !Execute(line.substr(2))) out_ += "does not understand or did not happen\n";
    }
    return out_;
  }

 private:
  static Config QuietConfig() {
    Config config;
    config.plain = true;
    config.clocks_drift = false;
    return config;
  }

  void Hear(const std::string& line, bool detail) {
    const std::string what = line.substr(10);  // without the time
    if (detail) {
      const auto at = what.find("hears ");
      if (at == std::string::npos) return;
      const std::string kind = what.substr(at + 6, what.find(' ', at + 6) - at - 6);
      if (!messages_.contains(kind)) return;
    }
    out_ += "  " + what + "\n";
  }

  Node* NodeNamed(const std::string& name) {
    if (name == "coordinator") return world_.Coordinator();
    if (name == "primary") return world_.Writable();
    for (Node& n : world_.nodes)
      if (n.name == name) return &n;
    return nullptr;
  }

  bool Execute(const std::string& command) {
    std::istringstream in(command);
    std::vector<std::string> words;
    for (std::string word; in >> word;) words.push_back(word);
    if (words.empty()) return false;
    const bool done = Form(words) || Wait(words) || Fault(words) || Cut(words);
    if (const RegisterValue* value = world_.observer.Newest()) epoch_ = value->epoch;
    return done && world_.Healthy();
  }

  bool Form(const std::vector<std::string>& words) {
    if (words[0] == "create") return world_.BeginCreation(), true;
    if (words[0] == "form") {
      const std::string before = out_;  // creation.txt tells how it goes
      const bool formed = FormCluster(world_) &&
                          world_.RunUntil([&] { return LedByStandby(); }, kPatience) &&
                          world_.Run(Seconds(1));
      if (formed) out_ = before;
      return formed;
    }
    if (words[0] == "show") return Show(), true;
    if (words[0] != "messages") return false;
    messages_ = {words.begin() + 1, words.end()};
    return true;
  }

  bool LedByStandby() {
    const Node* leads = world_.Coordinator();
    return leads && Well(world_) && leads != world_.Writable();
  }

  bool Wait(const std::vector<std::string>& words) {
    if (words.size() != 2) return false;
    if (words[0] == "run") {
      const std::int64_t n = std::stoll(words[1]);
      return world_.Run(words[1].ends_with("ms") ? Ms(n) : Seconds(n));
    }
    return words[0] == "until" && world_.RunUntil([&] { return Holds(words[1]); }, kPatience);
  }

  bool Holds(const std::string& condition) {
    if (condition == "created") return world_.Created();
    if (condition == "coordinator") return world_.Coordinator() != nullptr;
    if (condition == "writable") return Well(world_);
    if (condition == "streaming") return world_.EveryStandbyStreams();
    if (condition != "epoch") return false;
    for (const Node& n : world_.nodes)
      if (world_.GateOpen(n) && n.server.gate_epoch > epoch_) return Well(world_);
    return false;
  }

  bool Fault(const std::vector<std::string>& words) {
    if (words[0] == "fence") return world_.ForceFence();
    Node* n = NodeNamed(words.back());
    if (!n) return false;
    if (words[0] == "kill") return world_.Crash(*n), true;
    if (words[0] == "start") return world_.Start(*n), true;
    if (words[0] == "restart") return world_.RestartWorker(*n), true;
    return false;
  }

  bool Cut(const std::vector<std::string>& words) {
    if (words[0] == "heal") return world_.network.HealAll(), true;
    const Node* a = words.size() > 1 ? NodeNamed(words[1]) : nullptr;
    const Node* b = NodeNamed(words.back());
    if (!a || !b) return false;
    for (const Node& other : world_.nodes) {
      if (other.id == a->id) continue;
      if (words[0] == "isolate") world_.network.CutBoth(a->id, other.id);
      if (words[0] == "deafen") world_.network.Cut(other.id, a->id);
    }
    if (words[0] != "cut") return words[0] == "isolate" || words[0] == "deafen";
    world_.network.Cut(a->id, b->id);
    if (words.size() == 3) world_.network.Cut(b->id, a->id);
    return true;
  }

  void Show() {
    for (const Node& n : world_.nodes) {
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
      out_ += " on timeline " + std::to_string(world_.wal.TimelineOf(n.server.written).value);
      if (n.server.connection != 0) out_ += ", streams";
      if (value && n.state.durable.fenced >= value->epoch) out_ += ", fenced";
      if (IsCoordinator(n.state)) out_ += ", coordinator";
      if (world_.Holds(n)) out_ += ", lease";
      if (world_.GateOpen(n)) out_ += ", gate open";
      out_ += "\n";
    }
  }

  std::string out_;
  std::set<std::string> messages_;
  EpochId epoch_;
  Coverage coverage_;
  World world_;
};

}  // namespace

std::string RunScript(const std::string& text) { return Script().Run(text); }

}  // namespace orchestra::sim
