// What goes wrong.
#include <algorithm>
#include <charconv>
#include <utility>

#include "player.h"

namespace orchestra::sim {
namespace {

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
    {"scan", &Faults::scan_inexact, nullptr},
    {"rejoin", &Faults::operator_rejoin, nullptr},
    {"torn", &Faults::crash_in_write, nullptr},
    {"fsync", &Faults::slow_fsync, nullptr},
    {"held", &Faults::held_up, nullptr},
    {"pause", &Faults::ack_pause, nullptr},
    {"reload", &Faults::late_reload, nullptr},
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

std::optional<std::size_t> KindIn(const std::string& word) {
  if (word == "WAL") return Network::kWal;
  for (std::size_t kind = 0; kind < kMessageKinds; kind++)
    if (word == MessageName(kind)) return kind;
  return std::nullopt;
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

Player::Result Player::FillDisk(const Act& act) {
  Node* n = NodeNamed(act[1]);
  const std::optional<Micros> time = ParseTime(act[2]);
  if (!time) return Result::kUnknown;
  if (!n) return Result::kDidNotHappen;
  w_.FillDisk(*n, *time);
  return Result::kDone;
}

// Off, its files as they were some time ago, on again.
Player::Result Player::RollBack(const Act& act) {
  Node* n = NodeNamed(act[1]);
  const std::optional<Micros> age = ParseTime(act[2]);
  const bool with_wal = act.size() == 4;
  if (!age || (with_wal && act[3] != "wal")) return Result::kUnknown;
  if (!n || !n->up) return Result::kDidNotHappen;
  w_.Crash(*n);
  const bool done = w_.RollBack(*n, *age, with_wal);
  w_.Start(*n);
  return done ? Result::kDone : Result::kDidNotHappen;
}

// Its disk is put into another machine.
Player::Result Player::Move(const Act& act) {
  Node* n = NodeNamed(act[1]);
  if (!n || !n->vote) return Result::kDidNotHappen;
  w_.Move(*n);
  return Result::kDone;
}

Player::Result Player::Clone(const Act& act) {
  Node* from = NodeNamed(act[1]);
  Node* to = NodeNamed(act[2]);
  const bool snapshot = act.size() == 4;
  if (snapshot && act[3] != "snapshot") return Result::kUnknown;
  if (!from || !to || !to->spare) return Result::kDidNotHappen;
  w_.CloneOnto(*from, *to, snapshot);
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

// A machine's clocks run so many permille too fast, or only one of them.
Player::Result Player::Clock(const Act& act) {
  Node* n = NodeNamed(act[1]);
  const std::optional<int> permille = NumberIn(act[2]);
  const std::string which = act.size() > 3 ? act[3] : "";
  if (!permille || (!which.empty() && which != "boottime" && which != "raw")) {
    return Result::kUnknown;
  }
  if (!n) return Result::kDidNotHappen;
  const double rate = 1 + *permille / 1000.0;
  n->clock = MachineClock(w_.scheduler.now(), w_.ClockOf(*n), which == "raw" ? 1.0 : rate,
                          which == "boottime" ? 1.0 : rate);
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

// lose COMMIT A -> B: from now on; or only the next ones.
Player::Result Player::Lose(const Act& act) {
  const Node* a = NodeNamed(act[2]);
  const Node* b = NodeNamed(act[4]);
  const std::optional<int> count = act.size() > 5 ? NumberIn(act[5]) : 1'000'000'000;
  const std::optional<std::size_t> kind = KindIn(act[1]);
  if (act[3] != "->" || !count || *count <= 0 || !kind) return Result::kUnknown;
  if (!a || !b) return Result::kDidNotHappen;
  w_.network.LoseNext(a->address, b->address, *kind, static_cast<std::uint64_t>(*count));
  return Result::kDone;
}

// delay COMMIT A -> B 2s: from now on; repeat COMMIT A -> B 2s: once more, so much later.
Player::Result Player::Delay(const Act& act) {
  const Node* a = NodeNamed(act[2]);
  const Node* b = NodeNamed(act[4]);
  const std::optional<std::size_t> kind = KindIn(act[1]);
  const std::optional<Micros> time = ParseTime(act[5]);
  if (act[3] != "->" || !kind || !time) return Result::kUnknown;
  if (!a || !b) return Result::kDidNotHappen;
  if (act[0] == "delay")
    w_.network.DelayKind(a->id, b->id, *kind, *time);
  else
    w_.network.Repeat(a->id, b->id, *kind, *time);
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

// An operator who now and then copies a node that cannot follow anew, and vouches for a disk that
// he moved.
void Player::Operator() {
  for (Node& n : w_.nodes) {
    if (n.up && w_.MayRejoin(n) && w_.random.Chance(w_.network.faults.operator_rejoin)) {
      w_.Rejoin(n);
      break;
    }
    if (w_.MayConfirm(n) && w_.random.Chance(w_.network.faults.operator_rejoin)) w_.Confirm(n);
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
