// Who becomes primary: rule 5 (iii) to (v) as the coordinator goes through it.
#include <algorithm>
#include <utility>

#include "core/machine.h"

namespace orchestra {
namespace {

// A source that is out of recovery may write on, so that once is not always enough.
constexpr int kMaxFeeds = 3;
// To flush or read the end of WAL of a living node.
constexpr Micros kSlowAnswer = std::chrono::seconds(10);

// How far the node's WAL is WAL of the last active epoch's timeline, or nothing.
std::optional<Lsn> CountedEnd(const RegisterValue& value, const Basis& basis, NodeId node,
                              const WalPosition& position, const Policy& policy) {
  if (!position.exact && policy.exact_only) return std::nullopt;
  if (!policy.lineage) return position.end;
  // A former primary of an abandoned epoch may be on a branch that nobody else knows.
  if (position.out_of_recovery && node != basis.primary && node != value.primary)
    return std::nullopt;
  // An abandoned timeline may have had the same number, and what left it shows the same history.
  if (!OnLineage(value, basis.timeline, position.wal_epoch)) return std::nullopt;
  if (position.timeline == basis.timeline) return position.end;
  for (const TimelineEnd& past : position.history)
    if (past.timeline == basis.timeline) return past.end;
  return std::nullopt;
}

// Is the end of WAL of this node among them?
bool IsCounted(NodeId node, const auto& counted) {
  return std::any_of(counted.begin(), counted.end(),
                     [node](const auto& each) { return each.node == node; });
}

std::uint64_t BytesBetween(Lsn from, Lsn to) { return to > from ? to.value - from.value : 0; }

// The chosen primary is on a branch of its own. If it stays primary, the branch goes on.
void KeepBranch(const RegisterValue& old, const WalPosition& position, RegisterValue* next) {
  const bool goes_on = !old.active && old.primary == next->primary && old.target_branch &&
                       old.target_branch->timeline == position.timeline;
  next->target_branch =
      goes_on ? *old.target_branch : LineageEntry{position.timeline, position.wal_epoch, Lsn{}};
  next->branch_from = goes_on ? old.branch_from : next->epoch;
}

}  // namespace

std::vector<Machine::Counted> Machine::Count(const Basis& basis) const {
  std::vector<Counted> counted;
  for (const auto& [node, position] : s_.failover.positions)
    if (const auto end = CountedEnd(*s_.proposal->value, basis, node, position, policy_))
      counted.push_back({node, *end});
  return counted;
}

// Rule 5 (iii). In async, and by an operator's leave, it goes on without (`vouched` is false then).
bool Machine::EnoughCounted(const std::vector<Counted>& counted, const Basis& basis,
                            bool* vouched) {
  const RegisterValue& value = *s_.proposal->value;
  std::size_t of_s = 0;
  bool old_primary = false;
  for (const Counted& each : counted) {
    if (basis.sync.Has(each.node)) of_s++;
    if (each.node == basis.primary) old_primary = true;
  }
  const std::size_t need = basis.sync.nodes.size() - basis.sync.k + 1;
  // Where mode observe has just ended, the old primary may still let everything in.
  const bool gated = !value.active || value.primary_boot != BootCount{} || !policy_.gated_first;
  *vouched = !counted.empty() && (of_s >= need || old_primary);
  if (*vouched) return true;
  if (!counted.empty() && value.durability == Durability::kAsync && gated) return true;
  std::string awaited;
  for (const NodeId node : basis.sync.nodes) {
    if (IsCounted(node, counted)) continue;
    awaited += (awaited.empty() ? "" : ", ") + Name(node);
  }
  Blocked(basis.sync.nodes.empty()
              ? "the last commits may be on " + Name(basis.primary) + " alone: it is awaited"
              : "waits for exact ends of WAL: " + std::to_string(of_s) + " of " +
                    std::to_string(need) + " needed from the synchronous set (awaited: " + awaited +
                    "), or that of " + Name(basis.primary) + " itself");
  return !counted.empty() && LossAccepted();
}

bool Machine::LossAccepted() const {
  const Failover& f = s_.failover;
  return f.accept_data_loss && f.blocked_at &&
         Since(now_, *f.blocked_at) >= std::chrono::seconds(1);
}

// Nodes that answer heartbeats and whose end of WAL is not known yet.
std::size_t Machine::Awaited(bool exact) const {
  const Failover& f = s_.failover;
  std::size_t awaited = 0;
  for (const Member& member : s_.proposal->value->members) {
    auto it = s_.peers.find(member.id);
    const bool alive = it != s_.peers.end() && it->second.heard_at &&
                       Since(now_, *it->second.heard_at) < 3 * T().heartbeat;
    auto position = f.positions.find(member.id);
    const bool known = position != f.positions.end() && (position->second.exact || !exact);
    if (alive && member.kind == MemberKind::kData && !known) awaited++;
  }
  return awaited;
}

// Who answers heartbeats is likely to answer in a moment: more choice, same safety. Where S does
// not vouch for what was acknowledged, it may be the one that holds it, and is given the time to
// read.
bool Machine::WorthWaiting(bool vouched) const {
  const Micros waited = Since(now_, *s_.failover.enough_at);
  if (vouched) return Awaited(false) > 0 && waited < 3 * T().heartbeat;
  return Awaited(true) > 0 && waited < kSlowAnswer;
}

// What was acknowledged is on enough of S, or on the old primary. Another member may be ahead of
// them all; it rejoins.
Lsn Machine::HighestOf(const std::vector<Counted>& counted, const Basis& basis) const {
  const auto in_s = std::count_if(counted.begin(), counted.end(),
                                  [&](const Counted& each) { return basis.sync.Has(each.node); });
  const bool enough = static_cast<std::size_t>(in_s) >= basis.sync.nodes.size() - basis.sync.k + 1;
  Lsn highest{};
  for (const Counted& each : counted)
    if (IsVoter(*s_.proposal->value, each.node) || basis.sync.Has(each.node) ||
        (each.node == basis.primary && !enough))
      highest = std::max(highest, each.end);
  return highest;
}

// Of the voters that got as far as any that counts: who was asked for, the primary, the first name.
const Machine::Counted* Machine::Choose(const std::vector<Counted>& counted, Lsn highest) const {
  const Failover& f = s_.failover;
  const RegisterValue& value = *s_.proposal->value;
  const Counted* target = nullptr;
  for (const Counted& c : counted) {
    const bool far_enough = policy_.highest_target ? c.end == highest : true;
    if (!far_enough || !IsVoter(value, c.node)) continue;
    if (f.wanted != kNoNode && c.node != f.wanted) continue;
    if (!target || (policy_.highest_target && c.node == value.primary) ||
        (target->node != value.primary && Name(c.node) < Name(target->node)))
      target = &c;
    if (!policy_.highest_target && c.end < target->end) target = &c;
  }
  return target;
}

// Rule 5 (iv): who shall be primary and is behind takes what it lacks from who has it. Only while
// both are on the timeline of the active epoch, where every byte up to the counted end is the same.
bool Machine::FeedTo(const std::vector<Counted>& counted, const Basis& basis, Lsn highest) {
  Failover& f = s_.failover;
  const RegisterValue& value = *s_.proposal->value;
  if (!value.active) return false;
  const Counted* source = nullptr;
  const Counted* fed = nullptr;
  for (const Counted& c : counted) {
    const WalPosition& position = f.positions.at(c.node);
    if (position.timeline != basis.timeline) continue;
    if (c.end == highest) {
      const auto tries = f.feeds.find(c.node);
      const bool tried = tries != f.feeds.end() && tries->second >= kMaxFeeds;
      if (!tried && (!source || Name(c.node) < Name(source->node))) source = &c;
      continue;
    }
    if (position.out_of_recovery || !IsVoter(value, c.node)) continue;
    if (f.wanted != kNoNode && c.node != f.wanted) continue;
    if (!fed || c.end > fed->end || (c.end == fed->end && Name(c.node) < Name(fed->node))) fed = &c;
  }
  if (!source || !fed) return false;
  f.stage = Failover::Stage::kFeed;
  f.fed = fed->node;
  f.fed_at = now_;
  f.fed_end = fed->end;
  f.feeds[source->node]++;
  f.sent_at = Instant{};
  f.feed =
      Feed{s_.ballot, value.epoch, source->node, highest, f.positions.at(source->node).wal_epoch};
  Tell(NoteKind::kFeeding, value.epoch, f.fed,
       "it lacks WAL from " + ToText(fed->end) + " to " + ToText(highest) + ", " +
           Name(source->node) + " has it",
       "then its end of WAL is read again", f.recovery);
  FeedTick();
  return true;
}

// What the fed node says of itself ends the feeding; what it holds then is read again.
void Machine::FeedTick() {
  Failover& f = s_.failover;
  const auto peer = s_.peers.find(f.fed);
  const bool heard = peer != s_.peers.end() && peer->second.status_at;
  if (heard && peer->second.status.flush_lsn > f.fed_end) {
    f.fed_end = peer->second.status.flush_lsn;
    f.fed_at = now_;
  }
  const bool there = f.fed_end >= f.feed.upto;
  const bool in_vain = !there && Since(now_, f.fed_at) >= 2 * T().ttl;
  if (in_vain) f.feeds[f.feed.source] = kMaxFeeds;
  if (!there && !in_vain && policy_.fed_is_counted) {
    if (Since(now_, f.sent_at) < T().heartbeat) return;
    f.sent_at = now_;
    Send(f.fed, f.feed);
    return;
  }
  f.stage = Failover::Stage::kCollect;
  f.sent_at = Instant{};
  f.enough_at.reset();
  if (policy_.fed_is_counted)
    f.positions.erase(f.fed);
  else
    f.positions[f.fed].end = f.feed.upto;  // a mutant
}

// In durability async nobody need hold what was acknowledged.
bool Machine::TooMuchLost(const std::vector<Counted>& counted, const Basis& basis, Lsn end) {
  const Failover& f = s_.failover;
  const RegisterValue& value = *s_.proposal->value;
  if (value.durability != Durability::kAsync || LossAccepted()) return false;
  if (IsCounted(basis.primary, counted)) return false;
  if (!f.primary_end) {
    Blocked("how far " + Name(basis.primary) + " got is not known: it was not heard in time");
    return true;
  }
  const std::uint64_t lost = BytesBetween(end, *f.primary_end);
  if (lost <= value.max_failover_lag_bytes) return false;
  Blocked("the most advanced standby lacks " + std::to_string(lost) + " bytes of what " +
          Name(basis.primary) + " had, more than max_failover_lag_bytes (" +
          std::to_string(value.max_failover_lag_bytes) + ")");
  return true;
}

void Machine::TellLoss(const std::vector<Counted>& counted, const Basis& basis,
                       const Counted& target) {
  const Failover& f = s_.failover;
  const RegisterValue& value = *s_.proposal->value;
  if (IsCounted(basis.primary, counted)) return;
  if (value.durability != Durability::kAsync && !LossAccepted()) return;
  std::string text = "what is lost is not known: " + Name(basis.primary) + " was not heard in time";
  if (f.primary_end) {
    const std::uint64_t lost = BytesBetween(target.end, *f.primary_end);
    text = std::to_string(lost) + " bytes, LSN " + ToText(target.end) + " to " +
           ToText(std::max(*f.primary_end, target.end)) + ", as far as " + Name(basis.primary) +
           " was heard";
  }
  Tell(NoteKind::kLossMeasured, value.epoch, basis.primary, text,
       "it is measured exactly once " + Name(basis.primary) + " is back", f.recovery);
}

void Machine::Decide() {
  Failover& f = s_.failover;
  Basis basis = BasisOf(*s_.proposal->value);
  if (!policy_.basis_quorum) basis.sync = s_.proposal->value->sync;
  const std::vector<Counted> counted = Count(basis);
  bool vouched = false;
  if (!EnoughCounted(counted, basis, &vouched)) return;
  if (!f.enough_at) f.enough_at = now_;
  if (WorthWaiting(vouched)) return;
  const Lsn highest = HighestOf(counted, basis);
  const Counted* target = Choose(counted, highest);
  if (!target && FeedTo(counted, basis, highest)) return;
  if (!target && f.wanted != kNoNode) {
    Blocked(Name(f.wanted) + " does not hold the highest counted end of WAL, " + ToText(highest));
    // A FENCE is never left half done: after a while the best one is taken.
    if (f.blocked_at && Since(now_, *f.blocked_at) >= 2 * T().ttl) {
      f.wanted = kNoNode;
      f.feeds.clear();
    }
    return;
  }
  if (!target) {
    Blocked("no voter holds the highest counted end of WAL, " + ToText(highest));
    return;
  }
  if (TooMuchLost(counted, basis, target->end)) return;
  TellLoss(counted, basis, *target);
  Elect(target->node, f.positions[target->node], basis);
}

// The candidates that are alive. Commits would wait for the others; they come back by rule 6. Until
// the epoch is active nothing is counted on it.
SyncSet Machine::SyncSetFor(const RegisterValue& next, NodeId target) const {
  const auto alive = [&](bool any_zone) {
    std::vector<NodeId> nodes;
    for (const Member& member : next.members) {
      if (!(any_zone ? CountsAnywhere(next, member, target) : MayConfirm(next, member, target)))
        continue;
      auto it = s_.peers.find(member.id);
      const bool heard = it != s_.peers.end() && it->second.heard_at &&
                         Since(now_, *it->second.heard_at) < T().election_max;
      // A former primary follows nobody before it is made anew.
      auto position = s_.failover.positions.find(member.id);
      const bool counted = position != s_.failover.positions.end();
      if (counted && position->second.out_of_recovery) continue;
      if (heard || counted) nodes.push_back(member.id);
    }
    return SyncSetOf(next, std::move(nodes));
  };
  const SyncSet sync = alive(false);
  if (sync.k >= FewestCopies(next, target)) return sync;
  return next.on_no_sync == OnNoSync::kDegrade ? alive(true) : FullSyncSet(next, target);
}

void Machine::Elect(NodeId target, const WalPosition& position, const Basis& basis) {
  Failover& f = s_.failover;
  RegisterValue next = *s_.proposal->value;
  Tell(NoteKind::kCandidateChosen, next.epoch, target,
       "highest counted end of WAL, " + ToText(position.end) +
           (target == next.primary ? "; stays primary" : ""),
       "commit a new epoch", f.recovery);
  const NodeId failed = next.primary;
  next.version.value++;
  next.epoch = EpochId{WriteId{s_.ballot, next.version}};
  next.basis = basis;
  next.primary = target;
  next.active = false;
  next.timeline = TimelineId{};
  next.target_branch.reset();
  next.branch_from = EpochId{};
  if (!OnLineage(next, position.timeline, position.wal_epoch))
    KeepBranch(*s_.proposal->value, position, &next);
  next.primary_boot = BootCount{};
  next.longest_ttl_ms = next.lease_ttl_ms;
  next.sync = SyncSetFor(next, target);
  s_.aftermath = Aftermath{};
  s_.aftermath.recovery = f.recovery;
  s_.aftermath.epoch = next.epoch;
  s_.aftermath.failed = failed;
  s_.aftermath.since = now_;
  s_.failover = Failover{};
  Propose(std::move(next));
}

void Machine::Blocked(const std::string& reason) {
  Failover& f = s_.failover;
  if (!f.blocked_at) f.blocked_at = now_;
  if (f.blocked == reason || Since(now_, *f.blocked_at) < std::chrono::seconds(1)) return;
  f.blocked = reason;
  Tell(NoteKind::kFailoverBlocked, s_.proposal->value->epoch, kNoNode, reason, "ask again",
       f.recovery);
}

}  // namespace orchestra
