// Rules 4, 5 and 10, one sentence a test: fence, what is counted, who is chosen.
#include <gtest/gtest.h>

#include "consensus_node.h"

namespace orchestra::hand {
namespace {

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
  node.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{1}, 1, 0});
  EXPECT_FALSE(node.Sent<LeaseAck>(1));
}

TEST(Fence, PrimaryClosesItsGateAndReleasesAtOnce) {
  Node node(1);
  node.view.status.flush_lsn = Lsn{100};
  node.view.standby_flushed = {{NodeId{2}, Lsn{100}}};
  node.See(DbState::kPrimary);
  node.Enforce();
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

// Else the end of WAL would be read while WAL comes in, and answer the next FENCE.
TEST(Fence, OfAnEpochThatIsOverIsNotObeyed) {
  Node node(3);
  node.See(DbState::kStandby);
  const Ballot ballot{5, NodeId{2}};
  node.Hear(2, Commit{WriteOf(NextEpoch(FirstValue(), 2, ballot), ballot), 1});
  node.Hear(2, orchestra::Fence{ballot, Version{1}, kFirst, true});
  EXPECT_FALSE(DutiesOf(node.state, node.now).scan);
  EXPECT_EQ(node.state.durable.fenced, EpochId{});
  EXPECT_FALSE(node.Sent<Fenced>(2));
}

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
  node.Hear(1,
            Request{1, second.epoch, second.version, BootCount{1}, Activate{TimelineId{1}, Lsn{}},
                    node.state.ballot, node.state.heartbeat_seq});
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
  EXPECT_EQ(node.value().target_branch, (LineageEntry{TimelineId{2}, epoch.second.epoch, Lsn{}}));
}

// Timeline numbers are no order: what left an abandoned timeline 2 is not on the cluster's own
// timeline 2, and its history file looks the same.
TEST(Failover, AbandonedBranchIsNotCounted) {
  const InactiveEpoch epoch;
  const EpochId abandoned = epoch.second.epoch;
  const EpochId followed = samples::Epoch(3, 3, 3);
  const RegisterValue third = Activated(NextEpoch(epoch.second, 1, Ballot{4, NodeId{4}}), 2);
  ASSERT_EQ(third.lineage.back(), (LineageEntry{TimelineId{2}, third.epoch, Lsn{}}));
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

}  // namespace
}  // namespace orchestra::hand
