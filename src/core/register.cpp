#include "core/register.h"

#include <algorithm>
#include <set>
#include <utility>

namespace orchestra {
namespace {

constexpr std::uint32_t kShortestTtlMs = 100;
constexpr std::uint32_t kLongestTtlMs = 60'000;
constexpr std::uint32_t kMaxDriftPermille = 250;  // TTL(1-2 rho) must leave something to hold

bool Printable(const std::string& text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) == 0x7F;
  });
}

std::string CheckMembers(const RegisterValue& value) {
  if (value.members.empty()) return "it has no members";
  if (value.members.size() > kMaxMembers) return "it has too many members";
  std::set<std::string> names;
  NodeId previous;
  for (const Member& member : value.members) {
    if (member.id <= previous) return "its members are not sorted by unique ids";
    previous = member.id;
    if (member.name.empty() || member.name.size() > kMaxNameBytes || !Printable(member.name))
      return "a member's name is empty, too long or not printable";
    if (!names.insert(member.name).second) return "two members are called " + member.name;
    if (member.zone.size() > kMaxNameBytes || !Printable(member.zone))
      return "the zone of " + member.name + " is too long or not printable";
    for (const Address& address : {member.peer, member.server})
      if (address.host.size() > kMaxAddressBytes || !Printable(address.host))
        return "an address of " + member.name + " is too long or not printable";
  }
  if (VoterCount(value) % 2 == 0) return "the number of voters is not odd";
  if (!value.voters_prev.empty() && value.voters_prev.size() % 2 == 0)
    return "the number of previous voters is not odd";
  NodeId before;
  for (const NodeId id : value.voters_prev) {
    if (id <= before) return "the previous voters are not sorted";
    before = id;
    if (FindMember(value, id) == nullptr) return "a previous voter is no member";
  }
  return "";
}

std::string CheckSyncSet(const RegisterValue& value, NodeId primary, const SyncSet& sync) {
  NodeId previous;
  for (const NodeId node : sync.nodes) {
    if (node <= previous) return "a synchronous set is not sorted";
    previous = node;
    const Member* member = FindMember(value, node);
    if (member == nullptr) return "a synchronous standby is no member";
    if (member->kind == MemberKind::kWitness) return "a witness cannot be a synchronous standby";
    if (node == primary) return "the primary is in its own synchronous set";
  }
  if (sync.k > sync.nodes.size()) return "k is larger than the synchronous set";
  return "";
}

}  // namespace

bool SyncSet::Has(NodeId node) const {
  return std::binary_search(nodes.begin(), nodes.end(), node);
}

const Member* FindMember(const RegisterValue& value, NodeId id) {
  for (const Member& member : value.members)
    if (member.id == id && id != kNoNode) return &member;
  return nullptr;
}

const Member* FindMember(const RegisterValue& value, const std::string& name) {
  for (const Member& member : value.members)
    if (member.name == name) return &member;
  return nullptr;
}

std::string NameOf(const RegisterValue& value, NodeId id) {
  const Member* member = FindMember(value, id);
  return member != nullptr ? member->name : "#" + std::to_string(id.value);
}

std::size_t VoterCount(const RegisterValue& value) {
  return static_cast<std::size_t>(std::count_if(value.members.begin(), value.members.end(),
                                                [](const Member& member) { return member.voter; }));
}

bool IsVoter(const RegisterValue& value, NodeId id) {
  const Member* member = FindMember(value, id);
  return member != nullptr && member->voter;
}

bool HasVote(const RegisterValue& value, NodeId id) {
  return IsVoter(value, id) ||
         std::binary_search(value.voters_prev.begin(), value.voters_prev.end(), id);
}

bool HasQuorum(const RegisterValue& value, const std::set<NodeId>& nodes, bool joint) {
  std::size_t now = 0;
  std::size_t before = 0;
  for (const NodeId id : nodes) {
    if (IsVoter(value, id)) now++;
    if (std::binary_search(value.voters_prev.begin(), value.voters_prev.end(), id)) before++;
  }
  if (now < Majority(VoterCount(value))) return false;
  return !joint || value.voters_prev.empty() || before >= Majority(value.voters_prev.size());
}

Basis BasisOf(const RegisterValue& value) {
  return value.active ? Basis{value.primary, value.timeline, value.sync} : value.basis;
}

bool OnLineage(const RegisterValue& value, TimelineId timeline, EpochId wal_epoch) {
  for (const LineageEntry& entry : value.lineage)
    if (entry.timeline == timeline) return wal_epoch >= entry.since;
  return value.target_branch && value.target_branch->timeline == timeline &&
         (value.target_branch->since == wal_epoch || wal_epoch >= value.branch_from);
}

bool CountsAnywhere(const RegisterValue& value, const Member& member, NodeId primary) {
  return value.durability == Durability::kQuorum && member.sync_candidate && member.id != primary;
}

bool MayConfirm(const RegisterValue& value, const Member& member, NodeId primary) {
  if (!CountsAnywhere(value, member, primary)) return false;
  if (value.sync_zone == SyncZone::kAny) return true;
  const Member* own = FindMember(value, primary);
  return own != nullptr && member.zone != own->zone;
}

SyncSet SyncSetOf(const RegisterValue& value, std::vector<NodeId> nodes) {
  SyncSet sync{std::move(nodes), 0};
  sync.k = std::min(value.sync_copies, static_cast<std::uint32_t>(sync.nodes.size()));
  return sync;
}

std::uint32_t FewestCopies(const RegisterValue& value, NodeId primary) {
  const auto candidates =
      std::count_if(value.members.begin(), value.members.end(),
                    [&](const Member& member) { return CountsAnywhere(value, member, primary); });
  return std::min(value.min_sync_copies, static_cast<std::uint32_t>(candidates));
}

SyncSet FullSyncSet(const RegisterValue& value, NodeId primary) {
  std::vector<NodeId> nodes;
  for (const Member& member : value.members)
    if (MayConfirm(value, member, primary)) nodes.push_back(member.id);
  // A rule that leaves nobody must not look like a cluster that has nobody.
  if (nodes.size() < FewestCopies(value, primary)) {
    nodes.clear();
    for (const Member& member : value.members)
      if (CountsAnywhere(value, member, primary)) nodes.push_back(member.id);
  }
  return SyncSetOf(value, std::move(nodes));
}

bool Compatible(const SyncSet& setting, const SyncSet& agreed) {
  return setting.k >= agreed.k &&
         (agreed.k == 0 || std::includes(agreed.nodes.begin(), agreed.nodes.end(),
                                         setting.nodes.begin(), setting.nodes.end()));
}

std::string Validate(const RegisterValue& value) {
  if (value.cluster_id == ClusterId{}) return "it has no cluster id";
  if (value.cluster_name.size() > kMaxNameBytes || !Printable(value.cluster_name))
    return "the cluster's name is too long or not printable";
  if (value.version == Version{}) return "it has no version";
  const Version since = value.epoch.value.version;
  if (since == Version{} || since > value.version) return "its epoch is not one of its writes";
  if (std::string wrong = CheckMembers(value); !wrong.empty()) return wrong;
  const Member* primary = FindMember(value, value.primary);
  if (primary == nullptr) return "the primary is no member";
  if (primary->kind == MemberKind::kWitness) return "a witness cannot be the primary";
  if (value.voters_since > value.version) return "its voters are not of one of its writes";
  if (value.active != (value.timeline != TimelineId{}))
    return "an active epoch has a timeline, and only that";
  if (std::string wrong = CheckSyncSet(value, value.primary, value.sync); !wrong.empty())
    return wrong;
  if (value.lineage.empty() || value.lineage.size() > kMaxLineage)
    return "it has no lineage, or too long a one";
  if (value.active && value.target_branch) return "an active epoch has no branch of its own";
  const Basis basis = BasisOf(value);
  if (FindMember(value, basis.primary) == nullptr || basis.timeline == TimelineId{})
    return "an inactive epoch has no basis";
  if (std::string wrong = CheckSyncSet(value, value.basis.primary, value.basis.sync);
      !wrong.empty())
    return wrong;
  if (value.lease_ttl_ms < kShortestTtlMs || value.lease_ttl_ms > kLongestTtlMs)
    return "the lease is too short or too long";
  if (value.longest_ttl_ms < value.lease_ttl_ms || value.longest_ttl_ms > kLongestTtlMs)
    return "its longest lease is shorter than its lease";
  if (value.drift_permille > kMaxDriftPermille) return "the drift bound is too large";
  if (value.min_sync_copies < 1 || value.min_sync_copies > value.sync_copies ||
      value.sync_copies >= kMaxMembers)
    return "sync_copies and min_sync_copies are at least 1, and the former is not smaller";
  if (value.former_clusters.size() > kMaxFormerClusters) return "it names too many former clusters";
  if (value.durability == Durability::kAsync && value.sync != SyncSet{})
    return "durability async has no synchronous set";
  const bool observes = !Enforces(value);
  if (observes && (!value.active || value.sync != SyncSet{} || value.primary_boot != BootCount{}))
    return "in mode observe an epoch is active, and nothing is set";
  if (value.dropped && !observes) return "only what observes can be dropped";
  return "";
}

}  // namespace orchestra
