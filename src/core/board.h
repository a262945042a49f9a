// The board: what the consensus worker tells the rest of its server (SQL functions, probe,
// monitor).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/analysis.h"
#include "core/backend.h"
#include "core/register.h"
#include "core/status.h"

namespace orchestra {

// One row of orchestra_status().
struct BoardNode {
  Member member;  // id kNoNode: not a member (a hello, or this node unconfigured)
  std::optional<NodeStatus> status;  // last known; never shown without its age
  Micros seen_at{};                  // CLOCK_MONOTONIC_RAW of this node when it was heard
  bool self = false;
  EpochId fenced;  // as last heard; zero: not fenced or unknown
  friend bool operator==(const BoardNode&, const BoardNode&) = default;
};

struct Board {
  Phase phase = Phase::kUnconfigured;
  NodeId self;
  std::string node_name;
  NodeId coordinator;  // believed; kNoNode: none known
  bool is_coordinator = false;
  bool gate_open = false;
  Micros written_at{};                 // CLOCK_MONOTONIC_RAW
  std::optional<RegisterValue> value;  // committed register
  EpochId fenced;                      // this node's own durable fence
  Finding finding;                     // of the rule table, as this node sees it
  std::string problem;                 // this node's own, all of it
  std::vector<BoardNode> nodes;
  friend bool operator==(const Board&, const Board&) = default;
};

inline constexpr std::size_t kMaxBoardBytes = 64 * 1024;
std::string EncodeBoard(const Board& board);
std::optional<Board> DecodeBoard(std::string_view bytes);

// Notes travel to the monitor through a ring of fixed slots; long texts are cut.
inline constexpr std::size_t kMaxNoteBytes = 768;
std::string EncodeNote(const Note& note);
std::optional<Note> DecodeNote(std::string_view bytes);

// What the role port answers (docs: MASTER, STANDBY, FENCED, STARTING, STOPPING).
struct RoleInput {
  DbState db = DbState::kStarting;
  bool accepting_connections = false;
  bool gated = false;
  bool gate_open = false;  // live lease included
};
const char* RoleAnswer(const RoleInput& input);

}  // namespace orchestra
