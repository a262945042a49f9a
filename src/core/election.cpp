// Rule 1: pre-vote, then Paxos phase 1. The winner adopts the highest accepted value.
#include <utility>

#include "core/machine.h"

namespace orchestra {

void Machine::ResetElectionTimer() {
  const Timers t = T();
  const auto span = static_cast<std::uint64_t>((t.election_max - t.election_min).count()) + 1;
  Micros wait = t.election_min + Micros{static_cast<Micros::rep>(Random() % span)};
  // A preference, not a rule: the primary should not judge its own health, so others go first.
  const RegisterValue* value = Value();
  if (value && value->primary == Me() && VoterCount(*value) > 1) wait += t.election_max;
  s_.election_at = now_ + wait;
}

void Machine::Follow() {
  if (s_.role == Role::kCoordinator)
    Tell(NoteKind::kCoordinatorLost, EpochId{}, kNoNode,
         "leads ballot " + ToText(s_.ballot) + " no more");
  s_.role = Role::kFollower;
  s_.preparing = false;
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
  s_.ballot = {std::max(s_.durable.promised.round, s_.highest_round) + 1, Me()};
  ResetElectionTimer();
  SendVoters(PreVote{s_.ballot, as_holder});
}

void Machine::On(NodeId from, const PreVote& m) {
  if (!AmVoter()) return;
  if (m.ballot.round <= s_.durable.promised.round) {
    Send(from, Nack{s_.durable.promised});
    return;
  }
  const bool hears_coordinator =
      from != Me() && s_.heartbeat_heard && Since(now_, *s_.heartbeat_heard) < T().election_min;
  const bool granted_lease = m.as_holder && s_.durable.accepted &&
                             s_.durable.accepted->value->primary == from &&
                             BeforeOnSomeClock(now_, s_.promise_until);
  if (!hears_coordinator || granted_lease) Send(from, PreVoteOk{m.ballot});
}

void Machine::On(NodeId from, const PreVoteOk& m) {
  if (s_.role != Role::kCandidate || s_.preparing || m.ballot != s_.ballot) return;
  s_.pre_votes.insert(from);
  if (s_.pre_votes.size() < MajorityOf() || m.ballot <= s_.durable.promised) return;
  s_.preparing = true;
  Write().promised = s_.ballot;
  SendVoters(Prepare{s_.ballot});
}

void Machine::On(NodeId from, const Prepare& m) {
  if (!AmVoter()) return;
  const bool own = from == Me() && m.ballot == s_.durable.promised;
  if (m.ballot <= s_.durable.promised && !own) {
    Send(from, Nack{s_.durable.promised});
    return;
  }
  if (m.ballot > s_.durable.promised) Write().promised = m.ballot;
  if (s_.role != Role::kFollower && s_.ballot < m.ballot) Follow();
  Send(from, Promise{m.ballot, s_.durable.accepted});
}

void Machine::On(NodeId from, const Promise& m) {
  // A ballot is led once: only while this very ballot is being prepared.
  if (s_.role != Role::kCandidate || !s_.preparing || m.ballot != s_.ballot) return;
  if (s_.ballot != s_.durable.promised) return;
  s_.promises[from] = m.accepted;
  if (s_.promises.size() >= MajorityOf()) Lead();
}

void Machine::Lead() {
  std::optional<Written> best = s_.durable.accepted;
  if (policy_.adopt_accepted)
    for (const auto& [voter, accepted] : s_.promises)
      if (accepted && (!best || accepted->write > best->write)) best = accepted;
  if (!best) return;
  s_.role = Role::kCoordinator;
  s_.preparing = false;
  s_.failover = Failover{};
  s_.aftermath = Aftermath{};
  s_.led_since = s_.leased_at = now_;
  s_.lease_lapsed = false;
  s_.coordinator = Me();
  for (auto& [id, peer] : s_.peers) {
    peer.heard_at.reset();
    peer.promise_live = true;
    peer.fenced = EpochId{};
  }
  Tell(NoteKind::kCoordinatorElected, best->value->epoch, Me(), "won ballot " + ToText(s_.ballot),
       "re-commit the register");
  s_.proposal_committed = false;
  Propose(*best->value);
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
