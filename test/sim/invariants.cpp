#include "invariants.h"

#include <algorithm>

#include "world.h"

namespace orchestra::sim {
namespace {

std::string Of(NodeId id) { return "n" + std::to_string(id.value); }

}  // namespace

void Observer::Fail(const std::string& invariant, const std::string& text) {
  if (violation_) return;
  violation_ = Violation{invariant, text};
  world_.Trace(nullptr, invariant + " is violated: " + text);
}

const RegisterValue* Observer::Newest() const {
  return chosen_.empty() ? nullptr : chosen_.rbegin()->second.get();
}

// ---------------------------------------------------------------- the register

void Observer::Persisted(const Node& node, const std::optional<Durable>& before) {
  const Durable& now = *node.vote;
  if (before) {
    if (now.promised < before->promised) Fail("I2", Of(node.id) + "'s promised ballot went back");
    if (now.fenced < before->fenced) Fail("I4", Of(node.id) + "'s fence went back");
  }
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
  if (!IsVoter(value, node.id)) return;
  vote.accepted_by.insert(node.id);
  const bool first = value.version == Version{1} && written.write.ballot.round == 1;
  const std::size_t needed = first ? VoterCount(value) : Majority(VoterCount(value));
  if (!vote.chosen && vote.accepted_by.size() >= needed) Chosen(written.write, vote);
}

void Observer::Chosen(const WriteId& write, Vote& vote) {
  vote.chosen = true;
  const RegisterValue& value = *vote.value;
  world_.Trace(nullptr, "chosen " + ToText(write) + ": primary " + Of(value.primary) + ", epoch " +
                            ToText(value.epoch) + (value.active ? ", active" : ", not active"));
  const auto next = chosen_.upper_bound(write);
  if (next != chosen_.begin()) {
    const RegisterValue& previous = *std::prev(next)->second;
    if (value.version < previous.version) Fail("I2", "the register's version went back");
    if (value.version == previous.version && !(value == previous)) {
      Fail("I2", "version " + std::to_string(value.version.value) + " was chosen twice");
    }
    if (value.epoch < previous.epoch) Fail("I4", "the chosen epoch went back");
    if (value.epoch != previous.epoch) CountFailover(previous, value);
    if (value.epoch == previous.epoch && value.active && !previous.active) {
      world_.coverage.activations++;
    }
  }
  if (next != chosen_.end()) {
    const RegisterValue& later = *next->second;
    if (later.version < value.version) Fail("I2", "a later choice has an older version");
    if (later.epoch < value.epoch) Fail("I4", "a later choice has an older epoch");
  }
  chosen_[write] = vote.value;
  epochs_.emplace(value.epoch, vote.value);
}

void Observer::CountFailover(const RegisterValue& old, const RegisterValue& value) {
  Coverage& c = world_.coverage;
  if (epochs_.contains(value.epoch)) return;
  c.failovers++;
  if (!old.active) c.failovers_inactive++;
  if (old.primary == value.primary) return;
  c.failovers_moved++;
  const Node& primary = world_.node(old.primary);
  if (primary.up && primary.server.running) c.failovers_primary_running++;
}

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

// ---------------------------------------------------------------- leases and votes

void Observer::AfterStep(const Node& node, bool persisted) {
  if (!persisted && world_.config.policy.durable_fence && node.state.phase != Phase::kQuarantined &&
      node.stated && !(*node.stated == node.state.durable)) {
    Fail("C1", Of(node.id) + " changed what is durable without saying so");
  }
  const Node* holder = nullptr;
  for (const Node& each : world_.nodes) {
    if (!world_.Holds(each)) continue;
    if (holder) Fail("I1", Of(holder->id) + " and " + Of(each.id) + " hold a lease");
    holder = &each;
  }
  if (world_.Holds(node)) {
    const auto epoch = epochs_.find(node.state.lease_epoch);
    if (epoch == epochs_.end() || epoch->second->primary != node.id) {
      Fail("I6", Of(node.id) + " holds a lease of epoch " + ToText(node.state.lease_epoch) +
                     ", which was not chosen or names another primary");
    }
    held_until_[node.id] = node.state.lease_until;
  } else if (const auto held = held_until_.find(node.id); held != held_until_.end()) {
    if (!BeforeOnEveryClock(world_.ClockOf(node), held->second)) world_.coverage.lease_expiries++;
    held_until_.erase(held);
  }
  const bool member = node.state.phase == Phase::kConfigured;
  if (world_.GateOpen(node) && !member) Fail("I9", Of(node.id) + " opened a gate as no member");
}

void Observer::Sent(const Node& node, const Envelope& envelope) {
  const Message& message = envelope.message;
  const Phase phase = node.state.phase;
  if (phase == Phase::kUnconfigured || phase == Phase::kQuarantined) {
    const auto* lease = std::get_if<LeaseAck>(&message);
    if (std::holds_alternative<PreVoteOk>(message) || std::holds_alternative<Promise>(message) ||
        std::holds_alternative<Accepted>(message) || (lease && lease->granted)) {
      Fail("I9", Of(node.id) + " sent " + NameOf(message) + " without a valid identity");
    }
  }
  if (const auto* accept = std::get_if<Accept>(&message)) NoteAgreement(accept->written);
}

// When the write that begins an epoch is first seen: where may its primary be promoted?
void Observer::NoteAgreement(const Written& w) {
  if (w.value->epoch.value != w.write || agreed_.contains(w.value->epoch)) return;
  std::set<Lsn>& agreed = agreed_[w.value->epoch];
  const auto counted = counted_.find({w.write.ballot, w.value->primary});
  if (counted != counted_.end()) agreed = counted->second;
}

void Observer::Received(const Node& node, const Envelope& envelope) {
  const auto* fenced = std::get_if<Fenced>(&envelope.message);
  if (fenced && fenced->position && fenced->ballot.node == node.id) {
    counted_[{fenced->ballot, envelope.from}].insert(fenced->position->end);
  }
}

// ---------------------------------------------------------------- WAL

void Observer::EndOfWalRead(const Node& node, const WalPosition& position, Record record) {
  // A coordinator answers itself without a message.
  counted_[{node.state.ballot, node.id}].insert(position.end);
  if (position.exact) reports_[node.id] = {node.state.durable.fenced, record};
}

void Observer::Rejoined(const Node& node) { reports_.erase(node.id); }

void Observer::GateOpened(const Node& node) {
  world_.coverage.gates_opened++;
  if (world_.tracing()) world_.Trace(&node, "may commit");
  if (node.server.gate_epoch >= opened_.first) opened_ = {node.server.gate_epoch, node.id};
  std::vector<bool> has;
  for (Record r = node.server.written; r != 0; r = world_.wal.ParentOf(r)) {
    if (has.empty()) has.resize(r + 1u);  // records only have older ancestors
    has[r] = true;
  }
  for (const Record commit : acknowledged_) {
    if (commit < has.size() && has[commit]) continue;
    Fail("I3", Of(node.id) + " opened its gate without the acknowledged commit at " +
                   ToText(world_.wal.EndOf(commit)));
    return;
  }
}

// Have enough members reported an end of WAL without this commit, so that a failover may go on?
bool Observer::LacksQuorum(const Node& node, Record record) const {
  const auto epoch = epochs_.find(node.server.gate_epoch);
  if (epoch == epochs_.end()) return false;
  const RegisterValue& value = *epoch->second;
  auto lacks = [&](NodeId id) {
    const auto report = reports_.find(id);
    return report != reports_.end() && report->second.fenced >= value.epoch &&
           !world_.wal.IsAncestor(record, report->second.record);
  };
  if (lacks(node.id)) return true;
  const auto without = std::count_if(value.sync.nodes.begin(), value.sync.nodes.end(), lacks);
  return static_cast<std::size_t>(without) >= value.sync.nodes.size() - value.sync.k + 1;
}

void Observer::Decided(const Node& node, Record record, std::uint32_t) {
  if (node.state.phase != Phase::kConfigured) {
    Fail("I9", Of(node.id) + " acknowledged a commit as no member");
  }
  const RegisterValue* newest = Newest();
  if (!newest || node.server.gate_epoch < newest->epoch) {
    Fail("I5", Of(node.id) + " acknowledged a commit under epoch " +
                   ToText(node.server.gate_epoch) + " after its successor was chosen");
  }
  if (LacksQuorum(node, record)) {
    Fail("I8", Of(node.id) + " acknowledged the commit at " + ToText(world_.wal.EndOf(record)) +
                   " after enough fenced nodes had reported an end of WAL below it");
  }
}

void Observer::Acknowledged(const Node& node, Record record, EpochId decided_in) {
  acknowledged_.push_back(record);
  if (world_.tracing()) {
    world_.Trace(&node, "acknowledges the commit at " + ToText(world_.wal.EndOf(record)), true);
  }
  // Told late: whoever commits by now has it.
  if (opened_.first > decided_in &&
      !world_.wal.IsAncestor(record, world_.node(opened_.second).server.written)) {
    Fail("I3", Of(node.id) + " acknowledged the commit at " + ToText(world_.wal.EndOf(record)) +
                   ", which the primary of a newer epoch lacks");
  }
}

void Observer::RolledBack(const Node& node) { reports_.erase(node.id); }

void Observer::Cloned(const Node&) {}

void Observer::PromotionStarted(const Node& node, EpochId epoch) {
  const auto chosen = epochs_.find(epoch);
  if (chosen == epochs_.end() || chosen->second->primary != node.id) {
    Fail("I7", Of(node.id) + " is promoted for epoch " + ToText(epoch) +
                   ", which was not chosen or names another primary");
    return;
  }
  const Lsn end = world_.wal.EndOf(node.server.written);
  if (!agreed_[epoch].contains(end)) {
    Fail("I7", Of(node.id) + " is promoted at " + ToText(end) + ", which was not agreed on");
  }
}

}  // namespace orchestra::sim
