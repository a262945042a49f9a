#include "core/board.h"

#include <random>

#include "unit/printers.h"
#include "unit/samples.h"

namespace orchestra {
namespace {

Board FullBoard() {
  return {
      .phase = Phase::kConfigured,
      .self = NodeId{1},
      .node_name = "n1",
      .coordinator = NodeId{3},
      .is_coordinator = true,
      .gate_open = true,
      .written_at = Micros{123'456'789},
      .value = samples::Value(),
      .fenced = samples::Epoch(3, 1, 9),
      .finding = {FindingCode::kStandbyNotReplicating, FindingAction::kDetect, "1 of 2 streaming"},
      .problem = "the peer port is in use",
      .nodes = {{samples::Node(1), samples::FullStatus(), Micros{5}, true, samples::Epoch(3, 1, 9)},
                {samples::Node(2), std::nullopt, Micros{}, false, {}}},
  };
}

TEST(Board, ComesBack) {
  EXPECT_TRUE(DecodeBoard(EncodeBoard(FullBoard())) == FullBoard());
  EXPECT_TRUE(DecodeBoard(EncodeBoard(Board{})) == Board{});
}

TEST(Board, EveryFieldIsEncoded) {
  // A field that is left out of the image would make one of these equal to the full board's.
  const Board full = FullBoard();
  std::vector<Board> others(12, full);
  others[0].phase = Phase::kPending;
  others[1].self = NodeId{2};
  others[2].node_name = "n2";
  others[3].coordinator = NodeId{2};
  others[4].is_coordinator = false;
  others[5].gate_open = false;
  others[6].written_at++;
  others[7].value.reset();
  others[8].fenced = {};
  others[9].finding.evidence = "";
  others[10].problem = "";
  others[11].nodes.pop_back();
  for (std::size_t i = 0; i < others.size(); i++)
    EXPECT_NE(EncodeBoard(others[i]), EncodeBoard(full)) << i;
}

TEST(Board, EveryTruncationIsRefused) {
  const std::string image = EncodeBoard(FullBoard());
  for (std::size_t size = 0; size < image.size(); size++)
    ASSERT_FALSE(DecodeBoard(image.substr(0, size))) << size;
  EXPECT_FALSE(DecodeBoard(image + "x"));
}

TEST(Board, FitsWhateverItHolds) {
  Board board = FullBoard();
  board.value = samples::LargestValue();
  board.problem.assign(100'000, 'p');
  board.finding.evidence.assign(100'000, 'e');
  board.nodes.clear();
  for (int i = 0; i < 100; i++) {
    BoardNode node{samples::LargestValue().members[0], samples::FullStatus(), Micros{i}, false, {}};
    node.status->problem.assign(1000, 'p');
    board.nodes.push_back(node);
  }
  const std::string image = EncodeBoard(board);
  EXPECT_LE(image.size(), kMaxBoardBytes);
  const auto decoded = DecodeBoard(image);
  ASSERT_TRUE(decoded);
  EXPECT_TRUE(decoded->value == board.value);
  EXPECT_GE(decoded->nodes.size(), kMaxMembers);  // members come first
  EXPECT_EQ(decoded->nodes[31].seen_at, Micros{31});
}

TEST(Board, RandomBytesAreSafe) {
  std::mt19937 random(11);
  const std::string image = EncodeBoard(FullBoard());
  std::size_t understood = 0;
  for (int i = 0; i < 100'000; i++) {
    std::string bytes = image;
    if (i % 4 == 0) {
      bytes.resize(random() % 400);
      for (char& byte : bytes) byte = static_cast<char>(random());
    } else {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    if (const auto board = DecodeBoard(bytes)) {
      understood++;
      ASSERT_EQ(EncodeBoard(*board), bytes);
    }
  }
  EXPECT_GT(understood, 10'000U);
}

TEST(NoteImage, ComesBackAndIsCut) {
  Note note{kLastNoteKind, samples::Epoch(4, 3, 12), NodeId{2}, "why", "what next", "r1"};
  auto decoded = DecodeNote(EncodeNote(note));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->kind, note.kind);
  EXPECT_EQ(decoded->epoch, note.epoch);
  EXPECT_EQ(decoded->node, note.node);
  EXPECT_EQ(decoded->reason, "why");
  EXPECT_EQ(decoded->next, "what next");
  EXPECT_EQ(decoded->recovery, "r1");

  note.reason.assign(5000, 'a');
  note.next.assign(5000, 'b');
  note.recovery.assign(5000, 'c');
  const std::string image = EncodeNote(note);
  EXPECT_LE(image.size(), kMaxNoteBytes);
  decoded = DecodeNote(image);
  ASSERT_TRUE(decoded);
  EXPECT_GE(decoded->reason.size(), 256U);
  EXPECT_EQ(decoded->reason, note.reason.substr(0, decoded->reason.size()));
  EXPECT_FALSE(DecodeNote(image.substr(1)));
  EXPECT_FALSE(DecodeNote(image + "x"));
  std::string unknown = image;
  unknown[0] = static_cast<char>(kLastNoteKind) + 1;
  EXPECT_FALSE(DecodeNote(unknown));
}

struct RoleRow {
  DbState db;
  const char* plain[2];   // not gated: refusing, accepting connections
  const char* closed[2];  // gated, gate closed
  const char* open[2];    // gated, gate open
};

TEST(RoleAnswers, WholeTable) {
  const RoleRow rows[] = {
      {DbState::kStarting,
       {"STARTING", "STARTING"},
       {"STARTING", "STARTING"},
       {"STARTING", "STARTING"}},
      {DbState::kStandby,
       {"STARTING", "STANDBY"},
       {"STARTING", "STANDBY"},
       {"STARTING", "STANDBY"}},
      {DbState::kPrimary, {"MASTER", "MASTER"}, {"FENCED", "FENCED"}, {"STARTING", "MASTER"}},
      {DbState::kStopping,
       {"STARTING", "STARTING"},
       {"STOPPING", "STOPPING"},
       {"STOPPING", "STOPPING"}},
      {DbState::kNone,
       {"STARTING", "STARTING"},
       {"STARTING", "STARTING"},
       {"STARTING", "STARTING"}},
  };
  for (const RoleRow& row : rows)
    for (const bool accepting : {false, true}) {
      SCOPED_TRACE(testing::Message()
                   << "db " << static_cast<int>(row.db) << ", accepting " << accepting);
      EXPECT_STREQ(RoleAnswer({row.db, accepting, false, false}), row.plain[accepting]);
      EXPECT_STREQ(RoleAnswer({row.db, accepting, false, true}), row.plain[accepting]);
      EXPECT_STREQ(RoleAnswer({row.db, accepting, true, false}), row.closed[accepting]);
      EXPECT_STREQ(RoleAnswer({row.db, accepting, true, true}), row.open[accepting]);
    }
}

}  // namespace
}  // namespace orchestra
