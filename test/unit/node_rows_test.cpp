#include "core/node_rows.h"

#include <functional>

#include "unit/printers.h"
#include "unit/samples.h"

namespace orchestra {
namespace {

constexpr Micros kNow = std::chrono::seconds(100);

// A healthy cluster of n1, n2 (primary), n3 and the member n9, as n1 sees it.
Board Healthy() {
  Board board;
  board.phase = Phase::kConfigured;
  board.self = NodeId{1};
  board.node_name = "n1";
  board.coordinator = NodeId{3};
  board.written_at = kNow - std::chrono::milliseconds(50);
  board.value = samples::Value();
  for (const Member& member : board.value->members) {
    BoardNode node;
    node.member = member;
    node.status = samples::FullStatus();
    node.status->gate_open = node.status->quarantined = false;
    node.status->lease_left_ms = -1;
    node.status->problem.clear();
    node.seen_at = kNow - std::chrono::milliseconds(120);
    node.self = member.id == board.self;
    board.nodes.push_back(node);
  }
  NodeStatus& primary = *board.nodes[1].status;
  primary.db = DbState::kPrimary;
  primary.receiver = ReceiverState::kStopped;
  primary.gate_open = true;
  primary.lease_left_ms = 1400;
  primary.flush_lsn = Lsn{0x1'0A2B'3C4D + 1000};
  primary.replay_lsn = Lsn{};
  return board;
}

NodeRow RowAt(const Board& board, std::size_t index) { return NodeRows(board, kNow).at(index); }

TEST(NodeRows, AHealthyStandby) {
  const NodeRow row = RowAt(Healthy(), 0);
  EXPECT_EQ(row.id, NodeId{1});
  EXPECT_EQ(row.name, "n1");
  EXPECT_EQ(row.role, "standby");
  EXPECT_EQ(row.state, "streaming");
  EXPECT_EQ(row.timeline, TimelineId{5});
  EXPECT_EQ(row.flush_lsn, Lsn{0x1'0A2B'3C4D});
  EXPECT_EQ(row.replay_lsn, Lsn{0x1'0A2B'0000});
  EXPECT_EQ(row.lag_bytes, 1000U);
  EXPECT_EQ(row.sync_state, "quorum");
  EXPECT_EQ(row.voter, true);
  EXPECT_EQ(row.coordinator, false);
  EXPECT_EQ(row.lease_ms_left, std::nullopt);
  EXPECT_EQ(row.fenced, std::nullopt);
  EXPECT_EQ(row.version, "0.1");
  EXPECT_EQ(row.server_version_num, 150020U);
  EXPECT_EQ(row.address, "db1.example:5432");
  EXPECT_EQ(row.seen_ago_ms, 50);
  EXPECT_TRUE(row.self);
  EXPECT_EQ(row.problem, std::nullopt);
}

TEST(NodeRows, AHealthyPrimary) {
  const NodeRow row = RowAt(Healthy(), 1);
  EXPECT_EQ(row.role, "primary");
  EXPECT_EQ(row.state, "open");
  EXPECT_EQ(row.replay_lsn, std::nullopt);
  EXPECT_EQ(row.lag_bytes, std::nullopt);
  EXPECT_EQ(row.sync_state, std::nullopt);
  EXPECT_EQ(row.lease_ms_left, 1400 - 120);
  EXPECT_EQ(row.seen_ago_ms, 120);
  EXPECT_FALSE(row.self);
}

TEST(NodeRows, ALeaseRunsOutWhileItsHolderIsNotHeard) {
  Board board = Healthy();
  board.nodes[1].seen_at = kNow - std::chrono::milliseconds(1400);
  EXPECT_EQ(RowAt(board, 1).lease_ms_left, std::nullopt);
}

TEST(NodeRows, TheCoordinatorAndAMemberWithoutVote) {
  EXPECT_EQ(RowAt(Healthy(), 2).coordinator, true);
  EXPECT_EQ(RowAt(Healthy(), 3).sync_state, "async");
  EXPECT_EQ(RowAt(Healthy(), 3).voter, false);
}

TEST(NodeRows, TheZoneOfAMember) {
  Board board = Healthy();
  board.nodes[0].member.zone = "north";
  board.nodes[1].member.zone.clear();
  EXPECT_EQ(RowAt(board, 0).zone, "north");
  EXPECT_EQ(RowAt(board, 1).zone, std::nullopt);
}

TEST(NodeRows, EveryState) {
  struct Case {
    const char* state;
    std::size_t node;
    std::function<void(Board&)> change;
  };
  const auto status = [](std::size_t node, auto field, auto value) {
    return [=](Board& board) { (*board.nodes[node].status).*field = value; };
  };
  const EpochId epoch = samples::Value().epoch;
  const Case cases[] = {
      {"unknown", 2, [](Board& b) { b.nodes[2].seen_at = Micros{}; }},
      {"unknown", 2, [](Board& b) { b.nodes[2].status.reset(); }},
      {"unreachable", 2, [](Board& b) { b.nodes[2].seen_at = kNow - kFreshFor; }},
      {"unreachable", 0, [](Board& b) { b.written_at = kNow - kFreshFor; }},
      {"quarantined", 0, [](Board& b) { b.phase = Phase::kQuarantined; }},
      {"quarantined", 2, status(2, &NodeStatus::quarantined, true)},
      {"starting", 2, status(2, &NodeStatus::db, DbState::kStarting)},
      {"stopping", 2, status(2, &NodeStatus::db, DbState::kStopping)},
      {"witness", 2, status(2, &NodeStatus::db, DbState::kNone)},
      {"fenced", 2, [=](Board& b) { b.nodes[2].fenced = epoch; }},
      {"fenced", 1, [=](Board& b) { b.nodes[1].fenced = epoch; }},
      {"streaming", 2, [](Board& b) { b.nodes[2].fenced = samples::Epoch(4, 3, 11); }},
      {"stopped", 2, status(2, &NodeStatus::receiver, ReceiverState::kStopped)},
      {"connecting", 2, status(2, &NodeStatus::receiver, ReceiverState::kStarting)},
      {"parked", 2, status(2, &NodeStatus::receiver, ReceiverState::kParked)},
      {"promoting", 1, status(1, &NodeStatus::db, DbState::kStandby)},
      {"superseded", 2, status(2, &NodeStatus::db, DbState::kPrimary)},
      {"closed", 1, status(1, &NodeStatus::gate_open, false)},
      {"activating", 1,
       [](Board& b) {
         b.value->active = false;
         b.nodes[1].status->gate_open = false;
       }},
      {"open", 1,
       [](Board& b) {
         b.value->mode = Mode::kObserve;
         b.nodes[1].status->gate_open = false;
       }},
  };
  for (const Case& c : cases) {
    Board board = Healthy();
    c.change(board);
    EXPECT_EQ(RowAt(board, c.node).state, c.state) << "case " << &c - cases;
  }
}

TEST(NodeRows, LagIsUnknownUnlessBothPositionsAreFresh) {
  using Change = std::function<void(Board&)>;
  for (const Change& change : {Change([](Board& b) { b.nodes[1].seen_at = kNow - kFreshFor; }),
                               Change([](Board& b) { b.nodes[2].seen_at = kNow - kFreshFor; }),
                               Change([](Board& b) { b.nodes[1].status.reset(); }),
                               Change([](Board& b) { b.nodes[1].status->flush_lsn = Lsn{}; }),
                               Change([](Board& b) { b.nodes[2].status->flush_lsn = Lsn{}; })}) {
    Board board = Healthy();
    ASSERT_EQ(RowAt(board, 2).lag_bytes, 1000U);
    change(board);
    EXPECT_EQ(RowAt(board, 2).lag_bytes, std::nullopt);
  }
  Board ahead = Healthy();
  ahead.nodes[2].status->flush_lsn = Lsn{0x2'0000'0000};
  EXPECT_EQ(RowAt(ahead, 2).lag_bytes, 0U);
}

TEST(NodeRows, AnUnconfiguredNodeAndAHello) {
  Board board;
  board.node_name = "n1";
  board.written_at = kNow;
  BoardNode self;
  self.member.name = "n1";
  self.self = true;
  self.status = NodeStatus{};
  self.status->db = DbState::kPrimary;
  BoardNode hello;
  hello.member = samples::Node(2);
  hello.member.id = kNoNode;
  hello.seen_at = kNow;
  board.nodes = {self, hello};
  const std::vector<NodeRow> rows = NodeRows(board, kNow);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].state, "unconfigured");
  EXPECT_EQ(rows[0].role, "primary");
  EXPECT_EQ(rows[0].voter, std::nullopt);
  EXPECT_EQ(rows[0].address, std::nullopt);
  EXPECT_EQ(rows[1].state, "hello");
  EXPECT_EQ(rows[1].role, std::nullopt);
  EXPECT_EQ(rows[1].address, "db2.example:5432");
}

TEST(NodeRows, ProblemsAreTheNodesOwn) {
  Board board = Healthy();
  board.problem = "peer port in use";
  board.nodes[2].status->problem = "disk full";
  EXPECT_EQ(RowAt(board, 0).problem, "peer port in use");
  EXPECT_EQ(RowAt(board, 1).problem, std::nullopt);
  EXPECT_EQ(RowAt(board, 2).problem, "disk full");
  board.written_at = kNow - kFreshFor;
  EXPECT_EQ(RowAt(board, 0).problem,
            "the consensus worker of this node does not answer; peer port in use");
}

TEST(NodeRows, ReachableVotersAreVotersHeardLately) {
  Board board = Healthy();
  EXPECT_EQ(ReachableVoters(board, kNow), 3U);
  board.nodes[1].seen_at = kNow - kFreshFor;
  EXPECT_EQ(ReachableVoters(board, kNow), 2U);
}

}  // namespace
}  // namespace orchestra
