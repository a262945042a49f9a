// Rules 4, 5 and 8, one sentence a test: who follows a new epoch, activation, evidence.
#include <gtest/gtest.h>

#include "consensus_node.h"

namespace orchestra::hand {
namespace {

constexpr Micros kTtl = milliseconds(2000);

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
    node.view.standby_flushed = {{NodeId{3}, Lsn{c.standby ? 200u : 199u}}};
    if (c.lease) node.HoldLease();
    node.See(DbState::kPrimary, 2);
    if (c.setting) node.Enforce();
    const auto request = node.Sent<Request>(3);
    EXPECT_EQ(request.has_value(), c.lease && c.setting && c.standby) << c.name;
    EXPECT_FALSE(GateOpen(node.state, node.now)) << c.name;
    if (!request) continue;
    EXPECT_EQ(request->change, (Change{Activate{TimelineId{2}, Lsn{}}}));
    node.Hear(
        3,
        Commit{WriteOf(Activated(node.second, 2, node.state.durable.boot_count), node.ballot), 2});
    EXPECT_TRUE(GateOpen(node.state, node.now));
  }
}

TEST(Activation, FlushBeforeTheRestartIsProvedAnew) {
  Promotee before;
  before.Tick();
  before.view.status.flush_lsn = Lsn{200};
  before.view.standby_flushed = {{NodeId{3}, Lsn{200}}};
  before.See(DbState::kPrimary, 2);
  before.Hear(3, Commit{WriteOf(Activated(before.second, 2, BootCount{3}), before.ballot), 2});
  Node node(before.state.durable);
  node.view.status.flush_lsn = Lsn{300};
  node.view.standby_flushed = {{NodeId{3}, Lsn{200}}};
  node.See(DbState::kPrimary, 2);
  node.Enforce();
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
    node.Hear(
        1, Request{1, second.epoch, Version{c.base}, BootCount{1}, Activate{TimelineId{2}, Lsn{}},
                   node.state.ballot, node.state.heartbeat_seq - c.age});
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
