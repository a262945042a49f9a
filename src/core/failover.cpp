// Rules 4, 5 and 8 as the coordinator goes through them.
#include <algorithm>
#include <utility>

#include "core/machine.h"

namespace orchestra {

// Rule 8: the lease has lapsed when a majority of voters says that no promise of theirs lives.
void Machine::WatchLease() {
  const Timers t = T();
  const EpochId epoch = s_.proposal->value->epoch;
  std::set<NodeId> without;
  bool dangling = false;
  for (const auto& [id, peer] : s_.peers) {
    if (!peer.heard_at || Since(now_, *peer.heard_at) >= 5 * t.heartbeat) continue;
    if (peer.fenced >= epoch) dangling = true;
    if (!peer.promise_live) without.insert(id);
  }
  s_.lease_lapsed = Quorum(*s_.proposal->value, without) || !policy_.lease_is_veto;
  if (!s_.lease_lapsed) s_.leased_at = now_;

  const Finding finding = Analyze(TopologyOf(s_, now_));
  if (s_.failover.stage != Failover::Stage::kNone) return;
  const RegisterValue& value = *s_.proposal->value;
  const bool by_itself = value.mode == Mode::kAutomatic && !value.paused;
  if (finding.action == FindingAction::kFailover && by_itself) {
    BeginFailover(NameOf(finding.code), finding.evidence);
  } else if (dangling && Enforces(value) && policy_.complete_fence) {  // rule 4: no dangling fence
    BeginFailover("DanglingFence", "a node is fenced for the epoch in force");
  } else if (s_.finding_now != finding.code) {
    s_.finding_now = finding.code;
    s_.finding_since = now_;
  } else if (s_.finding_told != finding.code && Since(now_, s_.finding_since) >= t.ttl / 2) {
    if (s_.finding_told || finding.code != FindingCode::kNoProblem)
      Tell(NoteKind::kDetected, epoch, value.primary,
           std::string(NameOf(finding.code)) + ": " + finding.evidence, NextOf(finding));
    s_.finding_told = finding.code;
  }
}

// What follows from a finding, or would follow.
std::string Machine::NextOf(const Finding& finding) const {
  const RegisterValue& value = *s_.proposal->value;
  if (finding.action != FindingAction::kFailover) return NameOf(finding.action);
  if (!Enforces(value)) return "mode observe: " + WouldPromote();
  return value.paused ? "paused: no failover" : "mode manual: failover only by call";
}

// Whom a failover would choose by what the voters said last, in mode observe.
std::string Machine::WouldPromote() const {
  const RegisterValue& value = *s_.proposal->value;
  NodeId target = kNoNode;
  Lsn end{};
  for (const Member& member : value.members) {
    if (member.id == value.primary || !member.voter || member.kind == MemberKind::kWitness)
      continue;
    if (!Lives(member.id)) continue;
    const NodeStatus& status = s_.peers.at(member.id).status;
    if (status.db != DbState::kStandby) continue;
    if (target == kNoNode || status.flush_lsn > end) {
      target = member.id;
      end = status.flush_lsn;
    }
  }
  if (target == kNoNode) return "would have promoted nobody: no voter that is a standby is heard";
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(Since(now_, s_.leased_at));
  return "would have promoted " + Name(target) + " at LSN " + ToText(end) + " after " +
         std::to_string(ms.count()) + " ms";
}

void Machine::BeginFailover(const std::string& cause, const std::string& evidence) {
  const RegisterValue& value = *s_.proposal->value;
  s_.failover = Failover{};
  s_.failover.stage = Failover::Stage::kFenceVoters;
  s_.failover.recovery = ToText(value.epoch);
  s_.failover.version = value.version;
  s_.finding_told.reset();
  Tell(NoteKind::kDetected, value.epoch, value.primary, cause + ": " + evidence, "failover",
       s_.failover.recovery);
  Tell(NoteKind::kFenceStarted, value.epoch, kNoNode, "first a majority of voters",
       "then every data node", s_.failover.recovery);
}

void Machine::FailoverTick() {
  Failover& f = s_.failover;
  if (f.stage == Failover::Stage::kNone) return;
  const RegisterValue& value = *s_.proposal->value;
  if (f.version != value.version &&
      policy_.recount) {  // compare-and-set: what was counted named an older version
    f.version = value.version;
    f.positions.clear();
    f.enough_at.reset();
  }
  const bool fenced = Quorum(value, f.voters_fenced) || !policy_.voters_fenced_first;
  if (f.stage == Failover::Stage::kFenceVoters && fenced) {
    f.stage = Failover::Stage::kCollect;
    f.sent_at = Instant{};
    Tell(NoteKind::kVotersFenced, value.epoch, kNoNode,
         std::to_string(f.voters_fenced.size()) + " of " + std::to_string(VoterCount(value)) +
             " voters",
         "read the end of WAL on every data node", f.recovery);
  }
  if (Since(now_, f.sent_at) >= T().heartbeat) {
    f.sent_at = now_;
    const bool collect = f.stage == Failover::Stage::kCollect;
    for (const Member& member : value.members)
      if (collect || HasVote(value, member.id))
        Send(member.id, Fence{s_.ballot, value.version, value.epoch, collect});
  }
  if (f.stage == Failover::Stage::kCollect) Decide();
}

void Machine::On(NodeId from, const Fenced& m) {
  Failover& f = s_.failover;
  if (!IsCoordinator(s_) || f.stage == Failover::Stage::kNone || m.ballot != s_.ballot ||
      m.epoch != s_.proposal->value->epoch)
    return;
  f.voters_fenced.insert(from);
  if (f.stage != Failover::Stage::kCollect || !m.position) return;
  if (m.version != s_.proposal->value->version && policy_.recount) return;
  const bool first = !f.positions.contains(from);
  f.positions[from] = *m.position;
  if (first)
    Tell(NoteKind::kNodeFenced, m.epoch, from,
         "timeline " + std::to_string(m.position->timeline.value) + ", end of WAL " +
             ToText(m.position->end) + (m.position->exact ? "" : " (not exact: not counted)"),
         "", f.recovery);
  Decide();
}

namespace {

struct Counted {
  NodeId node;
  Lsn end;
};

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

// The chosen primary is on a branch of its own. If it stays primary, the branch goes on.
void KeepBranch(const RegisterValue& old, const WalPosition& position, RegisterValue* next) {
  const bool goes_on = !old.active && old.primary == next->primary && old.target_branch &&
                       old.target_branch->timeline == position.timeline;
  next->target_branch =
      goes_on ? *old.target_branch : LineageEntry{position.timeline, position.wal_epoch, Lsn{}};
  next->branch_from = goes_on ? old.branch_from : next->epoch;
}

}  // namespace

void Machine::Decide() {
  Failover& f = s_.failover;
  const RegisterValue& value = *s_.proposal->value;
  Basis basis = BasisOf(value);
  if (!policy_.basis_quorum) basis.sync = value.sync;
  std::vector<Counted> counted;
  std::size_t of_s = 0;
  bool old_primary = false;
  for (const auto& [node, position] : f.positions) {
    const std::optional<Lsn> end = CountedEnd(value, basis, node, position, policy_);
    if (!end) continue;
    counted.push_back({node, *end});
    if (basis.sync.Has(node)) of_s++;
    if (node == basis.primary) old_primary = true;
  }
  const std::size_t need = basis.sync.nodes.size() - basis.sync.k + 1;  // rule 5 (iii)
  // Where mode observe has just ended, the old primary may still let everything in.
  const bool gated = !value.active || value.primary_boot != BootCount{} || !policy_.gated_first;
  const bool enough =
      of_s >= need || old_primary || (value.durability == Durability::kAsync && gated);
  if (counted.empty() || !enough) {
    Blocked("waits for exact ends of WAL: " + std::to_string(of_s) + " of " + std::to_string(need) +
            " needed from the synchronous set, or the old primary's own");
    return;
  }
  if (!f.enough_at) f.enough_at = now_;
  // Nodes that answer heartbeats are likely to answer in a moment: more choice, same safety.
  std::size_t awaited = 0;
  for (const Member& member : value.members) {
    auto it = s_.peers.find(member.id);
    const bool alive = it != s_.peers.end() && it->second.heard_at &&
                       Since(now_, *it->second.heard_at) < 3 * T().heartbeat;
    const bool has_data = member.kind == MemberKind::kData;
    if (alive && has_data && !f.positions.contains(member.id)) awaited++;
  }
  if (awaited > 0 && Since(now_, *f.enough_at) < 3 * T().heartbeat) return;

  // What was acknowledged is on enough of S, or on the old primary. Another member may be ahead of
  // them all; it rejoins.
  Lsn highest{};
  for (const Counted& c : counted) {
    const bool alone = c.node == basis.primary && of_s < need;
    if (IsVoter(value, c.node) || basis.sync.Has(c.node) || alone)
      highest = std::max(highest, c.end);
  }
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
  if (!target && f.wanted != kNoNode) {
    Blocked(Name(f.wanted) + " does not hold the highest counted end of WAL, " + ToText(highest));
    // A FENCE is never left half done: after a while the best one is taken.
    if (f.blocked_at && Since(now_, *f.blocked_at) >= 2 * T().ttl) f.wanted = kNoNode;
    return;
  }
  if (!target) {
    Blocked("no voter holds the highest counted end of WAL, " + ToText(highest));
    return;
  }
  Elect(target->node, f.positions[target->node], basis);
}

// The candidates that are alive. Commits would wait for the others; they come back by rule 6. Until
// the epoch is active nothing is counted on it.
SyncSet Machine::SyncSetFor(const RegisterValue& next, NodeId target) const {
  const SyncSet full = FullSyncSet(next, target);
  SyncSet alive;
  for (const NodeId node : full.nodes) {
    auto it = s_.peers.find(node);
    const bool heard = it != s_.peers.end() && it->second.heard_at &&
                       Since(now_, *it->second.heard_at) < T().election_max;
    // A former primary follows nobody before it is made anew.
    auto position = s_.failover.positions.find(node);
    const bool counted = position != s_.failover.positions.end();
    if (counted && position->second.out_of_recovery) continue;
    if (heard || counted) alive.nodes.push_back(node);
  }
  alive.k = alive.nodes.empty() ? 0 : 1;
  return alive.nodes.empty() && next.on_no_sync == OnNoSync::kRefuse ? full : alive;
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

// Steps of a recovery that follow from what the nodes report about themselves.
void Machine::AftermathTick() {
  Aftermath& a = s_.aftermath;
  if (a.recovery.empty()) return;
  const RegisterValue& value = *s_.proposal->value;
  if (value.epoch != a.epoch) {
    a = Aftermath{};
    return;
  }
  auto status = [&](NodeId id) -> const NodeStatus* {
    auto it = s_.peers.find(id);
    return it != s_.peers.end() && it->second.status_at ? &it->second.status : nullptr;
  };
  const NodeStatus* primary = status(value.primary);
  if (!a.promoted && primary && primary->db == DbState::kPrimary) {
    a.promoted = true;
    Tell(NoteKind::kPromoted, a.epoch, value.primary,
         "out of recovery on timeline " + std::to_string(primary->timeline.value),
         "activate once a standby has flushed the new timeline", a.recovery);
  }
  if (!a.activated && value.active) {
    a.activated = true;
    Tell(NoteKind::kActivated, a.epoch, value.primary,
         "timeline " + std::to_string(value.timeline.value), "commits are acknowledged again",
         a.recovery);
  }
  std::size_t waiting = 0;
  for (const Member& member : value.members) {
    if (member.id == value.primary || member.kind == MemberKind::kWitness ||
        a.repointed.contains(member.id))
      continue;
    const NodeStatus* s = status(member.id);
    const bool follows = a.promoted && s && s->receiver == ReceiverState::kStreaming &&
                         s->upstream == value.primary && s->timeline == primary->timeline;
    if (follows) {
      a.repointed.insert(member.id);
      Tell(NoteKind::kRepointed, a.epoch, member.id,
           "streams from " + Name(value.primary) + " on timeline " +
               std::to_string(s->timeline.value),
           "", a.recovery);
    } else if (member.id != a.failed) {
      waiting++;
    }
  }
  const bool late = Since(now_, a.since) > std::chrono::seconds(30);
  if (!a.activated || (waiting > 0 && !late)) return;
  std::string left;
  for (const Member& member : value.members)
    if (member.id != value.primary && member.kind == MemberKind::kData &&
        !a.repointed.contains(member.id)) {
      const NodeStatus* s = status(member.id);
      left += (left.empty() ? "" : ", ") + member.name +
              (s && !s->problem.empty() ? " (" + s->problem + ")" : "");
    }
  Tell(NoteKind::kRecovered, a.epoch, value.primary,
       left.empty() ? "every standby follows" : "not following: " + left, "", a.recovery);
  a = Aftermath{};
}

}  // namespace orchestra
