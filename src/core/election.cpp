// Rule 1: pre-vote, then Paxos phase 1. The winner adopts the highest accepted value.
#include <utility>

#include "core/machine.h"

namespace orchestra {

void Machine::ResetElectionTimer() {
  const Timers t = T();
  const auto span = static_cast<std::uint64_t>((t.election_max - t.election_min).count()) + 1;
  Micros wait = t.election_min + Micros{static_cast<Micros::rep>(Random() % span)};
  // A preference, not a rule: voting standbys first, then a witness, then the primary. (That a
  // standby has just lost its upstream must not delay what is done about it.)
  const bool standby = s_.view.status.db != DbState::kNone && Value() && Value()->primary != Me();
  if (!standby) wait += Rank(Me(), s_.view.status) * t.election_max / 2;
  s_.election_at = now_ + wait;
}

void Machine::Follow() {
  if (s_.role == Role::kCoordinator)
    Tell(NoteKind::kCoordinatorLost, EpochId{}, kNoNode,
         "leads ballot " + ToText(s_.ballot) + " no more");
  s_.role = Role::kFollower;
  s_.preparing = false;
  s_.adopting.reset();
  s_.owed.clear();
  s_.farewell = {};
  s_.proposal.reset();
  s_.proposal_committed = false;
  s_.failover = Failover{};
  s_.aftermath = Aftermath{};
  s_.finding_told.reset();
  s_.lease_lapsed = false;
  ResetElectionTimer();
}

void Machine::ElectionTick() {
  if (s_.role == Role::kCoordinator) return;
  if (BeforeOnEveryClock(now_, s_.election_at)) return;
  Campaign(false);
}

void Machine::Campaign(bool as_holder) {
  s_.role = Role::kCandidate;
  s_.preparing = false;
  s_.pre_votes.clear();
  s_.promises.clear();
  s_.adopting.reset();
  s_.prepared.clear();
  s_.ballot = {std::max(s_.durable.promised.round, s_.highest_round) + 1, Me()};
  ResetElectionTimer();
  // A voter that was away may not know this one yet, nor newer voters.
  if (s_.durable.committed) SendVoters(Commit{*s_.durable.committed, 0});
  SendVoters(PreVote{s_.ballot, as_holder});
}

// Whoever is asked answers, voter or not: the candidate knows whose answers count, and perhaps
// newer voters than this node does.
void Machine::On(NodeId from, const PreVote& m) {
  if (!Configured() && s_.phase != Phase::kPending) return;
  if (m.ballot.round <= s_.durable.promised.round) {
    Send(from, Nack{s_.durable.promised});
    return;
  }
  const bool hears_coordinator =
      from != Me() && s_.heartbeat_heard && Since(now_, *s_.heartbeat_heard) < T().election_min;
  const bool granted_lease = m.as_holder && s_.durable.accepted &&
                             s_.durable.accepted->value->primary == from && PromiseLives();
  if (!hears_coordinator || granted_lease) Send(from, PreVoteOk{m.ballot});
}

void Machine::On(NodeId from, const PreVoteOk& m) {
  if (s_.role != Role::kCandidate || s_.preparing || m.ballot != s_.ballot) return;
  s_.pre_votes.insert(from);
  if (!Quorum(*NewestValue(), s_.pre_votes) || m.ballot <= s_.durable.promised) return;
  s_.preparing = true;
  Write().promised = s_.ballot;
  for (const Member& member : NewestValue()->members)
    if (HasVote(*NewestValue(), member.id)) s_.prepared.insert(member.id);
  SendVoters(Prepare{s_.ballot});
}

void Machine::On(NodeId from, const Prepare& m) {
  if (!Configured() && s_.phase != Phase::kPending) return;
  const bool own = from == Me() && m.ballot == s_.durable.promised;
  if (m.ballot <= s_.durable.promised && !own) {
    Send(from, Nack{s_.durable.promised});
    return;
  }
  if (m.ballot > s_.durable.promised) Write().promised = m.ballot;
  if (s_.role != Role::kFollower && s_.ballot < m.ballot) Follow();
  Send(from, Promise{m.ballot, s_.durable.accepted});
}

// Enough promises to lead with `best`: of the voters that this node knows, and of those that the
// value to be adopted names (rule 7).
bool Machine::Elected(const std::optional<Written>& best) const {
  std::set<NodeId> promised;
  for (const auto& [id, accepted] : s_.promises) promised.insert(id);
  return Quorum(*NewestValue(), promised) && (!best || Quorum(*best->value, promised));
}

void Machine::On(NodeId from, const Promise& m) {
  // A ballot is led once: only while this very ballot is being prepared.
  const bool preparing = s_.role == Role::kCandidate && s_.preparing;
  if ((!preparing && policy_.single_lead) || m.ballot != s_.ballot) return;
  if (s_.ballot != s_.durable.promised || s_.role == Role::kFollower) return;
  s_.promises[from] = m.accepted;
  std::optional<Written>& best = s_.adopting;
  if (!best) best = s_.durable.accepted;
  if (policy_.adopt_accepted && m.accepted && (!best || m.accepted->write > best->write))
    best = m.accepted;
  if (!best) return;
  for (const Member& member : best->value->members)
    if (HasVote(*best->value, member.id) && s_.prepared.insert(member.id).second)
      Send(member.id, Prepare{s_.ballot});
  if (Elected(best)) Lead();
}

void Machine::Lead() {
  const Written best = *s_.adopting;
  s_.role = Role::kCoordinator;
  s_.preparing = false;
  s_.failover = Failover{};
  s_.aftermath = Aftermath{};
  s_.led_since = s_.leased_at = now_;
  s_.joint_since.reset();
  s_.better_since.reset();
  s_.lease_lapsed = false;
  s_.coordinator = Me();
  for (auto& [id, peer] : s_.peers) {
    peer.heard_at.reset();
    peer.heard_seq = 0;
    peer.promise_live = true;
    peer.fenced = EpochId{};
  }
  Tell(NoteKind::kCoordinatorElected, best.value->epoch, Me(), "won ballot " + ToText(s_.ballot),
       "re-commit the register");
  s_.proposal_committed = false;
  Propose(*best.value);
}

void Machine::On(NodeId, const Nack& m) {
  s_.highest_round = std::max(s_.highest_round, m.promised.round);
  if (s_.role == Role::kFollower || m.promised <= s_.ballot) return;
  Follow();
  // A candidate that was told of a newer round tries again soon: nobody may be leading.
  const Timers t = T();
  s_.election_at = now_ + t.heartbeat +
                   Micros{static_cast<Micros::rep>(
                       Random() % static_cast<std::uint64_t>(t.election_min.count()))};
}

}  // namespace orchestra
