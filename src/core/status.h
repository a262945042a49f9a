// What a node sees of itself, and what nodes tell each other about themselves.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/types.h"

namespace orchestra {

enum class DbState : std::uint8_t {
  kStarting,  // postmaster up, crash recovery or not yet consistent
  kStandby,   // archive recovery (standby.signal), consistent or not: see accepting_connections
  kPrimary,   // out of recovery
  kStopping,
  kNone,  // a voter without data
};

enum class ReceiverState : std::uint8_t { kStopped, kStarting, kParked, kStreaming };

// One line of a timeline history file: `timeline` ended at `end`.
struct TimelineEnd {
  TimelineId timeline;
  Lsn end;
  friend bool operator==(const TimelineEnd&, const TimelineEnd&) = default;
};

inline constexpr std::size_t kMaxHistory = 16;  // newest timelines that a report carries

// End of the WAL that a node holds, read from its files once the receiver was stopped (rule 4).
struct WalPosition {
  TimelineId timeline;
  Lsn end;
  bool exact = false;                // false: never counted
  bool out_of_recovery = false;      // this node's server is not a standby, or was none once
  std::vector<TimelineEnd> history;  // ancestors of `timeline`, oldest first, at most kMaxHistory
  EpochId wal_epoch;                 // newest epoch whose WAL it may hold; filled in by the core
  friend bool operator==(const WalPosition&, const WalPosition&) = default;
};

// What a node tells everybody about itself. Never decides a commit or a vote; evidence only.
struct NodeStatus {
  DbState db = DbState::kStarting;
  ReceiverState receiver = ReceiverState::kStopped;
  bool accepting_connections = false;
  bool gate_open = false;
  bool quarantined = false;
  TimelineId timeline;
  Lsn flush_lsn;                              // primary: flushed; standby: received and flushed
  Lsn replay_lsn;                             // standby only
  NodeId upstream;                            // whom the receiver was told to follow
  std::int64_t receiver_message_age_ms = -1;  // -1: unknown
  std::int64_t lease_left_ms = -1;            // primary only
  std::uint32_t server_version_num = 0;       // as PostgreSQL's server_version_num
  EpochId fenced;                             // durable fence of this node; zero: never
  bool suspect = false;                       // does not vote, see core/durable.h
  Ballot promised;                            // durable, of this node
  WriteId accepted;                           // likewise
  std::string slot;                           // primary_slot_name, empty: none
  std::string version;                        // of orchestra
  std::string problem;  // first thing a human should know; at most kMaxProblemBytes
  friend bool operator==(const NodeStatus&, const NodeStatus&) = default;
};
inline constexpr std::size_t kMaxProblemBytes = 256;
// In a problem, after the name of a setting of PostgreSQL that is not as orchestra has set it.
inline constexpr std::string_view kOverridden = " is overridden";

// The part of a node's own observation that only the core's decisions use.
struct LocalView {
  NodeStatus status;                                    // what will be told to others
  std::vector<std::pair<NodeId, Lsn>> standby_flushed;  // primary: streaming standbys' flush LSN
  Lsn timeline_begin;                // primary: where its timeline begins; 0: not known
  Lsn insert_lsn;                    // primary: end of WAL that is not flushed yet either
  std::uint64_t sync_effective = 0;  // Duties::sync_generation that PostgreSQL enforces; 0: none
  bool receiver_quiet =
      false;  // no receiver can write WAL (stopped, or parked under a closed ticket)
};

}  // namespace orchestra
