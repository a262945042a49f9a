// The one value that the cluster agrees on (design, section 3 "Register value").
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/types.h"

namespace orchestra {

inline constexpr std::size_t kMaxMembers = 32;
inline constexpr std::size_t kMaxNameBytes = 63;      // a PostgreSQL identifier
inline constexpr std::size_t kMaxAddressBytes = 255;  // host, IP literal or socket directory

struct Address {
  std::string host;  // IP literal (peer port) or libpq host (server port)
  std::uint16_t port = 0;
  friend bool operator==(const Address&, const Address&) = default;
};

// A node of the cluster, voter or not.
struct Member {
  NodeId id;
  std::string name;  // unique; also its application_name as a standby
  Address peer;      // how other nodes reach its peer port
  Address server;    // how other nodes reach its PostgreSQL
  bool voter = false;
  friend bool operator==(const Member&, const Member&) = default;
};

// S and k of rule 6: a commit counts when k nodes of S flushed it.
struct SyncSet {
  std::vector<NodeId> nodes;  // sorted, without duplicates
  std::uint32_t k = 0;
  bool Has(NodeId node) const;
  friend bool operator==(const SyncSet&, const SyncSet&) = default;
};

// What the last *active* epoch promised to its clients; failover quorums count on it (rule 5 iii).
struct Basis {
  NodeId primary;
  TimelineId timeline;
  SyncSet sync;
  friend bool operator==(const Basis&, const Basis&) = default;
};

// Which epoch made a timeline part of the cluster's history. Timeline numbers alone are no order:
// two nodes promoted from timeline 1 both get timeline 2 (rule 10).
struct LineageEntry {
  TimelineId timeline;
  EpochId since;
  friend bool operator==(const LineageEntry&, const LineageEntry&) = default;
};
inline constexpr std::size_t kMaxLineage = 16;  // newest entries that the register keeps

struct RegisterValue {
  ClusterId cluster_id;
  std::uint64_t system_identifier = 0;
  std::string cluster_name;
  Version version;
  EpochId epoch;
  NodeId primary;
  bool active = false;  // rule 5 (vii)
  TimelineId timeline;  // of the active epoch; 0 while inactive
  SyncSet sync;
  Basis basis;
  std::vector<LineageEntry> lineage;  // of active epochs, oldest first, at least one
  // While inactive: the branch that the chosen primary's own WAL is on, when it is not on the
  // lineage (it was the primary of an epoch that never became active, or followed one).
  std::optional<LineageEntry> target_branch;
  std::vector<Member> members;  // sorted by id
  std::uint32_t lease_ttl_ms = 2000;
  std::uint32_t drift_permille = 100;  // rho of rule 2
  friend bool operator==(const RegisterValue&, const RegisterValue&) = default;
};

// The member called so, or nullptr.
const Member* FindMember(const RegisterValue& value, NodeId id);
const Member* FindMember(const RegisterValue& value, const std::string& name);
// "n2", or "#7" when the register does not know the node.
std::string NameOf(const RegisterValue& value, NodeId id);

std::size_t VoterCount(const RegisterValue& value);
inline std::size_t Majority(std::size_t voters) { return voters / 2 + 1; }
bool IsVoter(const RegisterValue& value, NodeId id);

// What a failover out of `value` must count on: `value` itself when active, its basis otherwise.
Basis BasisOf(const RegisterValue& value);

// Is WAL that was last taken under `wal_epoch` and is on `timeline` part of the lineage? False for
// branches that were abandoned before their activation.
bool OnLineage(const RegisterValue& value, TimelineId timeline, EpochId wal_epoch);

// S = every voting data node but the primary, k = 1 (0 when there is no other): the fixed form of
// rule 6.
SyncSet FixedSyncSet(const RegisterValue& value, NodeId primary);

// What is wrong with a register value, or empty: sorted unique ids and names, an odd number of
// voters, a known primary, S within the members without the primary, k within S, sane times.
std::string Validate(const RegisterValue& value);

}  // namespace orchestra
