// The boundary behind which the agreement stands. What a server must do (Duties), what it says of
// itself (LocalView, WalEndRead) and what happened (Note) is all that the rest of orchestra knows
// of how nodes agree: another service that keeps the rules of docs/protocol.md could stand here, an
// external store for example. Outside of src/core only the consensus worker knows the register's
// own service, core/consensus.h (test/unit/zones.sh).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/durable.h"
#include "core/register.h"
#include "core/status.h"
#include "core/types.h"

namespace orchestra {

// Answer to Duties::scan.
struct WalEndRead {
  std::uint64_t scan = 0;
  WalPosition position;
};

// Something that happened, once: becomes a log line, and on the coordinator a recovery step.
enum class NoteKind : std::uint8_t {
  kConfigured,
  kQuarantined,
  kJoined,
  kCoordinatorElected,
  kCoordinatorLost,
  kEpochEntered,
  kLeaseAcquired,
  kLeaseLost,
  kGateOpened,
  kGateClosed,
  kDetected,
  kFenceStarted,
  kVotersFenced,
  kNodeFenced,
  kCandidateChosen,
  kFailoverBlocked,
  kEpochCommitted,
  kPromoting,
  kPromoted,
  kActivated,
  kRepointed,
  kRecovered,
  kFenced,
  kUnfenced,
  kCreationFailed,
  kRegisterChanged,  // by an operator, or by the primary's own request
  kLeaseReleased,
  kIdentitySuspect,
  kIdentityConfirmed,
  kPeerRefused,      // an older start of a peer, or another holder of its name (rule 9)
  kForced,           // forced recovery
  kFeeding,          // a fenced node is fed by another one (rule 5 iv)
  kLossAccepted,     // an operator's failover without a quorum of S
  kLossMeasured,     // what a failover lost, or may have lost
  kSettingRepaired,  // somebody changed what orchestra sets
};
inline constexpr NoteKind kLastNoteKind = NoteKind::kSettingRepaired;  // decoding refuses more
const char* NoteName(NoteKind kind);

struct Note {
  NoteKind kind;
  EpochId epoch;         // the epoch it is about
  NodeId node;           // the node it is about; kNoNode: this one
  std::string reason;    // one clause, no newline
  std::string next;      // what orchestra does next, or what a human should
  std::string recovery;  // id of the recovery that it is a step of, or empty
};

// What this node must be doing now. A function of the state alone, so that it can be performed
// again and again: the shell compares with what is, and acts on the difference.
struct Duties {
  Phase phase = Phase::kUnconfigured;
  // The server's settings are orchestra's to set (synchronous_standby_names, primary_conninfo).
  // False: what orchestra has changed of them gets its former value back.
  bool managed = false;
  bool gated = false;  // commits need the lease below
  bool mute = false;   // its WAL may be another branch: nobody may stream from here
  bool gate_open = false;
  Instant gate_until{};          // gate_open: closes by itself at this moment
  bool receiver_closed = false;  // no WAL may be received
  NodeId upstream;               // else: whom to follow; kNoNode: whatever primary_conninfo says
  Address upstream_server;
  EpochId upstream_epoch;
  Lsn upstream_upto;  // no WAL beyond is taken, for this node is fenced and fed; 0: all
  std::optional<std::uint64_t> scan;  // read the end of WAL once the receiver is quiet
  std::optional<EpochId> promote;     // leave recovery
  // Enforce these S and k, and report the generation once every process of the server does.
  std::optional<std::uint64_t> sync_generation;
  std::vector<std::string> sync_names;
  std::uint32_t sync_k = 0;
  // What must hold a commit before a client is told of it, whatever PostgreSQL enforces: the
  // register's S and k, or what they are about to shrink to.
  std::vector<std::string> ack_names;
  std::uint32_t ack_k = 0;
};

}  // namespace orchestra
