// Internal to the consensus core: one step of the state machine. Split over files by concern:
// consensus.cpp (dispatch, boot, questions), election.cpp (rule 1), voter.cpp (rules 1 to 4 as a
// voter), coordinator.cpp (heartbeat, lease view), failover.cpp (rules 4, 5 and 8), holder.cpp
// (rules 2 and 5 vii as the primary), creation.cpp (create and join), duties.cpp.
#pragma once
#include <deque>
#include <string>
#include <utility>

#include "core/consensus.h"

namespace orchestra {

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

  // election.cpp
  void ElectionTick();
  void Campaign(bool as_holder);
  void Follow();
  void Lead();
  void ResetElectionTimer();

  // voter.cpp
  template <typename M>
  void OnProposal(NodeId from, const M& m, bool committed);
  bool MayTake(const Written& written);
  void Relay(NodeId from, const Message& message, NodeId coordinator, std::uint64_t seq);
  void Learn(const Written& written);
  void EnterEpoch(const RegisterValue& value);
  void FollowTick();

  // coordinator.cpp
  void Propose(RegisterValue value);
  void Heartbeat();
  void CoordinatorTick();
  void HandOver();
  std::size_t VotersHeard(Micros within) const;
  void ProposalCommitted();

  // failover.cpp
  void WatchLease();
  void StartFailover(const std::string& cause, const std::string& evidence);
  void FailoverTick();
  void Decide();
  void Elect(NodeId target, const WalPosition& position, const Basis& basis);
  void Blocked(const std::string& reason);
  void AftermathTick();

  // holder.cpp
  void HolderTick();
  void RequestLease();
  void DropLease();
  void BarrierTick();
  void ActivationTick();
  void TellGate();

  // creation.cpp
  void CreationTick();
  void CreationDone();
  void JoinTick();
  void BecomeMember(const Written& written);
  bool NamesMe(const Member& member) const;
  void Decline(const Join& m);
  std::string JoinProblem(const RegisterValue& value) const;

  // helpers
  NodeId Me() const { return Self(s_); }
  const RegisterValue* Value() const;  // committed, else accepted, else null
  bool AmVoter() const;
  bool Configured() const { return s_.phase == Phase::kConfigured; }
  bool Leading() const { return s_.role == Role::kCoordinator && s_.proposal.has_value(); }
  Timers T() const;
  std::size_t MajorityOf() const;
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
