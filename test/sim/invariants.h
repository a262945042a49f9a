// The observer: sees everything at once, which no node can, and checks the named invariants after
// every event. Each is meant per cluster id: a forced recovery begins another cluster.
//   I1 at most one node believes that it holds a lease
//   I2 one value per write; what was chosen stays chosen (versions never go back), whoever votes
//   I3 a primary that opens its gate has every acknowledged commit (durability quorum)
//   I4 epochs never go back, neither chosen nor learned
//   I5 nothing is acknowledged under an epoch after its successor was chosen
//   I6 a lease is held only for a chosen epoch, by the primary that it names
//   I7 a server is promoted only for a chosen epoch that names it, from the end of WAL agreed on
//   I8 no commit is acknowledged above the counted replies of fenced nodes that suffice to go on
//      without it
//   I9 a node without a valid identity neither votes nor commits as a member
//   I10 a cluster begins only when every named voter has stored its first register
//   I11 while a gate is open, what PostgreSQL enforces is compatible with the chosen register
//   I12 across every change of voters and of S, quorums of consecutive registers intersect
//   I13 RELEASE never cancels a later grant
//   I14 a disk that lacks what its identity has voted (rolled back, or an old copy) is not counted
//       by whoever was told of more
//   I15 who heard that a forced recovery ended its cluster commits nothing more
//   C1 the core changes what is durable only when it says so (contract of Step)
//   F1, F2 frames and values survive their encoding and their checks
//   L1 writable, and L2 a coordinator, within a bound after the faults stop
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/consensus.h"
#include "wal.h"

namespace orchestra::sim {

class World;
struct Node;
struct Sender;

// The newest that a disk says it has promised and accepted.
struct LastVotes {
  Ballot promised;
  WriteId accepted;
  friend auto operator<=>(const LastVotes&, const LastVotes&) = default;
};
inline LastVotes VotedBy(const Durable& d) {
  return {d.promised, d.accepted ? d.accepted->write : WriteId{}};
}

struct Violation {
  std::string invariant;  // "I1"
  std::string text;
};

class Observer {
 public:
  explicit Observer(World& world) : world_(world) {}

  const std::optional<Violation>& violation() const { return violation_; }
  void Fail(const std::string& invariant, const std::string& text);

  // After a successful write of the vote file; `before` is what was on the disk.
  void Persisted(Node& node, const std::optional<Durable>& before);
  void Stepping(const Node& node, const Event& event);  // what AfterStep and Received compare with
  void AfterStep(const Node& node, bool persisted);     // I1, I6, I11, I13, C1
  void GateSet(const Node& node);                       // I9
  void Sent(const Node& node, const Envelope& envelope);
  // Around the step that hears `received`; `done`: the step was taken and stored.
  void Receiving(const Node& node, const orchestra::Received& received, const Sender& from);
  void Received(const Node& node, const orchestra::Received& received, const Sender& from,
                bool done);
  void EndOfWalRead(const Node& node, const WalPosition& position, Record record);
  void GateOpened(const Node& node);
  // The gate let an acknowledgement through that k standbys confirmed; and the client heard it.
  void Decided(const Node& node, Record record, std::uint32_t k);
  void Acknowledged(const Node& node, Record record, EpochId decided_in);
  void PromotionStarted(const Node& node, EpochId epoch);
  void Rejoined(const Node& node);  // its WAL was replaced: what it reported is void
  void RolledBack(const Node& node, const std::optional<Durable>& before);
  void Cloned(const Node& node);

  std::uint64_t acknowledged() const { return acknowledged_count_; }
  // The newest chosen register value of the newest cluster, or null.
  const RegisterValue* Newest() const;
  const RegisterValue* Newest(ClusterId cluster) const;
  // Does the disk lack something that its identity has voted?
  bool Outdated(const Node& node) const;

 private:
  struct Vote {
    ValuePtr value;
    std::set<NodeId> accepted_by;
    bool chosen = false;
  };
  struct Report {
    EpochId fenced;
    Record record;
  };
  struct History {  // of one cluster
    std::map<WriteId, ValuePtr> chosen;
    std::map<EpochId, ValuePtr> epochs;  // the write that began each chosen epoch
  };
  struct Tally {  // whose votes of one kind a node counts, and what it voted for
    std::set<NodeId> promises, acks, grants, positions;
    Ballot promised;
    WriteId accepted;
    bool in_failover = false;
  };

  // invariants.cpp
  void CheckAccepted(const Node& node, const Written& written);
  void CheckLearned(const Node& node, const std::optional<Durable>& before);
  void NoteAgreement(const Written& written);
  void Chosen(const WriteId& write, Vote& vote);
  void CheckSuccession(const RegisterValue& old, const RegisterValue& value);
  void CheckVoters(const RegisterValue& old, const RegisterValue& value);
  void CheckSync(const RegisterValue& old, const RegisterValue& value);
  void CountChange(const RegisterValue& old, const RegisterValue& value);
  void CountFailover(const RegisterValue& old, const RegisterValue& value);
  void BeginForced(const RegisterValue& value);
  const ValuePtr* EpochOf(const Node& node, EpochId epoch) const;
  static ClusterId ClusterOf(const Node& node);

  // votes.cpp
  void CheckLeases(const Node& node);
  void Voted(Node& node, const std::optional<Durable>& before);
  static Tally TallyOf(const State& state);
  void Told(const Node& node, const orchestra::Received& received);
  bool Counted(const Node& node, const orchestra::Received& received) const;
  bool ToldMore(const Node& node, const orchestra::Received& received, const Sender& from) const;

  // commits.cpp
  void CheckSetting(const Node& node);
  bool LacksQuorum(const Node& node, Record record) const;
  void WriteOffAbsent(Record end, std::uint64_t* count);

  World& world_;
  std::optional<Violation> violation_;
  bool beyond_claims_ = false;
  // While a step hears an outdated disk: it may turn out to be outside of the claims.
  bool judging_ = false;
  std::optional<Violation> postponed_;
  std::map<std::pair<ClusterId, WriteId>, Vote> votes_;
  std::map<ClusterId, History> clusters_;
  ClusterId newest_cluster_;
  std::vector<Record> acknowledged_;
  std::uint64_t acknowledged_count_ = 0;
  Record last_decided_ = 0;
  EpochId last_decided_in_;
  std::pair<EpochId, NodeId> opened_;     // the newest epoch whose gate was opened, and where
  std::map<NodeId, Instant> held_until_;  // by machine: lease, as last seen
  std::map<NodeId, Report> reports_;      // by member
  std::map<std::pair<Ballot, NodeId>, std::set<Lsn>> counted_;  // delivered to the coordinator
  std::map<EpochId, std::set<Lsn>> agreed_;                     // where the target may be promoted
  std::set<EpochId> forced_;                                    // it is promoted from where it is
  std::map<Incarnation, std::uint64_t> votes_made_;
  std::map<NodeId, EpochId> knew_;  // by machine: the newest epoch, before its disk was rolled back
  // The newest start and promise of an identity that a machine was told of in a STATUS.
  struct ToldOf {
    BootCount boot;
    LastVotes voted, newest;  // what it must remember by now, and may remember
    Micros newest_at{};
  };
  std::map<std::pair<NodeId, Incarnation>, ToldOf> told_;
  std::map<NodeId, ClusterId> told_of_end_;  // by machine: of which cluster
  // Before the step under way.
  Tally tally_;
  std::optional<std::pair<Instant, std::pair<BootCount, std::uint64_t>>> promise_;
  std::pair<BootCount, std::uint64_t> released_;
};

}  // namespace orchestra::sim
