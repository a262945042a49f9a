// One node of a cluster, driven by hand: every message and every moment is the test's own choice.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/consensus.h"
#include "printers.h"
#include "samples.h"

namespace orchestra::hand {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline constexpr std::uint64_t kSystem = 0x6A5B4C3D2E1F0011;
inline constexpr ClusterId kCluster{0xC0FFEE};
inline const EpochId kFirst = samples::Epoch(1, 1, 1);

// Voters n1 to n`nodes`, n1 the primary since the creation, on timeline 1.
inline RegisterValue FirstValue(std::uint16_t nodes = 3) {
  RegisterValue value;
  value.cluster_id = kCluster;
  value.system_identifier = kSystem;
  value.cluster_name = "main";
  value.version = Version{1};
  value.epoch = kFirst;
  value.primary = NodeId{1};
  value.active = true;
  value.timeline = TimelineId{1};
  for (std::uint16_t id = 1; id <= nodes; id++) value.members.push_back(samples::Node(id));
  value.sync = FullSyncSet(value, value.primary);
  value.basis = BasisOf(value);
  value.primary_boot = BootCount{2};  // every Node is booted once more
  value.lineage = {{TimelineId{1}, kFirst, Lsn{}}};
  return value;
}

// The epoch that a failover out of `old` to `primary` begins, written under `ballot`.
inline RegisterValue NextEpoch(const RegisterValue& old, std::uint16_t primary, Ballot ballot) {
  RegisterValue value = old;
  value.version.value++;
  value.epoch = EpochId{WriteId{ballot, value.version}};
  value.primary = NodeId{primary};
  value.active = false;
  value.timeline = TimelineId{};
  value.sync = FullSyncSet(value, value.primary);
  value.basis = BasisOf(old);
  value.primary_boot = BootCount{};
  return value;
}

// The write that makes an inactive epoch active on `timeline`.
inline RegisterValue Activated(RegisterValue value, std::uint32_t timeline,
                               BootCount boot = BootCount{2}) {
  value.version.value++;
  value.active = true;
  value.primary_boot = boot;
  value.timeline = TimelineId{timeline};
  value.target_branch.reset();
  if (value.lineage.back().timeline != value.timeline)
    value.lineage.push_back({value.timeline, value.epoch, Lsn{}});
  return value;
}

inline Written WriteOf(const RegisterValue& value, Ballot ballot) {
  return {WriteId{ballot, value.version}, std::make_shared<const RegisterValue>(value)};
}

inline Identity IdentityOf(std::uint16_t id) {
  return {NodeId{id}, Incarnation{id}, kSystem, 1000u + id, 1};
}

// What a node that took part since the creation has on its disk.
inline Durable MemoryOf(std::uint16_t id, const RegisterValue& value) {
  Durable durable;
  durable.identity = IdentityOf(id);
  durable.boot_count = BootCount{1};
  durable.promised = value.epoch.value.ballot;
  durable.accepted = durable.committed = WriteOf(value, durable.promised);
  durable.max_ttl_granted_ms = value.lease_ttl_ms;
  durable.wal_epoch = value.epoch;
  if (value.primary == NodeId{id}) durable.wrote_epoch = value.epoch;
  return durable;
}

class Node {
 public:
  explicit Node(const BootDecision& decision, std::uint16_t id = 0) : me_(id) {
    state = Boot(decision, now, 7);
  }
  // Configured. The hold-off of its start is over.
  explicit Node(std::uint16_t id, const RegisterValue& value = FirstValue())
      : Node(MemoryOf(id, value)) {
    Pass(seconds(10));
  }
  explicit Node(Durable durable) : me_(durable.identity.node.value) {
    BootDecision decision;
    decision.phase = Phase::kConfigured;
    decision.marker = Marker{kCluster, kSystem, "main"};
    decision.durable = std::move(durable);
    state = Boot(decision, now, 7);
  }

  void Pass(Micros time) { now = now + time; }

  const Actions& Do(const Event& event) { return last = Step(state, event, now); }
  const Actions& Tick() { return Do(orchestra::Tick{}); }
  const Actions& Hear(std::uint16_t from, Message message) {
    return Do(Received{{NodeId{from}, NodeId{me_}, std::move(message)},
                       kCluster,
                       Incarnation{from},
                       BootCount{1}});
  }
  const Actions& See(DbState db, std::uint32_t timeline = 1) {
    view.status.db = db;
    view.status.timeline = TimelineId{timeline};
    return Do(Observed{view});
  }
  // PostgreSQL enforces the S and k that it was told to.
  const Actions& Enforce() {
    view.sync_effective = state.setting_generation;
    return Do(Observed{view});
  }
  // What the shell does about the receiver: it is closed, or streams from the upstream.
  const Actions& SeeReceiverObey() {
    const Duties duties = DutiesOf(state, now);
    view.receiver_quiet = duties.receiver_closed;
    view.status.receiver =
        duties.receiver_closed ? ReceiverState::kParked : ReceiverState::kStreaming;
    return Do(Observed{view});
  }

  // What the last step sent to `to`, of one kind.
  template <typename M>
  std::optional<M> Sent(std::uint16_t to) const {
    for (const Envelope& envelope : last.send)
      if (envelope.to == NodeId{to})
        if (const M* message = std::get_if<M>(&envelope.message)) return *message;
    return std::nullopt;
  }

  State state;
  LocalView view;
  Instant now{seconds(1000), seconds(900)};
  Actions last;

 private:
  std::uint16_t me_;
};

// `node` wins an election with the votes of `voters`, and commits what it adopted.
inline void MakeCoordinator(Node& node, const std::vector<std::uint16_t>& voters) {
  node.Pass(seconds(5));
  node.Tick();
  const auto asked = node.Sent<PreVote>(voters.front());
  if (!asked) return;
  for (const std::uint16_t voter : voters) node.Hear(voter, PreVoteOk{asked->ballot});
  for (const std::uint16_t voter : voters)
    node.Hear(voter, Promise{asked->ballot, node.state.durable.accepted});
  if (!node.state.proposal) return;
  for (const std::uint16_t voter : voters) node.Hear(voter, Accepted{node.state.proposal->write});
}

// `voter` answers the coordinator's newest heartbeat.
inline void AnswerHeartbeat(Node& node, std::uint16_t voter, bool promise_live,
                            EpochId fenced = EpochId{}) {
  node.Hear(voter, HeartbeatAck{node.state.ballot, node.state.heartbeat_seq, promise_live, fenced});
}

// n2 leads; `Fence` makes it fence the epoch in force and ask for the ends of WAL.
class Coordinator : public Node {
 public:
  explicit Coordinator(const RegisterValue& value = FirstValue(), std::uint16_t voter = 3)
      : Coordinator(MemoryOf(2, value), voter) {}
  Coordinator(const Durable& durable, std::uint16_t voter) : Node(durable), voter_(voter) {
    Pass(seconds(10));
    See(DbState::kStandby);
    const RegisterValue& value = *durable.committed->value;
    MakeCoordinator(*this, voters(value));
  }

  const RegisterValue& value() const { return *state.proposal->value; }

  // A majority of voters says that it is fenced. In a cluster of five two others are asked.
  void Fence() {
    AnswerHeartbeat(*this, voter_, true, value().epoch);
    Tick();
    for (const std::uint16_t voter : also_) FencedVoter(voter);
    FencedVoter(voter_);
    Pass(milliseconds(200));
    Tick();
  }
  void FencedVoter(std::uint16_t voter) {
    Hear(voter, Fenced{state.ballot, value().version, value().epoch, std::nullopt});
  }
  void Position(std::uint16_t node, const WalPosition& position) {
    Hear(node, Fenced{state.ballot, value().version, value().epoch, position});
  }
  // Its own end of WAL.
  void OwnPosition(WalPosition position) {
    const auto scan = DutiesOf(state, now).scan;
    if (scan) Do(WalEndRead{*scan, std::move(position)});
  }
  // Nobody else answers in time.
  void WaitNoLonger() {
    Pass(milliseconds(600));
    AnswerHeartbeat(*this, voter_, true);
    for (const std::uint16_t voter : also_) AnswerHeartbeat(*this, voter, true);
    Tick();
  }
  bool Decided() const { return state.failover.stage == Failover::Stage::kNone; }

 private:
  std::vector<std::uint16_t> voters(const RegisterValue& value) {
    if (VoterCount(value) == 5) also_ = {4};
    std::vector<std::uint16_t> all = also_;
    all.push_back(voter_);
    return all;
  }
  std::uint16_t voter_;
  std::vector<std::uint16_t> also_;
};

inline WalPosition End(std::uint64_t lsn, EpochId wal_epoch = kFirst, std::uint32_t timeline = 1,
                       std::vector<TimelineEnd> history = {}) {
  WalPosition position;
  position.timeline = TimelineId{timeline};
  position.end = Lsn{lsn};
  position.exact = true;
  position.history = std::move(history);
  position.wal_epoch = wal_epoch;
  return position;
}

inline WalPosition OutOfRecovery(WalPosition position) {
  position.out_of_recovery = true;
  return position;
}

// Five voters. n5 was chosen after n1 and left its line, but never became active.
struct InactiveEpoch {
  RegisterValue first = FirstValue(5);
  RegisterValue second = NextEpoch(first, 5, Ballot{2, NodeId{5}});
  WalPosition Left(std::uint64_t at) const {
    return End(at + 50, second.epoch, 2, {{TimelineId{1}, Lsn{at}}});
  }
};

}  // namespace orchestra::hand
