// Rules 4 and 8 as the coordinator goes through them, and what is seen of rule 5 afterwards.
#include <algorithm>

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
  s_.failover.primary_end = PrimarysEnd();
  if (value.active) s_.basis_end.reset();
  if (value.active && s_.failover.primary_end)
    s_.basis_end = {value.primary, value.timeline, *s_.failover.primary_end};
  s_.finding_told.reset();
  Tell(NoteKind::kDetected, value.epoch, value.primary, cause + ": " + evidence, "failover",
       s_.failover.recovery);
  Tell(NoteKind::kFenceStarted, value.epoch, kNoNode, "first a majority of voters",
       "then every data node", s_.failover.recovery);
}

// How far the primary of the last active epoch is known to have got: as it said itself, and not
// longer before the end of its lease than it may have stayed unheard with it.
std::optional<Lsn> Machine::PrimarysEnd() const {
  const RegisterValue& value = *s_.proposal->value;
  const Basis basis = BasisOf(value);
  if (!value.active) {
    const bool same = s_.basis_end && s_.basis_end->primary == basis.primary &&
                      s_.basis_end->timeline == basis.timeline;
    return same ? std::optional(s_.basis_end->end) : std::nullopt;
  }
  auto it = s_.peers.find(basis.primary);
  if (it == s_.peers.end() || !it->second.status_at) return std::nullopt;
  const NodeStatus& status = it->second.status;
  const Timers t = T();
  const bool late = Since(s_.leased_at, *it->second.status_at) > t.ttl + 4 * t.heartbeat;
  if (late || status.db != DbState::kPrimary || status.timeline != basis.timeline)
    return std::nullopt;
  return status.flush_lsn;
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
    if (f.stage == Failover::Stage::kFeed) f.stage = Failover::Stage::kCollect;
  }
  if (f.stage == Failover::Stage::kFeed) return FeedTick();
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
