// The observer: sees everything at once, which no node can, and checks the named invariants after
// every event.
//   I1 at most one node believes that it holds a lease
//   I2 one value per write; what was chosen stays chosen (versions never go back)
//   I3 a primary that opens its gate has every acknowledged commit
//   I4 epochs never go back, neither chosen nor learned
//   I5 nothing is acknowledged under an epoch after its successor was chosen
//   I6 a lease is held only for a chosen epoch, by the primary that it names
//   I7 a server is promoted only for a chosen epoch that names it, from the end of WAL agreed on
//   I8 no commit is acknowledged above the counted replies of fenced nodes that suffice to go on
//      without it
//   I9 a node without a valid identity neither votes nor commits as a member
//   I10 a cluster begins only when every named voter has stored its first register
//   C1 the core changes what is durable only when it says so (contract of Step)
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
  void Persisted(const Node& node, const std::optional<Durable>& before);
  void AfterStep(const Node& node, bool persisted);  // I1, I6, C1
  void Sent(const Node& node, const Envelope& envelope);
  void Received(const Node& node, const Envelope& envelope);
  void EndOfWalRead(const Node& node, const WalPosition& position, Record record);
  void GateOpened(const Node& node);
  // The gate let an acknowledgement through that k standbys confirmed; and the client heard it.
  void Decided(const Node& node, Record record, std::uint32_t k);
  void Acknowledged(const Node& node, Record record, EpochId decided_in);
  void PromotionStarted(const Node& node, EpochId epoch);
  void Rejoined(const Node& node);  // its WAL was replaced: what it reported is void
  void RolledBack(const Node& node);
  void Cloned(const Node& node);

  const std::vector<Record>& acknowledged() const { return acknowledged_; }
  // The newest chosen register value, or null.
  const RegisterValue* Newest() const;

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

  void CheckAccepted(const Node& node, const Written& written);
  void CheckLearned(const Node& node, const std::optional<Durable>& before);
  void NoteAgreement(const Written& written);
  void Chosen(const WriteId& write, Vote& vote);
  void CountFailover(const RegisterValue& old, const RegisterValue& value);
  bool LacksQuorum(const Node& node, Record record) const;

  World& world_;
  std::optional<Violation> violation_;
  std::map<std::pair<ClusterId, WriteId>, Vote> votes_;
  std::map<WriteId, ValuePtr> chosen_;
  std::map<EpochId, ValuePtr> epochs_;  // the write that began each chosen epoch
  std::vector<Record> acknowledged_;
  std::pair<EpochId, NodeId> opened_;     // the newest epoch whose gate was opened, and where
  std::map<NodeId, Instant> held_until_;  // lease, as last seen
  std::map<NodeId, Report> reports_;
  std::map<std::pair<Ballot, NodeId>, std::set<Lsn>> counted_;  // delivered to the coordinator
  std::map<EpochId, std::set<Lsn>> agreed_;                     // where the target may be promoted
};

}  // namespace orchestra::sim
