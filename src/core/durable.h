// What a node must never forget (design, section 3 "Durable per node"), and the two files of it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/message.h"
#include "core/types.h"

namespace orchestra {

// Binds the vote file to one node on one disk (rule 9). A mismatch means clone or foreign disk.
struct Identity {
  NodeId node;
  Incarnation incarnation;
  std::uint64_t system_identifier = 0;
  std::uint64_t inode = 0;         // of the vote file's directory's anchor, see Surroundings
  std::int64_t birth_time_us = 0;  // of the same anchor
  // Changed: the disk may be a copy that kept both of the above. Suspect, see BootDecision.
  std::uint64_t machine = 0;  // hash of the machine's id; 0: unknown
  std::uint64_t device = 0;   // of the anchor's file system; 0: unknown
  friend bool operator==(const Identity&, const Identity&) = default;
};

// The newest that this node has seen of a peer: an older one of the same incarnation is a disk that
// was rolled back, and another incarnation is another node (rule 9).
struct PeerMemory {
  NodeId node;
  Incarnation incarnation;
  BootCount boot;
  Ballot ballot;     // highest that it promised, as it said itself
  WriteId accepted;  // newest that it accepted, likewise
  EpochId fenced;    // likewise
  friend bool operator==(const PeerMemory&, const PeerMemory&) = default;
};

struct Durable {
  Identity identity;
  BootCount boot_count;
  Ballot promised;
  std::optional<Written> accepted;
  std::optional<Written> committed;
  EpochId fenced;          // WAL and leases of this epoch and older ones are refused
  Version fenced_version;  // newest version of the register that a FENCE for it named
  std::uint32_t max_ttl_granted_ms = 0;
  EpochId wal_epoch;              // newest epoch whose WAL this node wrote or received
  EpochId wrote_epoch;            // newest epoch that let this server leave recovery; zero: never
  std::vector<PeerMemory> peers;  // sorted by node
  std::string expelled;           // why this node may take no part any more; empty: it may
  friend bool operator==(const Durable&, const Durable&) = default;
};

// Was it a primary that has to be made anew before it may follow the present one?
bool IsFormerPrimary(const Durable& durable);
// Is the server orchestra's to gate, set and promote? Not in mode observe; but there as well what
// has promised to be fenced by a newer register, and what would be a second primary.
bool Manages(const Durable& durable);

// The marker `orchestra/cluster`: says "this data directory belongs to a cluster"; base backups
// copy it.
struct Marker {
  ClusterId cluster_id;
  std::uint64_t system_identifier = 0;
  std::string cluster_name;
  friend bool operator==(const Marker&, const Marker&) = default;
};

// File images. Both start with a magic and a format number and end with a CRC-32C of all before.
// Decode* returns the value, or a sentence that says what is wrong with the bytes.
std::string EncodeDurable(const Durable& durable);
std::variant<Durable, std::string> DecodeDurable(std::string_view bytes);
std::string EncodeMarker(const Marker& marker);
std::variant<Marker, std::string> DecodeMarker(std::string_view bytes);

// What the shell found at start, before anyone connects.
struct Surroundings {
  std::uint64_t system_identifier = 0;
  std::uint64_t inode = 0;         // of the vote directory (orchestra/pgsql_tmp_vote)
  std::int64_t birth_time_us = 0;  // likewise; 0 where the file system does not tell
  std::uint64_t machine = 0;       // as in Identity
  std::uint64_t device = 0;
  bool marker_present = false;
  std::string marker_bytes;
  bool vote_present = false;
  std::string vote_bytes;
  std::string read_error;  // not empty: a file exists but could not be read
};

enum class Phase : std::uint8_t {
  kUnconfigured,  // plain PostgreSQL
  kPending,  // took part in a creation that is not known to be committed; ungated, votes if asked
  kConfigured,
  kQuarantined,  // neither votes nor follows nor commits
};

const char* NameOf(Phase phase);  // "configured"

// What a node that was expelled says of itself.
std::string ExpelledText(const std::string& why);

struct BootDecision {
  Phase phase = Phase::kUnconfigured;
  std::optional<Durable> durable;  // kPending and kConfigured
  std::optional<Marker> marker;    // whenever it could be read
  std::string reason;              // kQuarantined: why, and what to do, one sentence each
  bool write_marker = false;       // kConfigured, but the marker is lost: write `marker` again
  // kConfigured, on another machine or file system than before: no vote until a majority of the
  // other voters, or an operator, confirms that this is the node's newest and only disk.
  bool suspect = false;
  // Suspect for its machine. (The number of a file system may change with any reboot; then nodes
  // that are suspect for the same reason may vouch for each other.)
  bool moved = false;
  bool expelled = false;  // kQuarantined by its cluster: only a new copy may join again
};

// States of a node (design, section 3): pure, so that every row of the table is a unit test.
BootDecision DecideBoot(const Surroundings& found);

}  // namespace orchestra
