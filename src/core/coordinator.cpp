// The coordinator's register writes and heartbeat (rule 1), and Request/Reply (rule 6).
#include <utility>

#include "core/machine.h"

namespace orchestra {

void Machine::Propose(RegisterValue value) {
  const WriteId write{s_.ballot, value.version};
  s_.proposal = Written{write, std::make_shared<const RegisterValue>(std::move(value))};
  s_.proposal_committed = false;
  s_.proposal_acks.clear();
  Heartbeat();
}

void Machine::Heartbeat() {
  s_.heartbeat_sent = now_;
  const std::uint64_t seq = ++s_.heartbeat_seq;
  const Message message = s_.proposal_committed ? Message{Commit{*s_.proposal, seq}}
                                                : Message{Accept{*s_.proposal, seq}};
  for (const Member& member : s_.proposal->value->members) Send(member.id, message);
}

void Machine::On(NodeId from, const Accepted& m) {
  if (s_.creating && m.write.ballot.node == Me() &&
      m.write == WriteId{Ballot{1, Me()}, s_.creating->value.version}) {
    s_.create_acks.insert(from);
    CreationDone();
    return;
  }
  if (!Leading() || s_.proposal_committed || m.write != s_.proposal->write) return;
  if (!IsVoter(*s_.proposal->value, from)) return;
  s_.proposal_acks.insert(from);
  if (s_.proposal_acks.size() >= MajorityOf()) ProposalCommitted();
}

void Machine::ProposalCommitted() {
  const RegisterValue* old = CommittedValue(s_);
  const bool new_epoch = !old || old->epoch != s_.proposal->value->epoch;
  s_.proposal_committed = true;
  if (new_epoch) {  // rule 8: the time without a lease counts from the commit of the epoch
    s_.leased_at = now_;
    s_.lease_lapsed = false;
    if (!s_.aftermath.recovery.empty())
      Tell(NoteKind::kEpochCommitted, s_.proposal->value->epoch, s_.proposal->value->primary,
           "accepted by a majority of voters", "it leaves recovery", s_.aftermath.recovery);
  }
  Heartbeat();
}

void Machine::On(NodeId from, const HeartbeatAck& m) {
  if (!Leading() || m.ballot != s_.ballot) return;
  PeerView& peer = s_.peers[from];
  peer.heard_at = now_;
  peer.promise_live = m.promise_live;
  peer.fenced = m.fenced;
}

std::size_t Machine::VotersHeard(Micros within) const {
  std::size_t heard = 0;
  for (const auto& [id, peer] : s_.peers)
    if (peer.heard_at && Since(now_, *peer.heard_at) < within && IsVoter(*s_.proposal->value, id))
      heard++;
  return heard;
}

void Machine::CoordinatorTick() {
  const Timers t = T();
  if (VotersHeard(t.election_max) < MajorityOf() && Since(now_, s_.led_since) > t.election_max) {
    Follow();  // a deaf coordinator must not suppress elections
    return;
  }
  if (Since(now_, s_.heartbeat_sent) >= t.heartbeat) Heartbeat();
  if (!s_.proposal_committed) return;
  WatchLease();
  FailoverTick();
  AftermathTick();
  HandOver();
}

// A primary's death must not take the coordinator with it: once all is quiet, a coordinator that
// is the primary steps aside for a healthy voting standby. Losing the coordinator stops no write.
void Machine::HandOver() {
  const RegisterValue& value = *s_.proposal->value;
  const Timers t = T();
  if (value.primary != Me() || !value.active || s_.failover.stage != Failover::Stage::kNone ||
      !s_.aftermath.recovery.empty() || Since(now_, s_.led_since) < 2 * t.election_max)
    return;
  for (const auto& [id, peer] : s_.peers)
    if (id != Me() && IsVoter(value, id) && peer.heard_at &&
        Since(now_, *peer.heard_at) < 2 * t.heartbeat &&
        peer.status.receiver == ReceiverState::kStreaming)
      return Follow();
}

void Machine::On(NodeId from, const Request& m) {
  if (!IsCoordinator(s_)) return;
  // The asker must hear this coordinator: an old request must not land after a restart.
  const bool fresh = from == Me() || (m.heard == s_.ballot && m.heard_seq + 4 >= s_.heartbeat_seq);
  if (!fresh) return;
  const RegisterValue& value = *s_.proposal->value;
  const bool applies = value.primary == from && value.epoch == m.epoch && value.version == m.base &&
                       !value.active && m.timeline != TimelineId{};
  if (!applies) {
    Send(from, Reply{*s_.proposal});
    return;
  }
  RegisterValue next = value;
  next.version.value++;
  next.active = true;
  next.timeline = m.timeline;
  next.target_branch.reset();
  if (next.lineage.empty() || next.lineage.back().timeline != m.timeline) {
    next.lineage.push_back({m.timeline, value.epoch});
    if (next.lineage.size() > kMaxLineage) next.lineage.erase(next.lineage.begin());
  }
  Propose(std::move(next));
}

void Machine::On(NodeId, const Reply& m) {
  if (!Configured()) return;
  Learn(m.committed);
  if (s_.asked_since) s_.asked_since = now_;
}

}  // namespace orchestra
