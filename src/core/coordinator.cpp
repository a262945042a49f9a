// The coordinator's register writes and heartbeat (rule 1), and Request/Reply (rule 6).
#include <algorithm>
#include <utility>

#include "core/change.h"
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
  s_.proposal_acks.insert(from);
  if (Quorum(*s_.proposal->value, s_.proposal_acks)) ProposalCommitted();
}

void Machine::ProposalCommitted() {
  const RegisterValue* old = CommittedValue(s_);
  const bool new_epoch = !old || old->epoch != s_.proposal->value->epoch;
  s_.proposal_committed = true;
  s_.commit_seq = s_.heartbeat_seq + 1;
  if (!old || old->voters_since != s_.proposal->value->voters_since) s_.joint_since.reset();
  if (new_epoch) {  // rule 8: the time without a lease counts from the commit of the epoch
    s_.leased_at = now_;
    s_.lease_lapsed = false;
    if (!s_.aftermath.recovery.empty())
      Tell(NoteKind::kEpochCommitted, s_.proposal->value->epoch, s_.proposal->value->primary,
           "accepted by a majority of voters", "it leaves recovery", s_.aftermath.recovery);
  }
  Heartbeat();
  for (const State::Owed& owed : std::exchange(s_.owed, {}))
    if (owed.write == s_.proposal->write) Answer(owed.to, owed.id, Verdict::kDone, "");
}

void Machine::On(NodeId from, const HeartbeatAck& m) {
  if (!Leading() || m.ballot != s_.ballot) return;
  PeerView& peer = s_.peers[from];
  peer.heard_at = now_;
  peer.heard_seq = std::max(peer.heard_seq, m.seq);
  peer.promise_live = m.promise_live;
  peer.fenced = m.fenced;
}

// Has it answered a heartbeat with what was committed last?
bool Machine::KnowsCommit(NodeId node) const {
  const auto peer = s_.peers.find(node);
  return peer != s_.peers.end() && peer->second.heard_at && peer->second.heard_seq >= s_.commit_seq;
}

bool Machine::HearsQuorum(Micros within) const {
  std::set<NodeId> heard;
  for (const auto& [id, peer] : s_.peers)
    if (peer.heard_at && Since(now_, *peer.heard_at) < within) heard.insert(id);
  return Quorum(*s_.proposal->value, heard);
}

void Machine::CoordinatorTick() {
  const Timers t = T();
  const bool deaf = !HearsQuorum(t.election_max) && Since(now_, s_.led_since) > t.election_max;
  const bool leaves = s_.proposal->value->dropped;  // as the others did: it goes last
  if (deaf && !leaves && policy_.deaf_steps_down) {
    Follow();  // a deaf coordinator must not suppress elections
    return;
  }
  if (Since(now_, s_.heartbeat_sent) >= t.heartbeat) Heartbeat();
  if (!s_.proposal_committed) return;
  WatchLease();
  FailoverTick();
  AftermathTick();
  VotersTick();
  SayFarewell();
  HandOver();
}

// ---------------------------------------------------------------- requests (rule 6)

void Machine::Answer(NodeId to, std::uint64_t id, Verdict verdict, std::string reason) {
  if (s_.proposal_committed) Send(to, Reply{id, verdict, std::move(reason), *s_.proposal});
}

void Machine::On(NodeId from, const Request& m) {
  if (!IsCoordinator(s_)) return;
  // The asker must hear this coordinator: an old request must not land after a restart.
  const bool fresh = from == Me() || (m.heard == s_.ballot && m.heard_seq + 4 >= s_.heartbeat_seq);
  if (!fresh) return;
  const RegisterValue& value = *s_.proposal->value;
  const bool own = IsPrimarysOwn(m.change);
  const auto* failover = std::get_if<StartFailover>(&m.change);
  const bool under_way = s_.failover.stage != Failover::Stage::kNone;
  const bool accepts = failover && failover->accept_data_loss;
  if (!own && under_way && !accepts)
    return Answer(from, m.id, Verdict::kMoved, "a failover is under way");
  if (failover && m.epoch != value.epoch) {  // its first answer was lost, or somebody was faster
    const bool done = failover->target == kNoNode || failover->target == value.primary;
    return Answer(from, m.id, done ? Verdict::kDone : Verdict::kRefused,
                  "the primary has changed meanwhile");
  }
  auto outcome = Changed(value, from, m);
  if (const auto* refusal = std::get_if<Refusal>(&outcome))
    return Answer(from, m.id, refusal->verdict, refusal->reason);
  RegisterValue& next = std::get<RegisterValue>(outcome);
  if (std::string unwise = Unwise(m.change); !unwise.empty())
    return Answer(from, m.id, Verdict::kMoved, unwise);
  if (failover) {
    if (!under_way) BeginFailover("ByCall", "asked for on " + Name(from));
    if (accepts && !s_.failover.accept_data_loss)
      Tell(NoteKind::kLossAccepted, value.epoch, kNoNode, "asked for on " + Name(from),
           "the most advanced node that answers is promoted", s_.failover.recovery);
    s_.failover.accept_data_loss = accepts;
    s_.failover.wanted = failover->target;
    return Answer(from, m.id, Verdict::kDone, "");
  }
  if (next == value) return Answer(from, m.id, Verdict::kDone, "");
  if (!own)
    Tell(NoteKind::kRegisterChanged, value.epoch, kNoNode,
         TextOf(value, m.change) + ", asked for on " + Name(from),
         "version " + std::to_string(next.version.value));
  if (const auto* removed = std::get_if<RemoveMember>(&m.change))
    s_.farewell = {FindMember(value, removed->node)->peer, 10};
  const bool whole = IsWhole(next, m.change);
  Propose(std::move(next));
  if (!whole) return;  // it is asked for again
  // Unless it was committed at once (a lone voter).
  if (s_.proposal_committed) return Answer(from, m.id, Verdict::kDone, "");
  if (s_.owed.size() < kMaxMembers) s_.owed.push_back({from, m.id, s_.proposal->write});
}

}  // namespace orchestra
