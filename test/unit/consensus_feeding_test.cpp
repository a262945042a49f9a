// Rule 5 (iv): who shall be primary and is behind is fed first; and what a failover may lose.
#include <gtest/gtest.h>

#include <functional>

#include "consensus_node.h"

namespace orchestra::hand {
namespace {

const Ballot kBallot{5, NodeId{2}};
const Feed kFeed{kBallot, kFirst, NodeId{2}, Lsn{200}, kFirst};

// ---------------------------------------------------------------- who is fed

Node FencedStandby(Lsn end = Lsn{100}) {
  Node node(3);
  node.view.status.flush_lsn = end;
  node.view.receiver_quiet = true;
  node.See(DbState::kStandby);
  node.Hear(2, orchestra::Fence{kBallot, Version{1}, kFirst, true});
  return node;
}

TEST(Fed, TakesWalOfTheOneSourceUpToThere) {
  Node node = FencedStandby();
  node.Hear(2, kFeed);
  const Duties duties = DutiesOf(node.state, node.now);
  EXPECT_FALSE(duties.receiver_closed);
  EXPECT_EQ(duties.upstream, NodeId{2});
  EXPECT_EQ(duties.upstream_upto, Lsn{200});
  EXPECT_FALSE(duties.scan) << "what is read meanwhile is worth nothing";
}

TEST(Fed, Ends) {
  struct Case {
    const char* name;
    std::function<void(Node&)> what;
  };
  for (const Case& c : {
           Case{"when all is there",
                [](Node& n) {
                  n.view.status.flush_lsn = Lsn{200};
                  n.See(DbState::kStandby);
                }},
           Case{"when nobody asks for it any more", [](Node& n) { n.Pass(seconds(1)); }},
           Case{"by the next FENCE",
                [](Node& n) {
                  n.Hear(2, orchestra::Fence{kBallot, Version{1}, kFirst, true});
                }},
           Case{"by a newer ballot",
                [](Node& n) {
                  n.Hear(1, orchestra::Fence{Ballot{6, NodeId{1}}, Version{1}, kFirst, false});
                }},
       }) {
    Node node = FencedStandby();
    node.Hear(2, kFeed);
    ASSERT_FALSE(DutiesOf(node.state, node.now).receiver_closed);
    c.what(node);
    EXPECT_TRUE(DutiesOf(node.state, node.now).receiver_closed) << c.name;
  }
}

TEST(Fed, OnlyWhoIsFencedByTheOneWhoAsks) {
  struct Case {
    const char* name;
    std::function<void(Node&, Feed&)> spoil;
  };
  for (const Case& c : {
           Case{"an older ballot", [](Node&, Feed&f) { f.ballot.round--; }},
           Case{"a newer ballot", [](Node&, Feed&f) { f.ballot.round++; }},
           Case{"an epoch that it is not fenced for",
                [](Node&, Feed&f) { f.epoch = samples::Epoch(9, 1, 9); }},
           Case{"WAL of a newer epoch",
                [](Node&, Feed&f) { f.wal_epoch = samples::Epoch(9, 1, 9); }},
           Case{"a source that is no member", [](Node&, Feed&f) { f.source = NodeId{8}; }},
           Case{"a primary", [](Node&n, Feed&) { n.See(DbState::kPrimary); }},
           Case{"a suspect disk", [](Node&n, Feed&) { n.state.suspect = true; }},
           Case{"an epoch that is over",
                [](Node&n, Feed&) {
                  n.Hear(2, Commit{WriteOf(NextEpoch(FirstValue(), 2, kBallot), kBallot), 1});
                }},
       }) {
    Node node = FencedStandby();
    Feed feed = kFeed;
    c.spoil(node, feed);
    node.Hear(2, feed);
    const Duties duties = DutiesOf(node.state, node.now);
    EXPECT_EQ(duties.upstream_upto, Lsn{}) << c.name;
  }
}

// Its WAL is of the source's epoch from then on, and a restart must know that.
TEST(Fed, NotesTheEpochOfTheWalFirst) {
  Durable memory = MemoryOf(3, FirstValue());
  memory.wal_epoch = EpochId{};
  Node node(memory);
  node.Pass(seconds(10));
  node.view.status.flush_lsn = Lsn{100};
  node.See(DbState::kStandby);
  node.Hear(2, orchestra::Fence{kBallot, Version{1}, kFirst, true});
  node.Hear(2, kFeed);
  EXPECT_TRUE(node.last.persist);
  EXPECT_EQ(node.state.durable.wal_epoch, kFirst);
}

// ---------------------------------------------------------------- who feeds

// n2 leads and is ahead of n3, which was asked for.
Coordinator Wanted(std::uint16_t wanted) {
  Coordinator node;
  node.Fence();
  node.state.failover.wanted = NodeId{wanted};
  node.OwnPosition(End(200));
  node.Position(3, End(100));
  node.WaitNoLonger();
  return node;
}

void Says(Coordinator& node, std::uint16_t from, std::uint64_t lsn) {
  node.Pass(milliseconds(10));
  NodeStatus status;
  status.db = DbState::kStandby;
  status.flush_lsn = Lsn{lsn};
  node.Hear(from, Status{status});
  node.Pass(milliseconds(200));
  AnswerHeartbeat(node, 3, true);
  node.Tick();
}

TEST(Feeding, WhoWasAskedForIsFedAndCountedAgain) {
  Coordinator node = Wanted(3);
  ASSERT_EQ(node.state.failover.stage, Failover::Stage::kFeed);
  const Feed feed = node.state.failover.feed;
  EXPECT_EQ(feed, (Feed{node.state.ballot, kFirst, NodeId{2}, Lsn{200}, kFirst}));
  Says(node, 3, 150);
  EXPECT_EQ(node.Sent<Feed>(3), feed) << "asked for until all is there";
  Says(node, 3, 200);
  EXPECT_EQ(node.state.failover.stage, Failover::Stage::kCollect);
  node.Pass(milliseconds(200));
  node.Tick();
  EXPECT_TRUE(node.Sent<orchestra::Fence>(3).value().want_position)
      << "what it says is not counted";
  EXPECT_FALSE(node.Decided());
  node.Position(3, End(200));
  node.WaitNoLonger();
  ASSERT_TRUE(node.Decided());
  EXPECT_EQ(node.value().primary, NodeId{3});
}

TEST(Feeding, ThatDoesNotEndIsGivenUp) {
  Coordinator node = Wanted(3);
  for (int i = 0; i < 60; i++) Says(node, 3, 150);
  EXPECT_NE(node.state.failover.stage, Failover::Stage::kFeed);
  for (int i = 0; i < 40 && !node.Decided(); i++) {
    node.Position(3, End(150));
    node.OwnPosition(End(200));
    node.WaitNoLonger();
  }
  ASSERT_TRUE(node.Decided());
  EXPECT_EQ(node.value().primary, NodeId{2}) << "a FENCE is not left half done";
}

// n4 has no vote and is ahead of every voter: it confirmed commits that they lack.
TEST(Feeding, TheBestVoterIsFedByAMember) {
  RegisterValue value = FirstValue();
  value.members.push_back(samples::Node(4, false));
  value.members.back().sync_candidate = true;
  value.sync = FullSyncSet(value, value.primary);
  Coordinator node(value);
  node.Fence();
  node.OwnPosition(End(100));
  node.Position(3, End(150));
  node.Position(4, End(200));
  node.WaitNoLonger();
  ASSERT_EQ(node.state.failover.stage, Failover::Stage::kFeed);
  EXPECT_EQ(node.state.failover.fed, NodeId{3});
  EXPECT_EQ(node.state.failover.feed.source, NodeId{4});
}

TEST(Feeding, NobodyOfAnotherTimeline) {
  Coordinator node;
  node.Fence();
  node.state.failover.wanted = NodeId{3};
  node.OwnPosition(End(200));
  node.Position(3, End(150, kFirst, 2, {{TimelineId{1}, Lsn{100}}}));
  node.WaitNoLonger();
  EXPECT_EQ(node.state.failover.stage, Failover::Stage::kCollect);
}

// ---------------------------------------------------------------- what may be lost

RegisterValue Async() {
  RegisterValue value = FirstValue();
  value.durability = Durability::kAsync;
  value.sync = SyncSet{};
  value.max_failover_lag_bytes = 50;
  return value;
}

// n1 said that it had flushed up to `lsn`, and then failed.
Coordinator AsyncFailover(std::optional<std::uint64_t> lsn, Micros ago = milliseconds(0)) {
  Coordinator node(Async());
  if (lsn) {
    NodeStatus status;
    status.db = DbState::kPrimary;
    status.timeline = TimelineId{1};
    status.flush_lsn = Lsn{*lsn};
    node.Hear(1, Status{status});
    for (Micros passed{}; passed < ago; passed += milliseconds(100)) {
      node.Pass(milliseconds(100));
      AnswerHeartbeat(node, 3, true);
      node.Tick();
    }
  }
  node.Fence();
  return node;
}

TEST(Async, NoFailoverThatLosesTooMuch) {
  struct Case {
    const char* name;
    std::optional<std::uint64_t> primary;
    Micros ago;
    bool old_primary_counted;
    bool decided;
  };
  for (const Case& c : {Case{"nothing lacks", 100, Micros{0}, false, true},
                        Case{"as much as may be", 150, Micros{0}, false, true},
                        Case{"a byte more", 151, Micros{0}, false, false},
                        Case{"the old primary itself is there", 151, Micros{0}, true, true},
                        Case{"it was never heard", std::nullopt, Micros{0}, false, false},
                        Case{"it was heard too long ago", 100, seconds(6), false, false}}) {
    Coordinator node = AsyncFailover(c.primary, c.ago);
    node.OwnPosition(End(100));
    if (c.old_primary_counted) node.Position(1, OutOfRecovery(End(151)));
    for (int i = 0; i < 25 && !node.Decided(); i++) node.WaitNoLonger();
    EXPECT_EQ(node.Decided(), c.decided) << c.name;
  }
}

bool Told(const Actions& actions, NoteKind kind, const std::string& what) {
  for (const Note& note : actions.notes)
    if (note.kind == kind && note.reason.find(what) != std::string::npos) return true;
  return false;
}

TEST(Async, WhatIsLostIsTold) {
  Coordinator node = AsyncFailover(140);
  node.OwnPosition(End(100));
  node.Pass(milliseconds(600));
  AnswerHeartbeat(node, 3, true);
  bool told = Told(node.last, NoteKind::kLossMeasured, "40 bytes");
  for (int i = 0; i < 60 && !told; i++) {
    node.Pass(milliseconds(200));
    AnswerHeartbeat(node, 3, true);
    node.Tick();
    told = Told(node.last, NoteKind::kLossMeasured, "40 bytes");
  }
  EXPECT_TRUE(told);
}

// ---------------------------------------------------------------- by the operator

Request Accepts(const Coordinator& node, std::uint16_t target = 0) {
  return {9,
          kFirst,
          node.value().version,
          BootCount{1},
          StartFailover{NodeId{target}, true},
          node.state.ballot,
          node.state.heartbeat_seq};
}

// Who lives may be the one that holds what was acknowledged: it is given the time to read.
TEST(Loss, SlowAnswersAreWaitedFor) {
  Coordinator node;
  node.Fence();
  node.OwnPosition(End(100));
  for (int i = 0; i < 5; i++) node.WaitNoLonger();
  node.Hear(3, Accepts(node));
  for (int i = 0; i < 8; i++) node.WaitNoLonger();
  EXPECT_FALSE(node.Decided()) << "n3 still answers heartbeats";
  node.Position(3, End(200));
  node.WaitNoLonger();
  ASSERT_TRUE(node.Decided());
  EXPECT_EQ(node.value().primary, NodeId{3});
}

// One of two members of S is missing with the primary: what was acknowledged may be there alone.
TEST(Loss, IsAcceptedByCallAndRecorded) {
  Coordinator node;
  node.Fence();
  node.OwnPosition(End(100));
  for (int i = 0; i < 5; i++) node.WaitNoLonger();
  ASSERT_FALSE(node.Decided());
  node.Hear(3, Accepts(node));
  EXPECT_EQ(node.Sent<Reply>(3).value().verdict, Verdict::kDone);
  EXPECT_TRUE(Told(node.last, NoteKind::kLossAccepted, "asked for on n3"));
  for (int i = 0; i < 25 && !node.Decided(); i++) node.WaitNoLonger();
  ASSERT_TRUE(node.Decided());
  EXPECT_EQ(node.value().primary, NodeId{2});
}

// What is accepted is what cannot be helped: who lives is waited for.
TEST(Loss, IsNotSought) {
  Coordinator node;
  node.Fence();
  node.Hear(3, Accepts(node));
  node.OwnPosition(End(100));
  EXPECT_FALSE(node.Decided());
  node.Position(3, End(200));
  node.WaitNoLonger();
  ASSERT_TRUE(node.Decided());
  EXPECT_EQ(node.value().primary, NodeId{3});
}

TEST(Loss, BlockedFailoverNamesWhoIsAwaited) {
  Coordinator node;
  node.Fence();
  node.OwnPosition(End(100));
  bool told = false;
  for (int i = 0; i < 5; i++) {
    node.WaitNoLonger();
    told |= Told(node.last, NoteKind::kFailoverBlocked, "awaited: n3");
  }
  EXPECT_TRUE(told);
}

}  // namespace
}  // namespace orchestra::hand
