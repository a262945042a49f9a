// Internal to the consensus core: one step of the state machine. Split over files by concern:
// consensus.cpp (dispatch, boot), questions.cpp, election.cpp (rule 1), voter.cpp (rules 1 to 4 as
// a voter), coordinator.cpp (writes, heartbeat), steward.cpp (voters, members and settings as the
// coordinator: rule 7), failover.cpp (rules 4, 5 and 8), deciding.cpp (rule 5 iii to
// v), holder.cpp (rules 2 and 5 vii as the
// primary), sync_set.cpp (rule 6), asking.cpp (Request and Reply as the asker), identity.cpp (rule
// 9, forced recovery), creation.cpp (create and join), duties.cpp.
#pragma once
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/consensus.h"

namespace orchestra {

// Who spoke so lately lives, and keeps its name (rules 7 and 9).
inline constexpr Micros kIncumbentLives = std::chrono::seconds(5);

class Machine {
 public:
  Machine(State& state, Instant now, const Policy& policy, Actions& actions);
  void Handle(const Event& event);

 private:
  // events
  void OnTick();
  void OnReceived(const Received& received);
  void OnObserved(const LocalView& view);
  void OnWalEnd(const WalEndRead& read);
  void OnCreateCluster(const CreateCluster& create);
  void OnMessage(const Envelope& envelope);
  bool Admitted(const Received& received) const;
  bool FromMember(const Received& received, const RegisterValue& value) const;

  // messages; `from` is the sender
  void On(NodeId from, const PreVote& m);
  void On(NodeId from, const PreVoteOk& m);
  void On(NodeId from, const Prepare& m);
  void On(NodeId from, const Promise& m);
  void On(NodeId from, const Accept& m);
  void On(NodeId from, const Accepted& m);
  void On(NodeId from, const Nack& m);
  void On(NodeId from, const Commit& m);
  void On(NodeId from, const HeartbeatAck& m);
  void On(NodeId from, const LeaseRequest& m);
  void On(NodeId from, const LeaseAck& m);
  void On(NodeId from, const Release& m);
  void On(NodeId from, const Fence& m);
  void On(NodeId from, const Fenced& m);
  void On(NodeId from, const Request& m);
  void On(NodeId from, const Reply& m);
  void On(NodeId from, const Status& m);
  void On(NodeId from, const Create& m);
  void On(NodeId from, const Join& m);
  void On(NodeId from, const Recall& m);
  void On(NodeId from, const Recalled& m);
  void On(NodeId from, const Feed& m);

  // election.cpp
  void ElectionTick();
  void Campaign(bool as_holder);
  void Follow();
  void Lead();
  void ResetElectionTimer();
  bool Elected(const std::optional<Written>& best) const;
  int Rank(NodeId node, const NodeStatus& status) const;

  // voter.cpp
  template <typename M>
  void OnProposal(NodeId from, const M& m, bool committed);
  bool MayTake(const Written& written);
  void Relay(NodeId from, const Message& message, NodeId coordinator, std::uint64_t seq);
  void Learn(const Written& written);
  void EnterEpoch(const RegisterValue& value);
  void ForgetAsked();
  void FollowTick();
  bool PromiseLives() const;
  bool HoldsOff() const;

  // coordinator.cpp
  void Propose(RegisterValue value);
  void Heartbeat();
  void CoordinatorTick();
  bool HearsQuorum(Micros within) const;
  bool KnowsCommit(NodeId node) const;
  void ProposalCommitted();
  void Answer(NodeId to, std::uint64_t id, Verdict verdict, std::string reason);

  // steward.cpp
  void HandOver();
  void VotersTick();
  std::string NotReady(NodeId node) const;
  std::string Unwise(const Change& change) const;
  void SayFarewell();

  // failover.cpp
  void WatchLease();
  std::string NextOf(const Finding& finding) const;
  std::string WouldPromote() const;
  void BeginFailover(const std::string& cause, const std::string& evidence);
  void FailoverTick();
  std::optional<Lsn> PrimarysEnd() const;

  // deciding.cpp
  struct Counted {
    NodeId node;
    Lsn end;
  };
  std::vector<Counted> Count(const Basis& basis) const;
  bool EnoughCounted(const std::vector<Counted>& counted, const Basis& basis, bool* vouched);
  std::size_t Awaited(bool exact) const;
  bool WorthWaiting(bool vouched) const;
  Lsn HighestOf(const std::vector<Counted>& counted, const Basis& basis) const;
  const Counted* Choose(const std::vector<Counted>& counted, Lsn highest) const;
  bool FeedTo(const std::vector<Counted>& counted, const Basis& basis, Lsn highest);
  void FeedTick();
  bool LossAccepted() const;
  void TellLoss(const std::vector<Counted>& counted, const Basis& basis, const Counted& target);
  bool TooMuchLost(const std::vector<Counted>& counted, const Basis& basis, Lsn end);
  void Decide();
  SyncSet SyncSetFor(const RegisterValue& next, NodeId target) const;
  void Elect(NodeId target, const WalPosition& position, const Basis& basis);
  void Blocked(const std::string& reason);
  void AftermathTick();

  // holder.cpp
  void HolderTick();
  void RequestLease();
  void DropLease();
  void ReleaseByCall();
  Instant MajorityOfGrants(Instant State::Grant::*moment) const;
  void BarrierTick();
  void ActivationTick();
  void TellGate();

  // sync_set.cpp
  void WatchStandbys(const LocalView& before);
  void SyncTick();
  std::vector<NodeId> KeepingUp(bool any_zone) const;
  SyncSet WantedSync() const;
  void TakeSetting(const SyncSet& setting);
  void StepTowards(const SyncSet& wanted);
  bool HeardSince(const SyncSet& wanted) const;
  bool BarrierPassed(const SyncSet& next);

  // asking.cpp
  void Ask(Change change);
  void AskTick();
  void SendRequest(Asking& asking, Version base);
  void OnCommand(const Command& command);
  void CommandTick();
  void Answered(std::uint64_t id, bool done, std::string text);

  // identity.cpp
  bool Trusted(const Received& received);
  bool Lives(NodeId node) const;
  void Remember(const PeerMemory& seen);
  void RememberPeers();
  void LeaveTick();
  void NoteOutOfRecovery();
  const PeerMemory* MemoryOf(NodeId node) const;
  void TellOlder(NodeId node, const PeerMemory& memory);
  void TellForeign(NodeId node);
  void RecallTick();
  void Confirm(const std::string& by);
  void Expel(const std::string& reason);
  void Force(const ForceRecovery& force);

  // creation.cpp
  void CreationTick();
  void CreationDone();
  void JoinTick();
  void BecomeMember(const Written& written);
  bool NamesMe(const Member& member) const;
  bool FitsKind(MemberKind kind) const;
  void Decline(const Join& m);
  bool MayReplace(const Member& namesake, const Join& m) const;
  std::string JoinProblem(const RegisterValue& value) const;

  // helpers
  NodeId Me() const { return Self(s_); }
  const RegisterValue* Value() const;        // committed, else accepted, else null
  const RegisterValue* NewestValue() const;  // the newest of both: whose votes to ask for (rule 7)
  bool AmVoter() const;
  WriteId AcceptedWrite() const {
    return s_.durable.accepted ? s_.durable.accepted->write : WriteId{};
  }
  bool Quorum(const RegisterValue& value, const std::set<NodeId>& nodes) const {
    return HasQuorum(value, nodes, policy_.joint_quorums);
  }
  bool Configured() const { return s_.phase == Phase::kConfigured; }
  bool Leading() const { return s_.role == Role::kCoordinator && s_.proposal.has_value(); }
  Timers T() const;
  Durable& Write() {
    actions_.persist = true;
    return s_.durable;
  }
  std::uint64_t Random();
  void Send(NodeId to, Message message);
  void SendVoters(const Message& message);
  void SendMembers(const Message& message);
  void Tell(NoteKind kind, EpochId epoch, NodeId node, std::string reason, std::string next = "",
            std::string recovery = "");
  std::string Name(NodeId id) const;

  State& s_;
  const Instant now_;
  const Policy& policy_;
  Actions& actions_;
  std::deque<Envelope> loopback_;
};

}  // namespace orchestra
