#include "player.h"

namespace orchestra::sim {

const Player::Verb Player::kVerbs[] = {
    {"create", 0, 0, &Player::Create},      {"form", 0, 0, &Player::Form},
    {"join", 1, 1, &Player::Join},          {"run", 1, 1, &Player::RunFor, true},
    {"until", 1, 2, &Player::Await, true},  {"try", 1, 2, &Player::Await, true},
    {"expect", 1, 2, &Player::Await, true}, {"end", 2, 2, &Player::End, true},
    {"kill", 1, 2, &Player::Kill},          {"start", 1, 1, &Player::StartUp},
    {"restart", 1, 2, &Player::Restart},    {"freeze", 2, 2, &Player::Freeze},
    {"suspend", 2, 2, &Player::Freeze},     {"lose-vote", 2, 2, &Player::LoseVote},
    {"fence", 0, 0, &Player::Fence},        {"elect", 1, 1, &Player::Elect},
    {"clock", 2, 3, &Player::Clock},        {"cut", 2, 3, &Player::Cut},
    {"isolate", 1, 1, &Player::CutOff},     {"deafen", 1, 1, &Player::CutOff},
    {"mute", 1, 1, &Player::CutOff},        {"slow", 4, 4, &Player::Slow},
    {"heal", 0, 0, &Player::Heal},          {"lose", 4, 5, &Player::Lose},
    {"noise", 0, 20, &Player::Noise},       {"calm", 0, 0, &Player::Calm},
    {"cast", 0, 1, &Player::Cast},          {"fill", 2, 2, &Player::FillDisk},
    {"roll-back", 2, 3, &Player::RollBack}, {"clone", 2, 3, &Player::Clone},
    {"ask", 2, 20, &Player::Ask},           {"release", 1, 1, &Player::ByOperator},
    {"force", 1, 1, &Player::ByOperator},   {"confirm", 1, 1, &Player::ByOperator},
    {"renew", 1, 2, &Player::ByOperator},   {"restore", 0, 0, &Player::Restore, true},
    {"delay", 5, 5, &Player::Delay},        {"repeat", 5, 5, &Player::Delay},
    {"move", 1, 1, &Player::Move},
};

Player::Result Player::Do(const Act& act) {
  for (const Verb& verb : kVerbs) {
    if (act.empty() || act[0] != verb.name) continue;
    if (act.size() - 1 < verb.least || act.size() - 1 > verb.most) return Result::kUnknown;
    const Result result = (this->*verb.handler)(act);
    const RegisterValue* value = w_.observer.Newest();
    if (value && !verb.waits && cast_.empty()) {
      epoch_ = value->epoch;
      leases_ = w_.coverage.leases;
    }
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

bool Player::HoldsOf(const std::string& what, const Node& node) const {
  const RegisterValue* value = w_.observer.Newest();
  const State& s = node.state;
  if (!value || !node.up) return false;
  const Member* member = FindMember(*value, node.member_name);
  if (what == "plain") return s.phase == Phase::kUnconfigured && !node.vote && !node.marker;
  const bool valid = s.phase == Phase::kConfigured && !s.suspect;
  if (what == "expelled") return s.expelled;
  if (what == "suspect") return s.suspect;
  if (what == "primary") return w_.Writable() == &node;
  if (what == "standby") return valid && member && member->id != value->primary;
  if (what == "votes") return valid && member && HasVote(*value, member->id);
  return what == "member" && valid && member &&
         (member->incarnation == Incarnation{} ||
          member->incarnation == s.durable.identity.incarnation);
}

bool Player::Holds(const std::string& condition) {
  const RegisterValue* value = w_.observer.Newest();
  if (const std::size_t of = condition.find('='); of != std::string::npos) {
    const Node* n = NodeNamed(condition.substr(of + 1));
    return n && HoldsOf(condition.substr(0, of), *n);
  }
  if (condition == "created") return w_.Created();
  if (condition == "coordinator") return w_.Coordinator() != nullptr;
  if (condition == "writable") return Well(w_);
  if (condition == "streaming") return w_.EveryStandbyStreams();
  if (condition == "steady") return Well(w_) && w_.EveryStandbyStreams();
  if (condition == "whole") return Whole();
  if (condition == "kept") return Well(w_) && w_.coverage.leases == leases_;
  if (condition == "same") return Well(w_) && value->epoch == epoch_;
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
  if (condition[0] >= 'A' && condition[0] <= 'Z') return Result::kDidNotHappen;  // an invariant
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

}  // namespace orchestra::sim
