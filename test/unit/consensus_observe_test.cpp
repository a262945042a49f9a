// Mode observe: it looks and touches nothing, and where it ends nobody else is promoted before the
// primary has said that it is gated.
#include "consensus_node.h"

namespace orchestra::hand {
namespace {

RegisterValue Observed3() {
  RegisterValue value = FirstValue();
  value.mode = Mode::kObserve;
  value.sync = SyncSet{};
  value.basis = Basis{};
  value.primary_boot = BootCount{};
  return value;
}

// The next version of the register, changed by `change`.
template <typename Change>
RegisterValue Next(RegisterValue value, Change change) {
  value.version.value++;
  change(value);
  return value;
}

const Ballot kBallot{3, NodeId{2}};

TEST(Observe, NothingIsGatedSetOrClosed) {
  for (const std::uint16_t id : {1, 2}) {
    Node node(id, Observed3());
    node.See(id == 1 ? DbState::kPrimary : DbState::kStandby);
    node.Tick();
    const Duties duties = DutiesOf(node.state, node.now);
    EXPECT_FALSE(duties.managed || duties.gated || duties.receiver_closed || duties.mute) << id;
    EXPECT_FALSE(duties.sync_generation || duties.promote || duties.scan) << id;
    EXPECT_EQ(duties.upstream, kNoNode) << id;
  }
}

TEST(Observe, WhoKnowsOfNoCommitIsClosed) {
  Durable durable = MemoryOf(1, Observed3());
  durable.committed.reset();
  Node node(durable);
  node.See(DbState::kPrimary);
  node.Tick();
  const Duties duties = DutiesOf(node.state, node.now);
  EXPECT_TRUE(duties.gated && duties.receiver_closed);
  EXPECT_FALSE(duties.gate_open);
}

// Else it would be the second one that commits.
TEST(Observe, FormerPrimaryStaysClosed) {
  const RegisterValue value = Next(Observed3(), [](auto& v) { v.primary = NodeId{2}; });
  Durable durable = MemoryOf(1, value);
  durable.wrote_epoch = kFirst;
  Node node(durable);
  node.See(DbState::kPrimary);
  EXPECT_TRUE(DutiesOf(node.state, node.now).gated);
  node.Hear(2, Commit{WriteOf(Next(value, [](auto& v) { v.dropped = true; }), kBallot), 1});
  node.Pass(seconds(20));
  node.Tick();
  EXPECT_FALSE(node.last.leave);
  EXPECT_TRUE(DutiesOf(node.state, node.now).gated);
}

// The register has moved on from mode observe, of which this node has not heard yet.
TEST(Observe, FenceOfANewerRegisterIsObeyed) {
  const RegisterValue value = Observed3();
  for (const std::uint64_t version : {1, 2}) {
    Node node(1, value);
    node.See(DbState::kPrimary);
    node.Hear(2, Fence{kBallot, Version{version}, kFirst, false});
    const bool newer = version > value.version.value;
    EXPECT_EQ(DutiesOf(node.state, node.now).gated, newer) << version;
    EXPECT_FALSE(GateOpen(node.state, node.now));
    Node again(node.state.durable);
    EXPECT_EQ(DutiesOf(again.state, again.now).gated, newer) << version << ", started again";
  }
}

TEST(Observe, StandbyThatWasPromotedByHandBeforeStaysClosed) {
  Node node(3);
  node.See(DbState::kPrimary, 2);
  EXPECT_TRUE(node.last.persist);
  node.Hear(2, Commit{WriteOf(Next(Observed3(), [](auto&) {}), kBallot), 1});
  node.See(DbState::kPrimary, 2);
  EXPECT_TRUE(DutiesOf(node.state, node.now).gated);
}

TEST(Observe, SuspectHearsThatItEnded) {
  BootDecision decision;
  decision.phase = Phase::kConfigured;
  decision.marker = Marker{kCluster, kSystem, "main"};
  decision.durable = MemoryOf(1, Observed3());
  decision.suspect = decision.moved = true;
  Node node(decision, 1);
  node.See(DbState::kPrimary);
  EXPECT_FALSE(DutiesOf(node.state, node.now).gated);
  const RegisterValue manual = Next(Observed3(), [](auto& v) { v.mode = Mode::kManual; });
  node.Hear(2, Commit{WriteOf(manual, kBallot), 1});
  EXPECT_TRUE(DutiesOf(node.state, node.now).gated);
  EXPECT_NE(node.state.durable.promised, kBallot) << "it does not vote";
}

// What a failover counts is on the register's timeline.
TEST(Observe, PrimaryOnAnotherTimelineStaysClosedWhenItEnds) {
  for (const std::uint32_t timeline : {1, 3}) {
    Node node(1, Observed3());
    node.view.status.flush_lsn = Lsn{100};
    node.See(DbState::kPrimary, timeline);
    node.Tick();
    const LeaseAck ack{kFirst, node.state.durable.boot_count, node.state.request_seq, 1, true,
                       2000};
    for (const std::uint16_t voter : {2, 3}) node.Hear(voter, ack);
    node.Tick();
    const RegisterValue manual = Next(Observed3(), [](auto& v) { v.mode = Mode::kManual; });
    node.Hear(2, Commit{WriteOf(manual, kBallot), 1});
    EXPECT_EQ(DutiesOf(node.state, node.now).gate_open, timeline == 1) << timeline;
  }
}

TEST(Observe, EndsOnlyWhileThePrimaryIsOnTheRegistersTimeline) {
  for (const std::uint32_t timeline : {1, 3}) {
    Coordinator node(Observed3());
    NodeStatus status;
    status.db = DbState::kPrimary;
    status.timeline = TimelineId{timeline};
    node.Hear(1, Status{status});
    AnswerHeartbeat(node, 3, true);
    ChangeSettings manual;
    manual.mode = Mode::kManual;
    node.Do(Command{1, manual, seconds(1)});
    node.Tick();
    EXPECT_EQ(node.value().mode == Mode::kManual, timeline == 1) << timeline;
  }
}

TEST(Observe, EndsWithoutAGapForCommits) {
  Node node(1, Observed3());
  node.view.status.flush_lsn = Lsn{100};
  node.See(DbState::kPrimary);
  node.Tick();
  const std::uint64_t seq = node.state.request_seq;
  const LeaseAck ack{kFirst, node.state.durable.boot_count, seq, 1, true, 2000};
  for (const std::uint16_t voter : {2, 3}) node.Hear(voter, ack);
  ASSERT_TRUE(HoldsLease(node.state, node.now));
  node.Pass(milliseconds(100));
  node.Tick();
  const RegisterValue manual = Next(Observed3(), [](auto& v) { v.mode = Mode::kManual; });
  node.Hear(2, Commit{WriteOf(manual, kBallot), 1});
  const Duties duties = DutiesOf(node.state, node.now);
  EXPECT_TRUE(duties.managed && duties.gated && duties.gate_open);
}

TEST(Observe, WouldBeFailoverIsToldAndNotDone) {
  struct Case {
    const char* name;
    DbState n3;
    const char* told;
  };
  for (const Case& c :
       {Case{"n3 is ahead", DbState::kStandby, "would have promoted n3 at LSN 0/C8"},
        Case{"n3 does not run", DbState::kStarting, "would have promoted n2"}}) {
    Coordinator node(Observed3());
    std::string told;
    for (int i = 0; i < 100; i++) {
      node.Pass(milliseconds(100));
      AnswerHeartbeat(node, 3, false);
      NodeStatus status;
      status.db = c.n3;
      status.flush_lsn = Lsn{200};
      node.Hear(3, Status{status});
      node.See(DbState::kStandby);
      node.Tick();
      for (const Note& note : node.last.notes)
        if (note.kind == NoteKind::kDetected) told = note.next;
    }
    EXPECT_TRUE(node.Decided()) << c.name;
    EXPECT_NE(told.find(c.told), std::string::npos) << c.name << ": " << told;
  }
}

// In durability async a failover needs nobody's end of WAL but the target's.
TEST(Observe, NobodyElseIsPromotedBeforeThePrimaryIsGated) {
  for (const bool gated : {false, true}) {
    RegisterValue value = FirstValue();
    value.durability = Durability::kAsync;
    value.sync = SyncSet{};
    value.basis = Basis{};
    value.primary_boot = gated ? BootCount{2} : BootCount{};
    Coordinator node(value);
    NodeStatus primary;  // nobody lacks what it had
    primary.db = DbState::kPrimary;
    primary.timeline = TimelineId{1};
    primary.flush_lsn = Lsn{100};
    node.Hear(1, Status{primary});
    for (int i = 0; i < 100 && node.Decided(); i++) {
      node.Pass(milliseconds(100));
      AnswerHeartbeat(node, 3, false);
      node.Tick();
    }
    ASSERT_FALSE(node.Decided());
    node.Fence();
    node.Position(3, End(100));
    node.OwnPosition(End(100));
    node.WaitNoLonger();
    EXPECT_EQ(node.value().primary == NodeId{1}, !gated) << gated;
  }
}

TEST(Dropped, MembersLeaveAndTheCoordinatorGoesLast) {
  const RegisterValue dropped = Next(Observed3(), [](auto& v) { v.dropped = true; });
  Node member(3, Observed3());
  member.See(DbState::kStandby);
  member.Hear(2, Commit{WriteOf(dropped, kBallot), 1});
  member.Tick();
  EXPECT_FALSE(member.last.leave);
  member.Pass(seconds(2));
  member.Tick();
  EXPECT_TRUE(member.last.leave);
  EXPECT_FALSE(DutiesOf(member.state, member.now).managed);
  member.Tick();
  EXPECT_TRUE(member.last.leave) << "until it has happened";
  member.Hear(2, Commit{WriteOf(dropped, kBallot), 2});
  EXPECT_EQ(member.state.phase, Phase::kUnconfigured);

  Coordinator node(dropped);
  node.Tick();
  node.Pass(seconds(2));
  AnswerHeartbeat(node, 3, true);
  node.Tick();
  EXPECT_FALSE(node.last.leave) << "n1 has not heard of it";
  AnswerHeartbeat(node, 1, true);
  AnswerHeartbeat(node, 3, true);
  node.Tick();
  EXPECT_TRUE(node.last.leave);
}

TEST(Dropped, NobodyLeavesWhileTheServerStarts) {
  Node node(3, Next(Observed3(), [](auto& v) { v.dropped = true; }));
  for (const DbState db : {DbState::kStarting, DbState::kStandby}) {
    node.See(db);
    node.Tick();
    node.Pass(seconds(2));
    node.Tick();
    EXPECT_EQ(node.last.leave, db == DbState::kStandby);
  }
}

TEST(Dropped, OnlyOnceThePrimaryKnowsThatNothingIsGated) {
  for (const bool told : {false, true}) {
    Coordinator node(Observed3());
    if (told) AnswerHeartbeat(node, 1, true);
    AnswerHeartbeat(node, 3, true);
    node.Do(Command{1, DropCluster{}, seconds(1)});
    node.Tick();
    EXPECT_EQ(node.value().dropped, told);
  }
}

}  // namespace
}  // namespace orchestra::hand
