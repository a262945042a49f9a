// Rules 4, 5 and 10, one sentence a test: fence, what is counted, who is chosen, activation.
#include <gtest/gtest.h>

#include "consensus_node.h"

namespace orchestra::hand {
namespace {

constexpr Micros kTtl = milliseconds(2000);

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
    Decided();
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

WalPosition End(std::uint64_t lsn, EpochId wal_epoch = kFirst, std::uint32_t timeline = 1,
                std::vector<TimelineEnd> history = {}) {
  WalPosition position;
  position.timeline = TimelineId{timeline};
  position.end = Lsn{lsn};
  position.exact = true;
  position.history = std::move(history);
  position.wal_epoch = wal_epoch;
  return position;
}

WalPosition OutOfRecovery(WalPosition position) {
  position.out_of_recovery = true;
  return position;
}

// ---------------------------------------------------------------- rule 4: fence

TEST(Fence, VotersComeFirst) {
  Coordinator node;
  AnswerHeartbeat(node, 3, true, kFirst);
  node.Tick();
  ASSERT_EQ(node.state.failover.stage, Failover::Stage::kFenceVoters);
  EXPECT_FALSE(node.Sent<orchestra::Fence>(3).value().want_position);
  node.FencedVoter(3);
  node.Pass(milliseconds(200));
  node.Tick();
  EXPECT_TRUE(node.Sent<orchestra::Fence>(1).value().want_position);
}

TEST(Fence, DanglingFenceIsCompleted) {
  struct Case {
    const char* name;
    EpochId fenced;
    bool completed;
  };
  for (const Case& c :
       {Case{"never", EpochId{}, false}, Case{"an older epoch", samples::Epoch(1, 1, 0), false},
        Case{"the epoch in force", kFirst, true},
        Case{"a later one", samples::Epoch(9, 1, 1), true}}) {
    Coordinator node;
    AnswerHeartbeat(node, 3, true, c.fenced);
    node.Tick();
    EXPECT_EQ(!node.Decided(), c.completed) << c.name;
  }
}

TEST(Fence, IsDurableBeforeItIsAnswered) {
  Node node(3);
  node.See(DbState::kStandby);
  node.Hear(2, orchestra::Fence{Ballot{5, NodeId{2}}, Version{1}, kFirst, false});
  EXPECT_TRUE(node.last.persist);
  EXPECT_EQ(node.state.durable.fenced, kFirst);
  EXPECT_EQ(node.state.durable.promised, (Ballot{5, NodeId{2}}));
  EXPECT_TRUE(node.Sent<Fenced>(2));
  EXPECT_TRUE(DutiesOf(node.state, node.now).receiver_closed);
  Node restarted(node.state.durable);
  restarted.See(DbState::kStandby);
  restarted.Tick();
  EXPECT_TRUE(DutiesOf(restarted.state, restarted.now).receiver_closed);
}

TEST(Fence, OfAnOldBallotIsRefused) {
  Node node(3);
  node.Hear(2, orchestra::Fence{Ballot{5, NodeId{2}}, Version{1}, kFirst, false});
  node.Hear(1, orchestra::Fence{Ballot{4, NodeId{1}}, Version{1}, kFirst, true});
  EXPECT_TRUE(node.Sent<Nack>(1));
  EXPECT_FALSE(node.Sent<Fenced>(1));
}

TEST(Fence, VoterGrantsNoLeaseOfAFencedEpoch) {
  Node node(3);
  node.Hear(2, orchestra::Fence{Ballot{5, NodeId{2}}, Version{1}, kFirst, false});
  node.Hear(1, LeaseRequest{kFirst, BootCount{1}, 1, 0});
  EXPECT_FALSE(node.Sent<LeaseAck>(1));
}

TEST(Fence, PrimaryClosesItsGateAndReleasesAtOnce) {
  Node node(1);
  node.view.status.flush_lsn = Lsn{100};
  node.view.standby_flushed = {{NodeId{2}, Lsn{100}}};
  node.view.sync_effective = Version{1};
  node.See(DbState::kPrimary);
  const std::uint64_t seq = node.state.request_seq;
  const BootCount boot = node.state.durable.boot_count;
  for (const std::uint16_t voter : {2, 3})
    node.Hear(voter, LeaseAck{kFirst, boot, seq, 1, true, 2000});
  ASSERT_TRUE(GateOpen(node.state, node.now));
  node.Hear(2, orchestra::Fence{Ballot{5, NodeId{2}}, Version{1}, kFirst, true});
  EXPECT_FALSE(GateOpen(node.state, node.now));
  EXPECT_EQ(node.Sent<Release>(3), (Release{kFirst, boot, seq}));
  for (const std::uint16_t voter : {2, 3})
    node.Hear(voter, LeaseAck{kFirst, boot, seq, 1, true, 2000});
  EXPECT_FALSE(HoldsLease(node.state, node.now)) << "late grants";
  node.Pass(seconds(1));
  node.Tick();
  EXPECT_FALSE(node.Sent<LeaseRequest>(2));
}

TEST(Fence, NothingIsAnsweredFromMemory) {
  Node node(3);
  node.See(DbState::kStandby);
  const orchestra::Fence fence{Ballot{5, NodeId{2}}, Version{1}, kFirst, true};
  node.Hear(2, fence);
  EXPECT_FALSE(node.Sent<Fenced>(2));
  const std::uint64_t first = DutiesOf(node.state, node.now).scan.value();
  node.Do(WalEndRead{first, End(100)});
  EXPECT_EQ(node.Sent<Fenced>(2).value().position->end, Lsn{100});
  node.Hear(2, fence);
  EXPECT_FALSE(node.Sent<Fenced>(2));
  EXPECT_GT(DutiesOf(node.state, node.now).scan.value(), first);
  node.Do(WalEndRead{first, End(100)});
  EXPECT_FALSE(node.Sent<Fenced>(2)) << "the answer to the first question";
}

TEST(Fence, ScanOfAnEarlierEpochIsDropped) {
  const Ballot ballot{5, NodeId{2}};
  Node node(3);
  node.See(DbState::kStandby);
  node.Hear(2, orchestra::Fence{ballot, Version{1}, kFirst, true});
  const std::uint64_t scan = DutiesOf(node.state, node.now).scan.value();
  const RegisterValue second = NextEpoch(FirstValue(), 2, ballot);
  node.Hear(2, Commit{WriteOf(second, ballot), 1});
  node.Hear(2, orchestra::Fence{ballot, second.version, second.epoch, true});
  node.Do(WalEndRead{scan, End(100)});
  EXPECT_FALSE(node.Sent<Fenced>(2));
}

// ---------------------------------------------------------------- rule 5: counting and choosing

TEST(Failover, NeedsEnoughOfTheSynchronousSet) {
  Coordinator node;
  node.Fence();
  node.OwnPosition(End(100));
  node.WaitNoLonger();
  EXPECT_FALSE(node.Decided()) << "one of two with k = 1";
  node.Position(3, End(90));
  EXPECT_TRUE(node.Decided());
  EXPECT_EQ(node.value().primary, NodeId{2});
  EXPECT_FALSE(node.value().active);
  EXPECT_EQ(node.value().basis, BasisOf(FirstValue()));
}

TEST(Failover, OldPrimarysOwnStopIsEnough) {
  Coordinator node;
  node.Fence();
  node.OwnPosition(End(100));
  node.Position(1, OutOfRecovery(End(110)));
  node.WaitNoLonger();
  EXPECT_TRUE(node.Decided());
  EXPECT_EQ(node.value().primary, NodeId{1});
}

TEST(Failover, InexactReplyIsNotCounted) {
  Coordinator node;
  node.Fence();
  node.OwnPosition(End(100));
  WalPosition position = End(200);
  position.exact = false;
  node.Position(3, position);
  node.WaitNoLonger();
  EXPECT_FALSE(node.Decided());
}

TEST(Failover, FencedReplyOfAnOlderVersionIsNotCounted) {
  Coordinator node;
  node.Fence();
  node.OwnPosition(End(100));
  Fenced reply{node.state.ballot, Version{0}, kFirst, End(100)};
  node.Hear(3, reply);
  node.WaitNoLonger();
  EXPECT_FALSE(node.Decided());
  reply.version = node.value().version;
  reply.ballot.round--;
  node.Hear(3, reply);
  node.WaitNoLonger();
  EXPECT_FALSE(node.Decided()) << "a reply to another coordinator";
}

// A register write of the fenced epoch (its activation) makes all that was counted before void.
TEST(Failover, RecountsAfterARegisterChange) {
  RegisterValue second = NextEpoch(FirstValue(), 1, Ballot{2, NodeId{2}});
  Coordinator node(second);
  node.Fence();
  node.OwnPosition(End(100));
  ASSERT_EQ(node.state.failover.positions.size(), 1u);
  node.Hear(1, Request{second.epoch, second.version, TimelineId{1}, node.state.ballot,
                       node.state.heartbeat_seq});
  node.Hear(3, Accepted{node.state.proposal->write});
  ASSERT_TRUE(node.value().active);
  node.Hear(3, Fenced{node.state.ballot, second.version, second.epoch, End(100)});
  node.Tick();
  EXPECT_TRUE(node.state.failover.positions.empty());
}

TEST(Failover, TargetHoldsTheHighestCountedEnd) {
  struct Case {
    const char* name;
    std::uint64_t n2, n3;
    std::uint16_t target;
  };
  for (const Case& c : {Case{"n2 is ahead", 110, 100, 2}, Case{"n3 is ahead", 100, 110, 3},
                        Case{"both", 100, 100, 2}}) {
    Coordinator node;
    node.Fence();
    node.OwnPosition(End(c.n2));
    node.Position(3, End(c.n3));
    node.WaitNoLonger();
    ASSERT_TRUE(node.Decided()) << c.name;
    EXPECT_EQ(node.value().primary, NodeId{c.target}) << c.name;
  }
}

// Five voters. n2 was chosen after n1 and left the line at 100, but never became active.
struct InactiveEpoch {
  RegisterValue first = FirstValue(5);
  RegisterValue second = NextEpoch(first, 5, Ballot{2, NodeId{5}});
  WalPosition Left(std::uint64_t at) const {
    return End(at + 50, second.epoch, 2, {{TimelineId{1}, Lsn{at}}});
  }
};

TEST(Failover, ValidityInAnInactiveEpoch) {
  const InactiveEpoch epoch;
  Coordinator node(epoch.second);
  node.Fence();
  node.OwnPosition(epoch.Left(100));
  node.Position(3, End(100));
  node.Position(4, End(90));
  node.WaitNoLonger();
  EXPECT_FALSE(node.Decided()) << "four of five are needed of the last active epoch's set";
  node.Position(5, OutOfRecovery(epoch.Left(100)));
  ASSERT_TRUE(node.Decided());
  EXPECT_EQ(node.value().primary, NodeId{5}) << "the target stays while nobody is ahead";
  EXPECT_EQ(node.value().basis, BasisOf(epoch.first)) << "the last active epoch stays the basis";
  EXPECT_EQ(node.value().target_branch, (LineageEntry{TimelineId{2}, epoch.second.epoch}));
}

// Timeline numbers are no order: what left an abandoned timeline 2 is not on the cluster's own
// timeline 2, and its history file looks the same.
TEST(Failover, AbandonedBranchIsNotCounted) {
  const InactiveEpoch epoch;
  const EpochId abandoned = epoch.second.epoch;
  const EpochId followed = samples::Epoch(3, 3, 3);
  const RegisterValue third = Activated(NextEpoch(epoch.second, 1, Ballot{4, NodeId{4}}), 2);
  ASSERT_EQ(third.lineage.back(), (LineageEntry{TimelineId{2}, third.epoch}));
  struct Case {
    const char* name;
    WalPosition position;
    bool counted;
  };
  const std::vector<TimelineEnd> one = {{TimelineId{1}, Lsn{100}}};
  const std::vector<TimelineEnd> two = {{TimelineId{1}, Lsn{100}}, {TimelineId{2}, Lsn{900}}};
  for (const Case& c : {Case{"on the line", End(150, third.epoch, 2, one), true},
                        Case{"left the line later", End(950, third.epoch, 3, two), true},
                        Case{"abandoned, same number", End(950, abandoned, 2, one), false},
                        Case{"left an abandoned line", End(950, followed, 3, two), false}}) {
    Durable memory = MemoryOf(2, third);
    Coordinator node(memory, 3);
    node.Fence();
    node.OwnPosition(End(200, third.epoch, 2, one));
    node.Position(3, End(200, third.epoch, 2, one));
    node.Position(4, End(200, third.epoch, 2, one));
    node.Position(5, c.position);
    node.WaitNoLonger();
    EXPECT_EQ(node.Decided(), c.counted) << c.name;
  }
}

// ---------------------------------------------------------------- un-fencing

TEST(Follow, FormerPrimaryDoesNotFollow) {
  const Ballot ballot{5, NodeId{2}};
  Node node(1);
  node.See(DbState::kStandby);  // somebody made a standby of it
  node.Hear(2, Commit{WriteOf(NextEpoch(FirstValue(), 2, ballot), ballot), 1});
  node.SeeReceiverObey();
  node.Tick();
  EXPECT_TRUE(DutiesOf(node.state, node.now).receiver_closed);
}

TEST(Follow, OnlyByALaterEpochThanTheFence) {
  const Ballot ballot{5, NodeId{2}};
  const RegisterValue second = NextEpoch(FirstValue(), 2, ballot);
  Node node(3);
  node.See(DbState::kStandby);
  node.Hear(2, orchestra::Fence{ballot, second.version, second.epoch, false});
  node.Hear(2, Commit{WriteOf(second, ballot), 1});
  node.SeeReceiverObey();
  node.Tick();
  EXPECT_TRUE(DutiesOf(node.state, node.now).receiver_closed);
  const RegisterValue third = NextEpoch(second, 2, ballot);
  node.Hear(2, Commit{WriteOf(third, ballot), 2});
  node.SeeReceiverObey();
  node.Tick();
  EXPECT_FALSE(DutiesOf(node.state, node.now).receiver_closed);
  EXPECT_EQ(DutiesOf(node.state, node.now).upstream, NodeId{2});
}

// WAL of the old upstream's own timeline may come in after the look at the timeline, as long as a
// receiver runs: what was judged would not be what this node holds.
TEST(Follow, OnlyOnceTheOldReceiverIsQuiet) {
  const Ballot ballot{5, NodeId{2}};
  Node node(3);
  node.See(DbState::kStandby);
  node.SeeReceiverObey();
  ASSERT_FALSE(node.view.receiver_quiet);
  node.Hear(2, Commit{WriteOf(NextEpoch(FirstValue(), 2, ballot), ballot), 1});
  node.Tick();
  EXPECT_EQ(node.state.durable.wal_epoch, kFirst);
  EXPECT_TRUE(DutiesOf(node.state, node.now).receiver_closed);
  node.SeeReceiverObey();
  node.Tick();
  EXPECT_EQ(DutiesOf(node.state, node.now).upstream, NodeId{2});
}

TEST(Follow, AbandonedBranchDoesNotFollow) {
  const InactiveEpoch epoch;
  const RegisterValue third = NextEpoch(epoch.second, 4, Ballot{4, NodeId{4}});
  struct Case {
    const char* name;
    std::uint32_t timeline;
    RegisterValue value;
    bool follows;
  };
  for (const Case& c :
       {Case{"on the basis", 1, third, true}, Case{"on the abandoned line", 2, third, false},
        Case{"same number", 2, Activated(third, 2), false},
        Case{"not known yet", 0, third, false}}) {
    Durable memory = MemoryOf(3, epoch.second);
    Node node(memory);
    node.view.receiver_quiet = true;
    node.See(DbState::kStandby, c.timeline);
    node.Hear(4, Commit{WriteOf(c.value, Ballot{4, NodeId{4}}), 1});
    node.Tick();
    EXPECT_EQ(DutiesOf(node.state, node.now).upstream == NodeId{4}, c.follows) << c.name;
  }
}

// ---------------------------------------------------------------- promotion and activation

// n2 is named by an inactive epoch; n3 leads.
class Promotee : public Node {
 public:
  Promotee() : Node(2) {
    See(DbState::kStandby);
    Hear(3, Commit{WriteOf(second, ballot), 1});
  }
  void HoldLease() {
    for (const std::uint16_t voter : {2, 3})
      Hear(voter,
           LeaseAck{second.epoch, state.durable.boot_count, state.request_seq, 1, true, 2000});
  }
  const Ballot ballot{5, NodeId{3}};
  const RegisterValue second = NextEpoch(FirstValue(), 2, ballot);
};

TEST(Activation, PromotesAfterTheCommitAndNotesItFirst) {
  Promotee node;
  node.Tick();
  EXPECT_TRUE(node.last.persist);
  EXPECT_EQ(node.state.durable.wrote_epoch, node.second.epoch);
  EXPECT_EQ(DutiesOf(node.state, node.now).promote, node.second.epoch);
}

TEST(Activation, FencedPromoteeIsNotPromoted) {
  Promotee node;
  node.Hear(3, orchestra::Fence{node.ballot, node.second.version, node.second.epoch, false});
  node.Tick();
  EXPECT_EQ(DutiesOf(node.state, node.now).promote, std::nullopt);
}

TEST(Activation, WaitsForLeaseSettingAndStandby) {
  struct Case {
    const char* name;
    bool lease, setting, standby;
  };
  for (const Case& c :
       {Case{"all", true, true, true}, Case{"no lease", false, true, true},
        Case{"S not in force", true, false, true}, Case{"not flushed", true, true, false}}) {
    Promotee node;
    node.Tick();
    node.view.status.flush_lsn = Lsn{200};
    node.view.sync_effective = c.setting ? node.second.version : Version{1};
    node.view.standby_flushed = {{NodeId{3}, Lsn{c.standby ? 200u : 199u}}};
    if (c.lease) node.HoldLease();
    node.See(DbState::kPrimary, 2);
    const auto request = node.Sent<Request>(3);
    EXPECT_EQ(request.has_value(), c.lease && c.setting && c.standby) << c.name;
    EXPECT_FALSE(GateOpen(node.state, node.now)) << c.name;
    if (!request) continue;
    EXPECT_EQ(request->timeline, TimelineId{2});
    node.Hear(3, Commit{WriteOf(Activated(node.second, 2), node.ballot), 2});
    EXPECT_TRUE(GateOpen(node.state, node.now));
  }
}

TEST(Activation, FlushBeforeTheRestartIsProvedAnew) {
  Promotee before;
  before.Tick();
  before.view.status.flush_lsn = Lsn{200};
  before.view.standby_flushed = {{NodeId{3}, Lsn{200}}};
  before.See(DbState::kPrimary, 2);
  before.Hear(3, Commit{WriteOf(Activated(before.second, 2), before.ballot), 2});
  Node node(before.state.durable);
  node.view.status.flush_lsn = Lsn{300};
  node.view.sync_effective = before.second.version;
  node.view.standby_flushed = {{NodeId{3}, Lsn{200}}};
  node.See(DbState::kPrimary, 2);
  const LeaseAck ack{
      before.second.epoch, node.state.durable.boot_count, node.state.request_seq, 1, true, 2000};
  for (const std::uint16_t voter : {2, 3}) node.Hear(voter, ack);
  ASSERT_TRUE(HoldsLease(node.state, node.now));
  EXPECT_FALSE(GateOpen(node.state, node.now));
  node.view.standby_flushed = {{NodeId{3}, Lsn{300}}};
  node.See(DbState::kPrimary, 2);
  EXPECT_TRUE(GateOpen(node.state, node.now));
}

TEST(Activation, LateRequestAfterRestart) {
  const RegisterValue second = NextEpoch(FirstValue(), 1, Ballot{2, NodeId{2}});
  struct Case {
    const char* name;
    std::uint64_t age;  // in heartbeats
    std::uint64_t base;
    bool activates;
  };
  for (const Case& c : {Case{"fresh", 0, 2, true}, Case{"old", 5, 2, false},
                        Case{"of another version", 0, 1, false}}) {
    Coordinator node(second);
    for (int i = 0; i < 10; i++) {
      node.Pass(milliseconds(150));
      AnswerHeartbeat(node, 3, true);
      node.Tick();
    }
    node.Hear(1, Request{second.epoch, Version{c.base}, TimelineId{2}, node.state.ballot,
                         node.state.heartbeat_seq - c.age});
    EXPECT_EQ(node.value().active, c.activates) << c.name;
  }
}

// ---------------------------------------------------------------- rule 8

TEST(Evidence, LeaseThatIsRenewedVetoesAFailover) {
  Coordinator node;
  for (int i = 0; i < 100; i++) {
    node.Pass(milliseconds(50));
    AnswerHeartbeat(node, 3, true);
    node.Tick();
    ASSERT_TRUE(node.Decided());
  }
}

TEST(Evidence, TimeWithoutALeaseCountsFromTheEpochsCommit) {
  Coordinator node;
  node.state.view.status.receiver = ReceiverState::kStreaming;
  Micros passed{};
  while (node.Decided() && passed < seconds(10)) {
    node.Pass(milliseconds(50));
    passed += milliseconds(50);
    AnswerHeartbeat(node, 3, false);
    NodeStatus streams;
    streams.receiver = ReceiverState::kStreaming;
    node.Hear(3, Status{streams});
    node.Tick();
  }
  EXPECT_GE(passed, kTtl);
  EXPECT_LE(passed, kTtl + milliseconds(300));
}

}  // namespace
}  // namespace orchestra::hand
