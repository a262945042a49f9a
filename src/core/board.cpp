#include "core/board.h"

#include "core/fields.h"

namespace orchestra {
namespace {

// Members and hellos.
constexpr std::size_t kMaxBoardNodes = 2 * kMaxMembers;
constexpr std::size_t kMaxEvidenceBytes = 512;
constexpr std::size_t kMaxBoardProblemBytes = 2048;

// Parts of a note; with its fixed fields they fit into kMaxNoteBytes.
constexpr std::size_t kMaxReasonBytes = 400;
constexpr std::size_t kMaxNextBytes = 256;
constexpr std::size_t kMaxRecoveryBytes = kMaxNameBytes;
constexpr std::size_t kNoteFixedBytes = 1 + 18 + 2 + 3 * 2;
static_assert(kNoteFixedBytes + kMaxReasonBytes + kMaxNextBytes + kMaxRecoveryBytes <=
              kMaxNoteBytes);

}  // namespace

// Found by argument-dependent look-up, hence not in the unnamed namespace.
void Fields(auto& io, Of<Finding> auto& v) {
  io.Enum(v.code, kLastFindingCode);
  io.Enum(v.action, FindingAction::kFailover);
  io.Text(v.evidence, kMaxEvidenceBytes);
}

void Fields(auto& io, Of<BoardNode> auto& v) {
  io(v.member);
  io(v.status);
  io(v.seen_at);
  io(v.self);
  io(v.fenced);
}

void Fields(auto& io, Of<Board> auto& v) {
  io.Enum(v.phase, Phase::kQuarantined);
  io(v.self);
  io.Text(v.node_name, kMaxNameBytes);
  io(v.coordinator);
  io(v.is_coordinator);
  io(v.gate_open);
  io(v.written_at);
  io(v.value);
  io(v.fenced);
  io(v.finding);
  io.Text(v.problem, kMaxBoardProblemBytes);
  io.List(v.nodes, kMaxBoardNodes);
}

void Fields(auto& io, Of<Note> auto& v) {
  io.Enum(v.kind, kLastNoteKind);
  io(v.epoch);
  io(v.node);
  io.Text(v.reason, kMaxReasonBytes);
  io.Text(v.next, kMaxNextBytes);
  io.Text(v.recovery, kMaxRecoveryBytes);
}

// Only with the longest possible addresses can too many nodes be too long: the last ones, which are
// hellos, are left out then.
std::string EncodeBoard(const Board& board) {
  std::string image = Encode(board);
  if (board.nodes.size() <= kMaxBoardNodes && image.size() <= kMaxBoardBytes) return image;
  Board shorter = board;
  if (shorter.nodes.size() > kMaxBoardNodes) shorter.nodes.resize(kMaxBoardNodes);
  while (image = Encode(shorter), image.size() > kMaxBoardBytes && !shorter.nodes.empty())
    shorter.nodes.pop_back();
  return image;
}

std::optional<Board> DecodeBoard(std::string_view bytes) { return Decode<Board>(bytes); }

std::string EncodeNote(const Note& note) { return Encode(note); }

std::optional<Note> DecodeNote(std::string_view bytes) { return Decode<Note>(bytes); }

const char* RoleAnswer(const RoleInput& input) {
  const bool primary = input.db == DbState::kPrimary;
  if (!input.gated) {
    if (primary) return "MASTER";
    return input.db == DbState::kStandby && input.accepting_connections ? "STANDBY" : "STARTING";
  }
  if (primary && !input.gate_open) return "FENCED";
  if (primary && input.accepting_connections) return "MASTER";
  if (input.db == DbState::kStandby && input.accepting_connections) return "STANDBY";
  return input.db == DbState::kStopping ? "STOPPING" : "STARTING";
}

}  // namespace orchestra
