#include "player.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace orchestra::sim {
namespace {

constexpr Micros kPatience = Seconds(30);

// The noise that a world makes by itself, by the names of the script language.
struct NoiseKind {
  const char* name;
  int Faults::*permille;
  Micros Faults::*ms;
};
constexpr NoiseKind kNoise[] = {
    {"lose", &Faults::lose, nullptr},
    {"dup", &Faults::duplicate, nullptr},
    {"delay", &Faults::delay, nullptr},
    {"disk", &Faults::disk_fails, nullptr},
    {"crash", &Faults::crash_after_persist, nullptr},
    {"rejoin", &Faults::operator_rejoin, nullptr},
    {"fastest", nullptr, &Faults::fastest},
    {"slowest", nullptr, &Faults::slowest},
    {"longest", nullptr, &Faults::longest_delay},
};

std::optional<int> NumberIn(const std::string& word) {
  int n = 0;
  const char* begin = word.data() + (word.starts_with('+') ? 1 : 0);
  const auto [end, error] = std::from_chars(begin, word.data() + word.size(), n);
  if (error != std::errc{} || end != word.data() + word.size()) return std::nullopt;
  return n;
}

bool SetNoise(Faults& faults, const std::string& name, int value) {
  for (const NoiseKind& kind : kNoise) {
    if (name != kind.name) continue;
    if (kind.permille) faults.*kind.permille = value;
    if (kind.ms) faults.*kind.ms = Ms(value);
    return true;
  }
  return false;
}

}  // namespace

const Player::Verb Player::kVerbs[] = {
    {"create", 0, 0, &Player::Create},      {"form", 0, 0, &Player::Form},
    {"join", 1, 1, &Player::Join},          {"run", 1, 1, &Player::RunFor, true},
    {"until", 1, 2, &Player::Await, true},  {"try", 1, 2, &Player::Await, true},
    {"expect", 1, 2, &Player::Await, true}, {"end", 2, 2, &Player::End, true},
    {"kill", 1, 2, &Player::Kill},          {"start", 1, 1, &Player::StartUp},
    {"restart", 1, 2, &Player::Restart},    {"freeze", 2, 2, &Player::Freeze},
    {"suspend", 2, 2, &Player::Freeze},     {"lose-vote", 2, 2, &Player::LoseVote},
    {"fence", 0, 0, &Player::Fence},        {"elect", 1, 1, &Player::Elect},
    {"clock", 2, 2, &Player::Clock},        {"cut", 2, 3, &Player::Cut},
    {"isolate", 1, 1, &Player::CutOff},     {"deafen", 1, 1, &Player::CutOff},
    {"mute", 1, 1, &Player::CutOff},        {"slow", 4, 4, &Player::Slow},
    {"heal", 0, 0, &Player::Heal},          {"noise", 0, 20, &Player::Noise},
    {"calm", 0, 0, &Player::Calm},          {"cast", 0, 1, &Player::Cast},
};

Player::Result Player::Do(const Act& act) {
  for (const Verb& verb : kVerbs) {
    if (act.empty() || act[0] != verb.name) continue;
    if (act.size() - 1 < verb.least || act.size() - 1 > verb.most) return Result::kUnknown;
    const Result result = (this->*verb.handler)(act);
    const RegisterValue* value = w_.observer.Newest();
    if (value && !verb.waits && cast_.empty()) epoch_ = value->epoch;
    return result;
  }
  return Result::kUnknown;
}

// ---------------------------------------------------------------- roles and conditions

bool Well(World& world) {
  return world.Writable() && world.Coordinator() &&
         world.scheduler.now() - world.last_acknowledged < Seconds(1);
}

Node* Player::Other() {
  const Node* primary = NodeNamed("primary");
  const Node* leads = w_.Coordinator();
  for (Node& n : w_.nodes)
    if (&n != primary && &n != leads) return &n;
  return nullptr;
}

Node* Player::NodeNamed(const std::string& word) {
  if (const auto fixed = cast_.find(word); fixed != cast_.end()) return &w_.node(fixed->second);
  for (Node& n : w_.nodes)
    if (n.name == word) return &n;
  const RegisterValue* value = w_.observer.Newest();
  Node* named = value ? &w_.node(value->primary) : nullptr;
  if (word == "named") return named;
  if (word == "coordinator") return w_.Coordinator();
  if (word == "other") return Other();
  if (word == "dead") return killed_.empty() ? nullptr : &w_.node(killed_.front());
  if (word != "primary") return nullptr;
  if (Node* writable = w_.Writable()) return writable;
  for (Node& n : w_.nodes)
    if (w_.Holds(n)) return &n;
  return named;
}

bool Player::Holds(const std::string& condition) {
  const RegisterValue* value = w_.observer.Newest();
  if (condition == "created") return w_.Created();
  if (condition == "coordinator") return w_.Coordinator() != nullptr;
  if (condition == "writable") return Well(w_);
  if (condition == "streaming") return w_.EveryStandbyStreams();
  if (condition == "steady") return Well(w_) && w_.EveryStandbyStreams();
  if (condition == "led-aside") return Well(w_) && w_.Coordinator() != w_.Writable();
  if (condition == "chosen") return value && value->epoch != epoch_;
  if (condition == "decided") {
    const Node* leads = w_.Coordinator();
    return !leads || leads->state.failover.stage == Failover::Stage::kNone;
  }
  if (condition != "epoch") return false;
  for (const Node& n : w_.nodes)
    if (w_.GateOpen(n) && n.server.gate_epoch > epoch_) return Well(w_);
  return false;
}

// ---------------------------------------------------------------- creation and waiting

Player::Result Player::Create(const Act&) {
  w_.BeginCreation();
  return Result::kDone;
}

Player::Result Player::Form(const Act&) {
  w_.BeginCreation();
  const bool formed = w_.RunUntil([this] { return Holds("created"); }, kPatience) &&
                      w_.RunUntil([this] { return Holds("steady"); }, kPatience) &&
                      w_.RunUntil([this] { return Holds("led-aside"); }, kPatience) &&
                      w_.Run(Seconds(1));
  return formed ? Result::kDone : Result::kDidNotHappen;
}

// A clone of the first primary: the marker is copied, the vote file is not.
Player::Result Player::Join(const Act& act) {
  Node* n = NodeNamed(act[1]);
  if (!n || n->vote) return Result::kDidNotHappen;
  w_.Crash(*n);
  n->marker = w_.nodes[0].marker;
  w_.Start(*n);
  return Result::kDone;
}

Player::Result Player::RunFor(const Act& act) {
  const std::optional<Micros> time = ParseTime(act[1]);
  if (!time) return Result::kUnknown;
  w_.Run(*time);
  return Result::kDone;
}

Player::Result Player::Await(const Act& act) {
  const std::string& condition = act[1];
  if (act[0] == "expect" && !w_.Healthy()) {
    as_expected_ = w_.observer.violation()->invariant == condition;
    return as_expected_ ? Result::kDone : Result::kDidNotHappen;
  }
  const std::optional<Micros> limit = act.size() > 2 ? ParseTime(act[2]) : kPatience;
  if (!limit) return Result::kUnknown;
  const bool held = w_.RunUntil([&] { return Holds(condition); }, *limit);
  if (held && condition == "created" && act[0] == "expect") w_.coverage.clusters_created++;
  if (held || act[0] == "try" || !w_.Healthy()) return Result::kDone;
  if (act[0] == "until") return Result::kDidNotHappen;
  const char* invariant = condition == "coordinator" ? "L2" : "L1";
  w_.observer.Fail(invariant, "not " + condition + " within " + TextOf(*limit));
  return Result::kDone;
}

Player::Result Player::End(const Act& act) {
  if (act[1] != "unless") return Result::kUnknown;
  ended_ = !Holds(act[2]);
  return Result::kDone;
}

// ---------------------------------------------------------------- faults of nodes

void Player::CrashFor(Node& n, Micros time) {
  if (!n.up) return;
  w_.coverage.crashes++;
  w_.Crash(n);
  const auto up = [](const Node& each) { return each.up; };
  if (std::none_of(w_.nodes.begin(), w_.nodes.end(), up)) w_.coverage.total_restarts++;
  w_.scheduler.After(time, [this, id = n.id] { w_.Start(w_.node(id)); });
}

Player::Result Player::Kill(const Act& act) {
  Node* n = NodeNamed(act[1]);
  if (!n || !n->up) return Result::kDidNotHappen;
  if (act.size() == 2) {
    w_.coverage.crashes++;
    w_.Crash(*n);
    killed_.push_back(n->id);
    return Result::kDone;
  }
  const std::optional<Micros> time = ParseTime(act[2]);
  if (!time) return Result::kUnknown;
  CrashFor(*n, *time);
  return Result::kDone;
}

Player::Result Player::StartUp(const Act& act) {
  Node* n = NodeNamed(act[1]);
  if (!n || n->up) return Result::kDidNotHappen;
  std::erase(killed_, n->id);
  w_.Start(*n);
  return Result::kDone;
}

Player::Result Player::Restart(const Act& act) {
  Node* n = NodeNamed(act.back());
  if (!n || !n->up) return Result::kDidNotHappen;
  w_.coverage.worker_restarts++;
  w_.RestartWorker(*n);
  return Result::kDone;
}

Player::Result Player::Freeze(const Act& act) {
  Node* n = NodeNamed(act[1]);
  const std::optional<Micros> time = ParseTime(act[2]);
  if (!time) return Result::kUnknown;
  if (!n || !n->up) return Result::kDidNotHappen;
  const bool suspend = act[0] == "suspend";
  (suspend ? w_.coverage.suspends : w_.coverage.freezes)++;
  w_.Freeze(*n, *time, suspend);
  return Result::kDone;
}

Player::Result Player::LoseVote(const Act& act) {
  Node* n = NodeNamed(act[1]);
  const std::optional<Micros> time = ParseTime(act[2]);
  if (!time) return Result::kUnknown;
  if (!n || !n->up) return Result::kDidNotHappen;
  w_.coverage.votes_lost++;
  CrashFor(*n, *time);
  w_.LoseVote(*n);
  return Result::kDone;
}

Player::Result Player::Fence(const Act&) {
  return w_.ForceFence() ? Result::kDone : Result::kDidNotHappen;
}

Player::Result Player::Elect(const Act& act) {
  Node* n = NodeNamed(act[1]);
  if (!n || !n->up) return Result::kDidNotHappen;
  w_.ForceElection(*n);
  return Result::kDone;
}

// Both clocks of a machine run so many permille too fast.
Player::Result Player::Clock(const Act& act) {
  Node* n = NodeNamed(act[1]);
  const std::optional<int> permille = NumberIn(act[2]);
  if (!permille) return Result::kUnknown;
  if (!n) return Result::kDidNotHappen;
  const double rate = 1 + *permille / 1000.0;
  n->clock = MachineClock(w_.scheduler.now(), w_.ClockOf(*n), rate, rate);
  return Result::kDone;
}

// ---------------------------------------------------------------- links

// cut A B: both ways; cut A -> B: one.
Player::Result Player::Cut(const Act& act) {
  const bool one_way = act.size() == 4;
  if (one_way && act[2] != "->") return Result::kUnknown;
  const Node* a = NodeNamed(act[1]);
  const Node* b = NodeNamed(act.back());
  if (!a || !b || a == b) return Result::kDidNotHappen;
  w_.network.Cut(a->id, b->id);
  if (!one_way) w_.network.Cut(b->id, a->id);
  return Result::kDone;
}

Player::Result Player::CutOff(const Act& act) {
  const Node* a = NodeNamed(act[1]);
  if (!a) return Result::kDidNotHappen;
  for (const Node& n : w_.nodes) {
    if (n.id == a->id) continue;
    if (act[0] != "mute") w_.network.Cut(n.id, a->id);
    if (act[0] != "deafen") w_.network.Cut(a->id, n.id);
  }
  return Result::kDone;
}

Player::Result Player::Slow(const Act& act) {
  const Node* a = NodeNamed(act[1]);
  const Node* b = NodeNamed(act[3]);
  const std::optional<Micros> time = ParseTime(act[4]);
  if (act[2] != "->" || !time) return Result::kUnknown;
  if (!a || !b) return Result::kDidNotHappen;
  w_.network.DelayLink(a->id, b->id, *time);
  return Result::kDone;
}

Player::Result Player::Heal(const Act&) {
  w_.network.HealAll();
  return Result::kDone;
}

// ---------------------------------------------------------------- noise

Player::Result Player::Noise(const Act& act) {
  for (std::size_t i = 1; i < act.size(); i++) {
    const std::size_t equals = act[i].find('=');
    if (equals == std::string::npos) return Result::kUnknown;
    const std::string name = act[i].substr(0, equals);
    const std::optional<int> value = NumberIn(act[i].substr(equals + 1));
    if (!value) return Result::kUnknown;
    if (name == "epochs") {
      epochs_ = *value;
      seen_ = epoch_;
    } else if (!SetNoise(w_.network.faults, name, *value)) {
      return Result::kUnknown;
    }
  }
  if (!std::exchange(operating_, true)) Operator();
  if (!std::exchange(watching_, true)) WatchEpochs();
  return Result::kDone;
}

// Everything stops that disturbs, and everybody is up.
Player::Result Player::Calm(const Act&) {
  w_.Trace(nullptr, "faults stop");
  w_.network.HealAll();
  w_.network.faults = Faults{};
  if (w_.config.plain) w_.network.faults.fastest = w_.network.faults.slowest = Ms(1);
  epochs_ = 0;
  killed_.clear();
  for (Node& n : w_.nodes) {
    n.frozen_until = Micros{0};
    if (!n.up) w_.scheduler.After(Ms(1), [this, id = n.id] { w_.Start(w_.node(id)); });
  }
  return Result::kDone;
}

// Roles stay with the nodes that have them now, until "cast off".
Player::Result Player::Cast(const Act& act) {
  cast_.clear();
  if (act.size() == 2) return act[1] == "off" ? Result::kDone : Result::kUnknown;
  for (const char* role : {"primary", "coordinator", "other"}) {
    const Node* n = NodeNamed(role);
    if (!n) return Result::kDidNotHappen;
    cast_[role] = n->id;
  }
  return Result::kDone;
}

// An operator who now and then copies a node that cannot follow anew.
void Player::Operator() {
  for (Node& n : w_.nodes) {
    if (n.up && w_.MayRejoin(n) && w_.random.Chance(w_.network.faults.operator_rejoin)) {
      w_.Rejoin(n);
      break;
    }
  }
  w_.scheduler.After(Ms(200), [this] { Operator(); });
}

// An adversary: the primary of a new epoch dies before it is active, somebody else freezes.
void Player::WatchEpochs() {
  const RegisterValue* value = w_.observer.Newest();
  if (epochs_ > 0 && value && value->epoch != seen_) {
    seen_ = value->epoch;
    if (w_.random.Chance(epochs_)) {
      CrashFor(w_.node(value->primary), Ms(w_.random.Between(500, 6000)));
      const auto last = static_cast<std::int64_t>(w_.config.nodes);
      Node& any = w_.nodes[static_cast<std::size_t>(w_.random.Between(1, last)) - 1];
      w_.Freeze(any, Ms(w_.random.Between(50, 4000)), false);
    }
  }
  w_.scheduler.After(Ms(20), [this] { WatchEpochs(); });
}

}  // namespace orchestra::sim
