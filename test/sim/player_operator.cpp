// What an operator asks for.
#include <algorithm>
#include <charconv>
#include <utility>

#include "player.h"

namespace orchestra::sim {
namespace {

std::optional<std::uint32_t> NumberIn(const std::string& word) {
  std::uint32_t n = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), n);
  if (error != std::errc{} || end != word.data() + word.size()) return std::nullopt;
  return n;
}

std::optional<Change> SettingIn(const std::string& name, const std::string& value) {
  ChangeSettings change;
  const std::optional<std::uint32_t> number = NumberIn(value);
  if (name == "ttl" && number) {
    change.lease_ttl_ms = number;
  } else if (name == "drift" && number) {
    change.drift_permille = number;
  } else if (name == "copies" && number) {
    change.sync_copies = number;
  } else if (name == "min-copies" && number) {
    change.min_sync_copies = number;
  } else if (name == "mode" && (value == "manual" || value == "automatic")) {
    change.mode = value == "manual" ? Mode::kManual : Mode::kAutomatic;
  } else if (name == "mode" && value == "observe") {
    change.mode = Mode::kObserve;
  } else if (name == "paused" && (value == "on" || value == "off")) {
    change.paused = value == "on";
  } else if (name == "auto-voters" && (value == "on" || value == "off")) {
    change.auto_voters = value == "on";
  } else if (name == "durability" && (value == "quorum" || value == "async")) {
    change.durability = value == "quorum" ? Durability::kQuorum : Durability::kAsync;
  } else if (name == "no-sync" && (value == "refuse" || value == "degrade")) {
    change.on_no_sync = value == "refuse" ? OnNoSync::kRefuse : OnNoSync::kDegrade;
  } else {
    return std::nullopt;
  }
  return change;
}

}  // namespace

// ask n1 voters n1 n2 n3, or with a number first: so many, the primary and the first of the others.
std::vector<NodeId> Player::VotersIn(const Act& act) {
  std::vector<NodeId> voters;
  const std::optional<std::uint32_t> wanted = NumberIn(act[3]);
  if (const Node* primary = wanted ? NodeNamed("primary") : nullptr) {
    voters.push_back(primary->address);
  }
  for (std::size_t i = wanted ? 4 : 3; i < act.size(); i++) {
    const Node* n = NodeNamed(act[i]);
    if (!n || (wanted && voters.size() >= *wanted)) continue;
    if (std::find(voters.begin(), voters.end(), n->address) == voters.end()) {
      voters.push_back(n->address);
    }
  }
  std::sort(voters.begin(), voters.end());
  return voters;
}

std::optional<Change> Player::ChangeIn(const Act& act) {
  const std::string& what = act[2];
  if (what == "failover" && act.size() == 3) return StartFailover{};
  if (what == "drop" && act.size() == 3) return DropCluster{};
  if (act.size() < 4) return std::nullopt;
  if (what == "voters") return ChangeVoters{VotersIn(act)};
  if (act.size() > 4) return std::nullopt;
  if (std::optional<Change> change = SettingIn(what, act[3])) return change;
  const Node* n = NodeNamed(act[3]);
  if (!n) return std::nullopt;
  if (what == "count") return ChangeMember{n->address, true};
  if (what == "uncount") return ChangeMember{n->address, false};
  if (what == "remove") return RemoveMember{n->address};
  if (what == "failover") return StartFailover{n->address, false};
  return std::nullopt;
}

Player::Result Player::Ask(const Act& act) {
  Node* n = NodeNamed(act[1]);
  const std::optional<Change> change = ChangeIn(act);
  if (!change) return Result::kUnknown;
  return n && w_.Ask(*n, *change) ? Result::kDone : Result::kDidNotHappen;
}

Player::Result Player::ByOperator(const Act& act) {
  Node* n = NodeNamed(act[1]);
  if (act.size() > 2 && (act[0] != "renew" || act[2] != "voteless")) return Result::kUnknown;
  if (!n || (act.size() > 2 && w_.IsNeeded(*n))) return Result::kDidNotHappen;
  const bool done = act[0] == "release" ? w_.Release(*n)
                    : act[0] == "force" ? w_.Force(*n)
                    : act[0] == "renew" ? w_.Renew(*n)
                                        : w_.Confirm(*n);
  return done ? Result::kDone : Result::kDidNotHappen;
}

// The first thing that an operator would have to ask for so that all is as it was at the creation.
std::optional<Change> Player::Missing() const {
  const RegisterValue* value = w_.observer.Newest();
  const Config& c = w_.config;
  if (!value) return std::nullopt;
  ChangeSettings settings;
  if (value->paused) settings.paused = false;
  if (value->mode != Mode::kAutomatic) settings.mode = Mode::kAutomatic;
  if (value->lease_ttl_ms != c.ttl_ms) settings.lease_ttl_ms = c.ttl_ms;
  if (value->drift_permille != kDriftPermille) settings.drift_permille = kDriftPermille;
  if (value->durability != c.durability) settings.durability = c.durability;
  if (value->on_no_sync != c.on_no_sync) settings.on_no_sync = c.on_no_sync;
  if (value->sync_copies != c.sync_copies) settings.sync_copies = c.sync_copies;
  if (value->min_sync_copies != c.min_sync_copies) settings.min_sync_copies = c.min_sync_copies;
  if (!(settings == ChangeSettings{})) return settings;
  ChangeVoters voters;
  for (std::uint16_t id = 1; id <= c.nodes + c.witnesses; id++) {
    if (FindMember(*value, NodeId{id})) voters.voters.push_back(NodeId{id});
  }
  const auto votes = [&](NodeId id) { return IsVoter(*value, id); };
  const bool all = std::all_of(voters.voters.begin(), voters.voters.end(), votes);
  const bool odd = voters.voters.size() % 2 == 1;
  if (odd && (!all || VoterCount(*value) != voters.voters.size() || !value->voters_prev.empty())) {
    return voters;
  }
  for (const Member& member : value->members) {
    if (member.voter && member.kind == MemberKind::kData && !member.sync_candidate) {
      return ChangeMember{member.id, true};
    }
  }
  // Who is out for good confirms nothing any more.
  for (const Member& member : value->members) {
    const Node& n = w_.MachineOf(*value, member.id);
    if (!member.voter && member.sync_candidate && n.state.phase == Phase::kQuarantined) {
      return ChangeMember{member.id, false};
    }
  }
  return std::nullopt;
}

// As at the creation for some time, so that nobody is about to change it, and one more node may
// fail.
bool Player::Whole() {
  if (!WholeNow()) {
    whole_since_.reset();
    return false;
  }
  if (!whole_since_) whole_since_ = w_.scheduler.now();
  return w_.scheduler.now() - *whole_since_ >= 2 * Ms(w_.config.ttl_ms);
}

bool Player::WholeNow() {
  const RegisterValue* value = w_.observer.Newest();
  if (!value) return false;
  const bool spare = VoterCount(*value) > 1 && value->voters_prev.empty();
  // With one standby in S, and commits that wait for it, that one must not fail.
  const bool goes_on = value->sync.nodes.size() > FewestCopies(*value, value->primary) ||
                       value->on_no_sync == OnNoSync::kDegrade;
  // Nor may the primary still be asking for what was right a moment ago.
  const Node& primary = w_.MachineOf(*value, value->primary);
  return Well(w_) && !primary.state.request && w_.EveryStandbyStreams() && !Missing() &&
         value->active && spare && goes_on && value->sync == FullSyncSet(*value, value->primary);
}

// An operator makes everything as it was at the beginning.
Player::Result Player::Restore(const Act&) {
  for (Node& n : w_.nodes) w_.AbandonAsking(n);
  Micros asked = Seconds(-1);
  const auto restored = [this, &asked] {
    const std::optional<Change> missing = Missing();
    if (!missing) return true;
    Node* leads = w_.Coordinator();
    if (!leads || w_.scheduler.now() - asked < Ms(700)) return false;
    asked = w_.scheduler.now();
    w_.Ask(*leads, *missing, Ms(600));
    return false;
  };
  return w_.RunUntil(restored, kPatience) ? Result::kDone : Result::kDidNotHappen;
}

}  // namespace orchestra::sim
