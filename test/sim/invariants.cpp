// The register: what was accepted, chosen and learned.
#include "invariants.h"

#include <algorithm>

#include "world.h"

namespace orchestra::sim {
namespace {

std::string Of(NodeId id) { return "n" + std::to_string(id.value); }

std::set<NodeId> VotesIn(const RegisterValue& value) {
  std::set<NodeId> votes;
  for (const Member& member : value.members)
    if (HasVote(value, member.id)) votes.insert(member.id);
  return votes;
}

bool SameVotes(const RegisterValue& a, const RegisterValue& b) {
  return a.voters_prev == b.voters_prev &&
         std::all_of(a.members.begin(), a.members.end(),
                     [&](const Member& m) { return m.voter == IsVoter(b, m.id); }) &&
         VoterCount(a) == VoterCount(b);
}

}  // namespace

void Observer::Fail(const std::string& invariant, const std::string& text) {
  if (violation_ || postponed_ || beyond_claims_) return;
  if (judging_) {
    postponed_ = Violation{invariant, text};
    return;
  }
  violation_ = Violation{invariant, text};
  world_.Trace(nullptr, invariant + " is violated: " + text);
}

ClusterId Observer::ClusterOf(const Node& node) {
  const Durable& d = node.state.durable;
  if (d.committed) return d.committed->value->cluster_id;
  return d.accepted ? d.accepted->value->cluster_id : ClusterId{};
}

const RegisterValue* Observer::Newest() const { return Newest(newest_cluster_); }

const RegisterValue* Observer::Newest(ClusterId cluster) const {
  const auto history = clusters_.find(cluster);
  if (history == clusters_.end() || history->second.chosen.empty()) return nullptr;
  return history->second.chosen.rbegin()->second.get();
}

const ValuePtr* Observer::EpochOf(const Node& node, EpochId epoch) const {
  const auto history = clusters_.find(ClusterOf(node));
  if (history == clusters_.end()) return nullptr;
  const auto began = history->second.epochs.find(epoch);
  return began == history->second.epochs.end() ? nullptr : &began->second;
}

// ---------------------------------------------------------------- accepted

void Observer::Persisted(Node& node, const std::optional<Durable>& before) {
  const Durable& now = *node.vote;
  const bool same = before && before->identity.incarnation == now.identity.incarnation;
  if (same && now.promised < before->promised)
    Fail("I2", Of(node.id) + "'s promised ballot went back");
  if (same && now.fenced < before->fenced) Fail("I4", Of(node.id) + "'s fence went back");
  Voted(node, before);
  const bool accepts = now.accepted && (!before || !(before->accepted == now.accepted));
  if (accepts) CheckAccepted(node, *now.accepted);
  if (now.committed && (!before || !(before->committed == now.committed))) {
    CheckLearned(node, before);
  }
}

void Observer::CheckAccepted(const Node& node, const Written& written) {
  const RegisterValue& value = *written.value;
  NoteAgreement(written);
  Vote& vote = votes_[{value.cluster_id, written.write}];
  if (!vote.value) vote.value = written.value;
  if (!(*vote.value == value)) {
    Fail("I2", "write " + ToText(written.write) + " has two values");
    return;
  }
  const NodeId member = node.vote->identity.node;
  if (!HasVote(value, member)) return;
  vote.accepted_by.insert(member);
  const bool first = value.version == Version{1} && written.write.ballot.round == 1;
  const bool enough =
      first ? vote.accepted_by.size() >= VoterCount(value) : HasQuorum(value, vote.accepted_by);
  if (!vote.chosen && enough) Chosen(written.write, vote);
}

// ---------------------------------------------------------------- chosen

void Observer::Chosen(const WriteId& write, Vote& vote) {
  vote.chosen = true;
  const RegisterValue& value = *vote.value;
  if (world_.tracing()) {
    world_.Trace(nullptr, "chosen " + ToText(write) + ": primary " + Of(value.primary) +
                              ", epoch " + ToText(value.epoch) +
                              (value.active ? ", active" : ", not active"));
  }
  if (!clusters_.contains(value.cluster_id)) BeginForced(value);
  History& history = clusters_[value.cluster_id];
  const auto next = history.chosen.upper_bound(write);
  if (next != history.chosen.begin()) CheckSuccession(*std::prev(next)->second, value);
  if (next != history.chosen.end()) {
    const RegisterValue& later = *next->second;
    if (later.version < value.version) Fail("I2", "a later choice has an older version");
    if (later.epoch < value.epoch) Fail("I4", "a later choice has an older epoch");
  }
  history.chosen[write] = vote.value;
  history.epochs.emplace(value.epoch, vote.value);
  for (const Node& node : world_.nodes) CheckSetting(node);
}

void Observer::CheckSuccession(const RegisterValue& old, const RegisterValue& value) {
  if (value.version < old.version) Fail("I2", "the register's version went back");
  if (value.version == old.version && !(value == old)) {
    Fail("I2", "version " + std::to_string(value.version.value) + " was chosen twice");
  }
  if (value.epoch < old.epoch) Fail("I4", "the chosen epoch went back");
  if (value == old) return;
  if (value.epoch != old.epoch) CountFailover(old, value);
  CheckVoters(old, value);
  // A write may be found chosen late, when newer ones are: then others are counted on.
  const RegisterValue* newest = Newest();
  const bool in_force = newest && newest->version <= value.version;
  if (value.epoch == old.epoch && in_force) CheckSync(old, value);
  CountChange(old, value);
}

// No quorum of one register may be without a voter of every quorum of the other.
void Observer::CheckVoters(const RegisterValue& old, const RegisterValue& value) {
  if (SameVotes(old, value)) return;
  std::set<NodeId> all = VotesIn(old);
  all.merge(VotesIn(value));
  const std::vector<NodeId> each(all.begin(), all.end());
  for (std::size_t bits = 0; bits < std::size_t{1} << each.size(); bits++) {
    std::set<NodeId> some;
    std::set<NodeId> others;
    for (std::size_t i = 0; i < each.size(); i++)
      ((bits >> i & 1) != 0 ? some : others).insert(each[i]);
    if (!HasQuorum(old, some) || !HasQuorum(value, others)) continue;
    Fail("I12", "the voters of versions " + std::to_string(old.version.value) + " and " +
                    std::to_string(value.version.value) + " may decide without each other");
    return;
  }
}

// Whatever a failover counts on from now on has every commit that clients were told of. (A disk
// that was rolled back had it; that it does not count is I14.)
void Observer::CheckSync(const RegisterValue& old, const RegisterValue& value) {
  if (old.sync == value.sync || !old.active || value.durability == Durability::kAsync) return;
  if (last_decided_ == 0 || last_decided_in_ != value.epoch || value.sync.k == 0) return;
  const auto has = [&](NodeId id) {
    const NodeId address = world_.MachineOf(value, id).address;
    return std::any_of(world_.nodes.begin(), world_.nodes.end(), [&](const Node& node) {
      return node.address == address &&
             (node.wal_lost || world_.wal.IsAncestor(last_decided_, node.server.flushed));
    });
  };
  const auto with = std::count_if(value.sync.nodes.begin(), value.sync.nodes.end(), has);
  if (with >= static_cast<std::ptrdiff_t>(value.sync.k)) return;
  Fail("I12", "version " + std::to_string(value.version.value) +
                  " counts on nodes that lack an acknowledged commit");
}

void Observer::CountChange(const RegisterValue& old, const RegisterValue& value) {
  Coverage& c = world_.coverage;
  if (value.epoch == old.epoch && value.active && !old.active) c.activations++;
  if (!value.voters_prev.empty() && old.voters_prev.empty()) c.voter_changes++;
  if (value.voters_prev.empty() && !old.voters_prev.empty()) c.voter_changes_final++;
  if (value.epoch == old.epoch && value.sync != old.sync) {
    (Compatible(old.sync, value.sync) ? c.sync_grown : c.sync_shrunk)++;
    if (value.sync.k == 0 && value.durability == Durability::kQuorum) c.degraded++;
  }
  if (value.lease_ttl_ms != old.lease_ttl_ms) c.ttl_changes++;
  if (value.mode != old.mode || value.paused != old.paused || value.durability != old.durability)
    c.mode_changes++;
  if (value.members.size() > old.members.size()) c.joins++;
  if (value.members.size() < old.members.size()) c.removals++;
  if (value.epoch == old.epoch && old.active && value.primary_boot > old.primary_boot)
    c.starts_noted++;
}

void Observer::CountFailover(const RegisterValue& old, const RegisterValue& value) {
  Coverage& c = world_.coverage;
  if (clusters_[value.cluster_id].epochs.contains(value.epoch)) return;
  c.failovers++;
  if (!old.active) c.failovers_inactive++;
  if (old.primary == value.primary) return;
  c.failovers_moved++;
  const Node& primary = world_.MachineOf(old, old.primary);
  if (primary.up && primary.server.running) c.failovers_primary_running++;
}

// A first register, or one that a forced recovery made out of another cluster's.
void Observer::BeginForced(const RegisterValue& value) {
  newest_cluster_ = value.cluster_id;
  if (value.former_clusters.empty()) return;
  forced_.insert(value.epoch);
  WriteOffAbsent(world_.MachineOf(value, value.primary).server.written,
                 &world_.coverage.written_off);
}

// ---------------------------------------------------------------- learned

void Observer::CheckLearned(const Node& node, const std::optional<Durable>& before) {
  const Written& learned = *node.vote->committed;
  const auto vote = votes_.find({learned.value->cluster_id, learned.write});
  if (vote == votes_.end() || !vote->second.chosen) {
    const bool first = learned.value->version == Version{1} && learned.write.ballot.round == 1;
    Fail(first ? "I10" : "I2",
         Of(node.id) + " learned write " + ToText(learned.write) + ", which was not chosen");
    return;
  }
  if (!(*vote->second.value == *learned.value)) {
    Fail("I2", Of(node.id) + " learned another value of write " + ToText(learned.write));
  }
  if (before && before->committed &&
      before->committed->value->cluster_id == learned.value->cluster_id) {
    const RegisterValue& old = *before->committed->value;
    if (learned.value->epoch < old.epoch) Fail("I4", Of(node.id) + " learned an older epoch");
    if (learned.value->version < old.version) Fail("I2", Of(node.id) + " learned an older version");
  }
}

// When the write that begins an epoch is first seen: where may its primary be promoted?
void Observer::NoteAgreement(const Written& w) {
  if (w.value->epoch.value != w.write || agreed_.contains(w.value->epoch)) return;
  std::set<Lsn>& agreed = agreed_[w.value->epoch];
  const auto counted = counted_.find({w.write.ballot, w.value->primary});
  if (counted != counted_.end()) agreed = counted->second;
}

}  // namespace orchestra::sim
