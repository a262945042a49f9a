// The board as people read it: the rows of orchestra_status(). Pure, so that each state is a unit
// test. Unknown is an empty optional, never a guess.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/board.h"
#include "core/types.h"

namespace orchestra {

// A node that was not heard for longer is unreachable, and what it last said counts no more.
inline constexpr Micros kFreshFor = std::chrono::seconds(2);

struct NodeRow {
  NodeId id;  // kNoNode: no member
  std::string name;
  std::optional<std::string> role;  // primary, standby
  // unconfigured, hello, starting, stopping, streaming, connecting, parked, stopped, promoting,
  // activating, open, closed, superseded, fenced, quarantined, unreachable, unknown
  std::string state;
  std::optional<TimelineId> timeline;
  std::optional<Lsn> flush_lsn;
  std::optional<Lsn> replay_lsn;
  std::optional<std::uint64_t> lag_bytes;  // behind the primary's flush; only of fresh values
  std::optional<std::string> sync_state;   // quorum: in S; async: not; empty for the primary
  std::optional<bool> voter;
  std::optional<bool> coordinator;
  std::optional<std::int64_t> lease_ms_left;
  std::optional<EpochId> fenced;
  std::optional<std::string> version;
  std::optional<std::uint32_t> server_version_num;
  std::optional<std::string> address;
  std::optional<std::int64_t> seen_ago_ms;  // empty: never heard
  bool self = false;
  std::optional<std::string> problem;
  std::optional<std::string> zone;  // of a member; empty: not said
};

// Ordered as the board is. `now` is CLOCK_MONOTONIC_RAW.
std::vector<NodeRow> NodeRows(const Board& board, Micros now);

// How long ago the node was heard; empty: never.
std::optional<Micros> AgeOf(const Board& board, const BoardNode& node, Micros now);
bool IsFresh(const Board& board, const BoardNode& node, Micros now);

// Voters that are this node or were heard lately.
std::size_t ReachableVoters(const Board& board, Micros now);

}  // namespace orchestra
