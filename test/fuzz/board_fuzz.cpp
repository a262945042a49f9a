// The board and its notes: read back exactly or refused; what nodes say of themselves becomes rows.
#include "core/board.h"

#include <algorithm>

#include "core/node_rows.h"
#include "fuzz/input.h"
#include "fuzz/target.h"
#include "unit/samples.h"

namespace orchestra::fuzz {
namespace {

enum Kind : std::uint8_t { kBoard, kNote, kKinds };

// Times are of this server's own clock, and therefore sane; all else was said by others.
bool Sane(const Board& board) {
  const auto sane = [](Micros time) {
    return time >= Micros{0} && time <= std::chrono::hours(1'000'000);
  };
  return sane(board.written_at) &&
         std::all_of(board.nodes.begin(), board.nodes.end(),
                     [&](const BoardNode& node) { return sane(node.seen_at); });
}

void CheckBoard(std::string_view image) {
  const std::optional<Board> board = DecodeBoard(image);
  if (!board) return;
  const std::string again = EncodeBoard(*board);
  Require(again.size() <= kMaxBoardBytes, "a board is bounded");
  Require(again == image || image.size() > kMaxBoardBytes, "a board has one image");
  if (!Sane(*board)) return;
  const Micros now = board->written_at + std::chrono::milliseconds(700);
  Require(NodeRows(*board, now).size() >= board->nodes.size(), "every node has a row");
  Require(ReachableVoters(*board, now) <= board->nodes.size(), "no voter is invented");
}

void CheckNote(std::string_view image) {
  const std::optional<Note> note = DecodeNote(image);
  if (!note) return;
  Require(EncodeNote(*note) == image, "a note has one image");
  Require(image.size() <= kMaxNoteBytes, "a note fits into its slot");
}

std::string Seed(Kind kind, const std::string& image) {
  return std::string(1, static_cast<char>(kind)) + image;
}

Board FullBoard() {
  Board board;
  board.phase = Phase::kConfigured;
  board.self = NodeId{1};
  board.node_name = "n1";
  board.coordinator = NodeId{3};
  board.written_at = std::chrono::seconds(1000);
  board.value = samples::Value();
  board.problem = "disk is slow";
  for (const Member& member : samples::Value().members) {
    BoardNode node;
    node.member = member;
    node.self = member.id == board.self;
    if (member.voter) node.status = samples::FullStatus();
    node.seen_at = board.written_at - std::chrono::milliseconds(100) * member.id.value;
    board.nodes.push_back(node);
  }
  return board;
}

}  // namespace

void Run(std::string_view input) {
  Input in(input);
  const std::size_t kind = in.Choose(kKinds);
  if (kind == kBoard) CheckBoard(in.Rest());
  if (kind == kNote) CheckNote(in.Rest());
}

std::vector<std::string> Seeds() {
  Board inactive = FullBoard();
  inactive.value = samples::InactiveValue();
  Board plain;
  plain.node_name = "n4";
  const Note note{kLastNoteKind, samples::Epoch(4, 3, 12), NodeId{2}, "why", "what next", "4.3/12"};
  return {Seed(kBoard, EncodeBoard(FullBoard())), Seed(kBoard, EncodeBoard(inactive)),
          Seed(kBoard, EncodeBoard(plain)), Seed(kNote, EncodeNote(note))};
}

}  // namespace orchestra::fuzz
