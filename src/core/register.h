// The one value that the cluster agrees on (design, section 3 "Register value").
#pragma once
#include <cstdint>
#include <optional>
#include <set>
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

enum class MemberKind : std::uint8_t {
  kData,
  kWitness,  // has a vote and no data
};

// A node of the cluster, voter or not.
struct Member {
  NodeId id;
  std::string name;  // unique; also its application_name as a standby
  Address peer;      // how other nodes reach its peer port
  Address server;    // how other nodes reach its PostgreSQL
  MemberKind kind = MemberKind::kData;
  bool voter = false;
  bool sync_candidate = false;  // may be counted in S: an explicit act, as a vote is (rule 7)
  Incarnation incarnation;      // of the only disk that may speak in its name (rule 9); 0: unknown
  std::string zone;             // what it shares its fate with (a site, a rack); empty: not said
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
  Lsn begin;  // where its first record is, and the timeline before it ends; 0: not known
  friend bool operator==(const LineageEntry&, const LineageEntry&) = default;
};
inline constexpr std::size_t kMaxLineage = 16;  // newest entries that the register keeps

enum class Mode : std::uint8_t {
  kAutomatic,
  kManual,   // gates and sync set as ever, failover only by call
  kObserve,  // it only looks: nothing is gated, set or promoted; S is empty
};
enum class Durability : std::uint8_t {
  kQuorum,  // what is acknowledged is on k of S
  kAsync,   // acknowledged means flushed on the primary; S is empty
};
// What the primary does when no node is left that could confirm commits (rule 6).
enum class OnNoSync : std::uint8_t {
  kRefuse,   // commits wait
  kDegrade,  // k = 0: one copy, writes go on, no automatic failover
};

// Who may be counted for commits (rule 6).
enum class SyncZone : std::uint8_t {
  kAny,
  kOther,  // only who is in another zone than the primary: S outlives the loss of a site
};

inline constexpr std::size_t kMaxFormerClusters = 8;  // forced recoveries that the register keeps

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
  // With it: since this epoch every one had the same primary, so that all WAL of that timeline
  // which was taken since then is of the same branch.
  EpochId branch_from;
  std::vector<Member> members;  // sorted by id
  // While a change of voters is under way: who voted before it, sorted. Then majorities of both
  // are needed for everything (rule 7; Ongaro, "Consensus", 4.3).
  std::vector<NodeId> voters_prev;
  Version voters_since;          // the write that began the newest change of voters
  std::uint16_t highest_id = 0;  // ever given to a member: ids are not used again
  // Start of the primary's worker that wrote last (rule 6); 0: none since the epoch began or mode
  // observe ended, so that the primary may not know that it is gated.
  BootCount primary_boot;
  std::uint32_t lease_ttl_ms = 2000;
  std::uint32_t longest_ttl_ms = 2000;  // of any lease of this epoch
  std::uint32_t drift_permille = 100;   // rho of rule 2
  Mode mode = Mode::kAutomatic;
  bool paused = false;   // no automatic failover; everything else as ever
  bool dropped = false;  // the cluster is at its end: in mode observe, and every member leaves
  Durability durability = Durability::kQuorum;
  OnNoSync on_no_sync = OnNoSync::kRefuse;
  std::uint32_t sync_copies = 1;      // k that is aimed at, as far as there are standbys
  std::uint32_t min_sync_copies = 1;  // with fewer standbys in S, on_no_sync decides
  SyncZone sync_zone = SyncZone::kAny;
  // async: a standby that lacks more than that is not promoted by itself.
  std::uint64_t max_failover_lag_bytes = 1u << 20;
  bool auto_voters = false;  // members that are caught up get a vote, two at a time
  // Cluster ids that forced recoveries put an end to, newest last. Whoever still belongs to one of
  // them is refused.
  std::vector<ClusterId> former_clusters;
  friend bool operator==(const RegisterValue&, const RegisterValue&) = default;
};

// True when orchestra gates, sets and promotes; in mode observe it only looks.
inline bool Enforces(const RegisterValue& value) { return value.mode != Mode::kObserve; }

// The member called so, or nullptr.
const Member* FindMember(const RegisterValue& value, NodeId id);
const Member* FindMember(const RegisterValue& value, const std::string& name);
// "n2", or "#7" when the register does not know the node.
std::string NameOf(const RegisterValue& value, NodeId id);

std::size_t VoterCount(const RegisterValue& value);
inline std::size_t Majority(std::size_t voters) { return voters / 2 + 1; }
bool IsVoter(const RegisterValue& value, NodeId id);
// A voter now, or before the change that is under way: its answers count, see HasQuorum.
bool HasVote(const RegisterValue& value, NodeId id);
// Do `nodes` hold a majority of the voters, and of the previous ones during a change (rule 7)?
// `joint` = false looks at the voters alone (a mutant).
bool HasQuorum(const RegisterValue& value, const std::set<NodeId>& nodes, bool joint = true);

// What a failover out of `value` must count on: `value` itself when active, its basis otherwise.
Basis BasisOf(const RegisterValue& value);

// Is WAL that was last taken under `wal_epoch` and is on `timeline` part of the lineage? False for
// branches that were abandoned before their activation.
bool OnLineage(const RegisterValue& value, TimelineId timeline, EpochId wal_epoch);

// May commits of `primary` be counted on `member`? Never in async. MayConfirm keeps to sync_zone.
bool CountsAnywhere(const RegisterValue& value, const Member& member, NodeId primary);
bool MayConfirm(const RegisterValue& value, const Member& member, NodeId primary);
// With less than that, on_no_sync decides: min_sync_copies, as far as there are candidates.
std::uint32_t FewestCopies(const RegisterValue& value, NodeId primary);
// These nodes (sorted) with the k that is aimed at.
SyncSet SyncSetOf(const RegisterValue& value, std::vector<NodeId> nodes);
// S = every node that may confirm (none in async).
SyncSet FullSyncSet(const RegisterValue& value, NodeId primary);
// May PostgreSQL enforce `setting` while the register says `agreed` (rule 6)?
bool Compatible(const SyncSet& setting, const SyncSet& agreed);

// What is wrong with a register value, or empty: sorted unique ids and names, an odd number of
// voters, a known primary, S within the members without the primary, k within S, sane times.
std::string Validate(const RegisterValue& value);

}  // namespace orchestra
