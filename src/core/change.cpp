#include "core/change.h"

#include <algorithm>
#include <type_traits>

#include "core/choices.h"

namespace orchestra {
namespace {

using Outcome = std::variant<RegisterValue, Refusal>;

Refusal No(std::string reason) { return {Verdict::kRefused, std::move(reason)}; }
Refusal Later(std::string reason) { return {Verdict::kMoved, std::move(reason)}; }

RegisterValue Next(const RegisterValue& value) {
  RegisterValue next = value;
  next.version.value++;
  return next;
}

std::vector<NodeId> VotersOf(const RegisterValue& value) {
  std::vector<NodeId> voters;
  for (const Member& member : value.members)
    if (member.voter) voters.push_back(member.id);
  return voters;
}

Member* MemberIn(RegisterValue& value, NodeId id) {
  for (Member& member : value.members)
    if (member.id == id) return &member;
  return nullptr;
}

// ---------------------------------------------------------------- the primary's own

Outcome Apply(const RegisterValue& value, const Request& request, const Activate& change) {
  if (value.active) return Later("the epoch is active already");
  if (change.timeline == TimelineId{}) return No("an active epoch needs a timeline");
  RegisterValue next = Next(value);
  next.active = true;
  next.timeline = change.timeline;
  next.target_branch.reset();
  next.branch_from = EpochId{};
  next.basis = Basis{};  // an active epoch is its own
  next.primary_boot = request.boot;
  if (next.lineage.empty() || next.lineage.back().timeline != change.timeline) {
    next.lineage.push_back({change.timeline, value.epoch, change.begin});
    if (next.lineage.size() > kMaxLineage) next.lineage.erase(next.lineage.begin());
  }
  return next;
}

Outcome Apply(const RegisterValue& value, const Request& request, const NoteStart& /*change*/) {
  RegisterValue next = Next(value);
  next.primary_boot = request.boot;
  return next;
}

Outcome Apply(const RegisterValue& value, const Request& request, const ChangeSync& change) {
  if (!Enforces(value)) return No("in mode observe nothing is set");
  if (value.durability == Durability::kAsync && change.sync != SyncSet{})
    return No("durability async has no synchronous set");
  RegisterValue next = Next(value);
  next.sync = change.sync;
  next.primary_boot = request.boot;
  return next;
}

// ---------------------------------------------------------------- an operator's

Outcome Apply(const RegisterValue& value, const Request& /*request*/, const ChangeVoters& change) {
  std::vector<NodeId> wanted = change.voters;
  std::sort(wanted.begin(), wanted.end());
  if (std::adjacent_find(wanted.begin(), wanted.end()) != wanted.end())
    return No("a voter is named twice");
  if (wanted.size() % 2 == 0) return No("the number of voters must be odd");
  for (const NodeId id : wanted)
    if (FindMember(value, id) == nullptr) return No("a voter must be a member first");
  if (!std::binary_search(wanted.begin(), wanted.end(), value.primary))
    return No("the primary keeps its vote: make another node primary first");
  if (!value.voters_prev.empty()) {
    if (wanted == VotersOf(value)) return value;
    return Later("another change of voters is not final yet");
  }
  if (wanted == VotersOf(value)) return value;
  if (!value.active) return Later("the epoch is not active yet");
  if (wanted.size() > 1) {  // who leaves must not be the one that commits are counted on
    RegisterValue next = Next(value);
    bool counted = false;
    for (Member& member : next.members) {
      if (std::binary_search(wanted.begin(), wanted.end(), member.id)) {
        member.sync_candidate |= !member.voter && member.kind == MemberKind::kData;
        continue;  // never without anybody to count on
      }
      if (!member.voter) continue;
      counted |= value.sync.Has(member.id) || BasisOf(value).sync.Has(member.id);
      member.sync_candidate = false;
    }
    if (counted && next.members != value.members) return next;
    if (counted) return Later("commits are still counted on a node that is to lose its vote");
  }
  RegisterValue next = Next(value);
  next.voters_prev = VotersOf(value);
  next.voters_since = next.version;
  for (Member& member : next.members) {
    const bool votes = std::binary_search(wanted.begin(), wanted.end(), member.id);
    // Only a voter can be promoted, so that only voters are counted for commits. Members beside a
    // lone voter are the exception: a second copy is better than none.
    if (votes && !member.voter) member.sync_candidate = member.kind == MemberKind::kData;
    if (!votes && wanted.size() > 1) member.sync_candidate = false;
    member.voter = votes;
  }
  return next;
}

Outcome Apply(const RegisterValue& value, const Request& /*request*/, const ChangeMember& change) {
  const Member* member = FindMember(value, change.node);
  if (member == nullptr) return No("there is no such member");
  if (member->sync_candidate == change.sync_candidate) return value;
  if (change.sync_candidate && member->kind == MemberKind::kWitness)
    return No("a witness holds no data");
  if (change.sync_candidate && !member->voter && VoterCount(value) > 1)
    return No("what it alone confirms could not be failed over to: give it a vote first");
  RegisterValue next = Next(value);
  MemberIn(next, change.node)->sync_candidate = change.sync_candidate;
  return next;
}

Outcome Apply(const RegisterValue& value, const Request& /*request*/, const ChangeZone& change) {
  const Member* member = FindMember(value, change.node);
  if (member == nullptr) return No("there is no such member");
  if (member->zone == change.zone) return value;
  RegisterValue next = Next(value);
  MemberIn(next, change.node)->zone = change.zone;
  return next;
}

Outcome Apply(const RegisterValue& value, const Request& /*request*/, const RemoveMember& change) {
  const NodeId node = change.node;
  const Member* member = FindMember(value, node);
  if (member == nullptr) return value;
  if (HasVote(value, node)) return No("it has a vote: change the voters first");
  if (node == value.primary) return No("it is the primary");
  if (member->sync_candidate) return No("it may be counted for commits: end that first");
  const Basis basis = BasisOf(value);
  if (value.sync.Has(node) || basis.sync.Has(node) || node == basis.primary)
    return Later("commits are still counted on it");
  RegisterValue next = Next(value);
  if (next.active) next.basis = Basis{};
  next.highest_id = std::max(next.highest_id, next.members.back().id.value);
  std::erase_if(next.members, [node](const Member& each) { return each.id == node; });
  return next;
}

bool AnotherZone(const RegisterValue& value) {
  const std::string& own = FindMember(value, value.primary)->zone;
  return !own.empty() &&
         std::any_of(value.members.begin(), value.members.end(), [&](const Member& member) {
           return member.sync_candidate && !member.zone.empty() && member.zone != own;
         });
}

Outcome Apply(const RegisterValue& value, const Request& /*request*/,
              const ChangeSettings& change) {
  RegisterValue next = Next(value);
  if (change.lease_ttl_ms) next.lease_ttl_ms = *change.lease_ttl_ms;
  next.longest_ttl_ms = std::max(next.longest_ttl_ms, next.lease_ttl_ms);
  if (change.drift_permille) next.drift_permille = *change.drift_permille;
  if (change.mode && *change.mode != value.mode) {
    next.mode = *change.mode;
    if (!Enforces(next)) {
      if (!value.active) return Later("the epoch is not active yet");
      // What is not set counts on nobody, and the primary has to say that it knows when that ends.
      next.sync = SyncSet{};
      next.primary_boot = BootCount{};
    }
  }
  if (change.paused) next.paused = *change.paused;
  if (change.auto_voters) next.auto_voters = *change.auto_voters;
  if (change.on_no_sync) next.on_no_sync = *change.on_no_sync;
  if (change.sync_copies) next.sync_copies = *change.sync_copies;
  if (change.min_sync_copies) next.min_sync_copies = *change.min_sync_copies;
  if (change.sync_zone) next.sync_zone = *change.sync_zone;
  if (change.max_failover_lag_bytes) next.max_failover_lag_bytes = *change.max_failover_lag_bytes;
  if (change.sync_zone == SyncZone::kOther && !AnotherZone(next))
    return No("no node that may be counted for commits is in another zone than the primary");
  if (change.durability && *change.durability != value.durability) {
    if (!value.active) return Later("the epoch is not active yet");
    next.durability = *change.durability;
    if (next.durability == Durability::kAsync) next.sync = SyncSet{};
  }
  RegisterValue same = next;
  same.version = value.version;
  if (same == value) return value;
  return next;
}

Outcome Apply(const RegisterValue& value, const Request& /*request*/, const StartFailover& change) {
  if (!Enforces(value)) return No("in mode observe nobody is promoted");
  if (change.target == kNoNode) return value;
  const Member* target = FindMember(value, change.target);
  if (target == nullptr) return No("there is no such member");
  if (target->kind == MemberKind::kWitness) return No("a witness cannot become the primary");
  if (!target->voter) return No("only a voter can become the primary");
  if (change.target == value.primary) return No("it is the primary already");
  return value;
}

Outcome Apply(const RegisterValue& value, const Request& /*request*/, const DropCluster&) {
  if (value.dropped) return value;
  if (Enforces(value))
    return No("its members are still gated and set: change to mode observe first");
  RegisterValue next = Next(value);
  next.dropped = true;
  return next;
}

std::string NamesOf(const RegisterValue& value, const std::vector<NodeId>& nodes) {
  std::string text;
  for (const NodeId id : nodes) text += (text.empty() ? "" : ", ") + NameOf(value, id);
  return text.empty() ? "nobody" : text;
}

// "mode observe, lease 5000 ms"
std::string TextOf(const ChangeSettings& change) {
  std::string text;
  const auto add = [&text](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (change.mode) add(std::string("mode ") + NameOf(*change.mode));
  if (change.paused) add(*change.paused ? "paused" : "not paused");
  if (change.durability) add(std::string("durability ") + NameOf(*change.durability));
  if (change.lease_ttl_ms) add("lease " + std::to_string(*change.lease_ttl_ms) + " ms");
  if (change.drift_permille) add("drift " + std::to_string(*change.drift_permille) + " permille");
  if (change.on_no_sync) add(std::string("on_no_sync ") + NameOf(*change.on_no_sync));
  if (change.sync_copies) add("sync_copies " + std::to_string(*change.sync_copies));
  if (change.min_sync_copies) add("min_sync_copies " + std::to_string(*change.min_sync_copies));
  if (change.sync_zone) add(std::string("sync_zone ") + NameOf(*change.sync_zone));
  if (change.max_failover_lag_bytes)
    add("max_failover_lag_bytes " + std::to_string(*change.max_failover_lag_bytes));
  if (change.auto_voters) add(*change.auto_voters ? "auto_voters on" : "auto_voters off");
  return text.empty() ? "no setting" : text;
}

}  // namespace

bool IsWhole(const RegisterValue& next, const Change& change) {
  const auto* voters = std::get_if<ChangeVoters>(&change);
  if (!voters) return true;
  std::vector<NodeId> wanted = voters->voters;
  std::sort(wanted.begin(), wanted.end());
  return VotersOf(next) == wanted;
}

bool IsPrimarysOwn(const Change& change) {
  return std::holds_alternative<Activate>(change) || std::holds_alternative<NoteStart>(change) ||
         std::holds_alternative<ChangeSync>(change);
}

std::variant<RegisterValue, Refusal> Changed(const RegisterValue& value, NodeId from,
                                             const Request& request) {
  if (IsPrimarysOwn(request.change)) {
    if (value.primary != from || value.epoch != request.epoch)
      return No("it is not the primary of the epoch in force");
    if (value.version != request.base) return Later("the register has moved on");
    if (request.boot < value.primary_boot) return No("asked for before its last start");
  }
  if (value.dropped && !std::holds_alternative<DropCluster>(request.change))
    return No("the cluster is being dropped");
  Outcome outcome =
      std::visit([&](const auto& change) { return Apply(value, request, change); }, request.change);
  if (const auto* next = std::get_if<RegisterValue>(&outcome))
    if (std::string wrong = Validate(*next); !wrong.empty()) return No(std::move(wrong));
  return outcome;
}

std::string TextOf(const RegisterValue& value, const Change& change) {
  return std::visit(
      [&value](const auto& c) -> std::string {
        using C = std::decay_t<decltype(c)>;
        if constexpr (std::is_same_v<C, Activate>)
          return "active on timeline " + std::to_string(c.timeline.value);
        if constexpr (std::is_same_v<C, NoteStart>) return "start of the primary's worker";
        if constexpr (std::is_same_v<C, ChangeSync>)
          return "commits need " + std::to_string(c.sync.k) + " of " + NamesOf(value, c.sync.nodes);
        if constexpr (std::is_same_v<C, ChangeVoters>) return "voters " + NamesOf(value, c.voters);
        if constexpr (std::is_same_v<C, ChangeMember>)
          return NameOf(value, c.node) +
                 (c.sync_candidate ? " may be counted for commits" : " is not counted for commits");
        if constexpr (std::is_same_v<C, RemoveMember>) return NameOf(value, c.node) + " removed";
        if constexpr (std::is_same_v<C, ChangeSettings>) return TextOf(c);
        if constexpr (std::is_same_v<C, StartFailover>)
          return (c.target == kNoNode ? "failover" : "failover to " + NameOf(value, c.target)) +
                 (c.accept_data_loss ? ", loss accepted" : "");
        if constexpr (std::is_same_v<C, ChangeZone>)
          return "zone of " + NameOf(value, c.node) + ": " + (c.zone.empty() ? "none" : c.zone);
        if constexpr (std::is_same_v<C, DropCluster>) return "cluster dropped";
      },
      change);
}

}  // namespace orchestra
