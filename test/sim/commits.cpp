// WAL: what clients were told, and who has it.
#include <algorithm>

#include "invariants.h"
#include "world.h"

namespace orchestra::sim {
namespace {

std::string Of(NodeId id) { return "n" + std::to_string(id.value); }

std::string TextOf(const SyncNames& sync) {
  std::string text = std::to_string(sync.k) + " of (";
  for (const std::string& name : sync.names) text += (text.back() == '(' ? "" : " ") + name;
  return text + ")";
}

}  // namespace

// ---------------------------------------------------------------- ends of WAL

void Observer::EndOfWalRead(const Node& node, const WalPosition& position, Record record) {
  // A coordinator answers itself without a message.
  const NodeId member = Self(node.state);
  if (!position.exact) return;
  counted_[{node.state.ballot, member}].insert(position.end);
  reports_[member] = {node.state.durable.fenced, record};
}

void Observer::Rejoined(const Node& node) {
  if (node.state.durable.identity.node != kNoNode) reports_.erase(node.state.durable.identity.node);
}

void Observer::PromotionStarted(const Node& node, EpochId epoch) {
  // Rolled back since it was counted, or to when it was to be promoted.
  if (Outdated(node) || epoch < knew_[node.id]) beyond_claims_ = true;
  const ValuePtr* chosen = EpochOf(node, epoch);
  if (!chosen || (*chosen)->primary != Self(node.state)) {
    Fail("I7", Of(node.id) + " is promoted for epoch " + ToText(epoch) +
                   ", which was not chosen or names another primary");
    return;
  }
  if (forced_.contains(epoch)) return;
  const Lsn end = world_.wal.EndOf(node.server.written);
  if (!agreed_[epoch].contains(end)) {
    Fail("I7", Of(node.id) + " is promoted at " + ToText(end) + ", which was not agreed on");
  }
}

// ---------------------------------------------------------------- the synchronous set

// Rule 6: what PostgreSQL enforces, in any of its processes, is no weaker than what is counted on.
void Observer::CheckSetting(const Node& node) {
  if (!world_.GateOpen(node)) return;
  const RegisterValue* value = Newest(ClusterOf(node));
  const Server& s = node.server;
  if (!value || s.gate_epoch != value->epoch) return;
  const auto weaker = [&](const SyncNames& names) {
    SyncSet setting;
    setting.k = names.k;
    for (const std::string& name : names.names) {
      const Member* member = FindMember(*value, name);
      if (member) setting.nodes.push_back(member->id);
    }
    std::sort(setting.nodes.begin(), setting.nodes.end());
    return setting.nodes.size() < names.names.size() || !Compatible(setting, value->sync);
  };
  if (!weaker(s.sync) && std::none_of(s.sync_old.begin(), s.sync_old.end(), weaker)) return;
  std::string text = "; it enforces " + TextOf(s.sync);
  for (const SyncNames& old : s.sync_old) text += ", in part " + TextOf(old);
  SyncNames counted;
  for (const NodeId id : value->sync.nodes) counted.names.insert(NameOf(*value, id));
  counted.k = value->sync.k;
  Fail("I11", Of(node.id) + " enforces less than version " + std::to_string(value->version.value) +
                  " counts on, " + TextOf(counted) + text);
}

// ---------------------------------------------------------------- commits

// Not told to anybody any more that it is there: durability async, or a forced recovery.
void Observer::WriteOffAbsent(Record end, std::uint64_t* count) {
  const auto absent = [&](Record commit) { return !world_.wal.IsAncestor(commit, end); };
  *count += static_cast<std::uint64_t>(std::erase_if(acknowledged_, absent));
}

void Observer::GateOpened(const Node& node) {
  world_.coverage.gates_opened++;
  if (world_.tracing()) world_.Trace(&node, "may commit");
  if (ClusterOf(node) != newest_cluster_) return;  // its commits were written off
  if (node.server.gate_epoch >= opened_.first) opened_ = {node.server.gate_epoch, node.id};
  const Record end = node.server.written;
  std::vector<bool> has(end + 1u);  // records only have older ancestors
  for (Record r = end; r != 0; r = world_.wal.ParentOf(r)) has[r] = true;
  const auto missing = std::find_if(acknowledged_.begin(), acknowledged_.end(), [&](Record commit) {
    return commit >= has.size() || !has[commit];
  });
  if (missing == acknowledged_.end()) return;
  const RegisterValue* value = Newest();
  if (value && value->durability == Durability::kAsync)
    return WriteOffAbsent(end, &world_.coverage.lost_async);
  Fail("I3", Of(node.id) + " opened its gate without the acknowledged commit at " +
                 ToText(world_.wal.EndOf(*missing)));
}

// Have enough members reported an end of WAL without this commit, so that a failover may go on?
bool Observer::LacksQuorum(const Node& node, Record record) const {
  const RegisterValue* value = Newest(ClusterOf(node));
  if (!value || value->epoch != node.server.gate_epoch) return false;
  auto lacks = [&](NodeId id) {
    const auto report = reports_.find(id);
    return report != reports_.end() && report->second.fenced >= value->epoch &&
           !world_.wal.IsAncestor(record, report->second.record);
  };
  if (value->durability == Durability::kAsync) return false;
  if (lacks(Self(node.state))) return true;
  const SyncSet& sync = value->sync;
  const auto without = std::count_if(sync.nodes.begin(), sync.nodes.end(), lacks);
  return static_cast<std::size_t>(without) >= sync.nodes.size() - sync.k + 1;
}

void Observer::Decided(const Node& node, Record record, std::uint32_t) {
  if (node.state.phase != Phase::kConfigured && !node.busy) {
    Fail("I9", Of(node.id) + " acknowledged a commit as no member");
  }
  const ClusterId cluster = ClusterOf(node);
  if (const auto told = told_of_end_.find(node.id); told != told_of_end_.end()) {
    if (told->second == cluster && !node.busy)
      Fail("I15", Of(node.id) + " acknowledged a commit in a cluster that it knows to be ended");
  }
  const RegisterValue* newest = Newest(cluster);
  if (!newest || node.server.gate_epoch < newest->epoch) {
    Fail("I5", Of(node.id) + " acknowledged a commit under epoch " +
                   ToText(node.server.gate_epoch) + " after its successor was chosen");
  }
  if (LacksQuorum(node, record)) {
    Fail("I8", Of(node.id) + " acknowledged the commit at " + ToText(world_.wal.EndOf(record)) +
                   " after enough fenced nodes had reported an end of WAL below it");
  }
  if (cluster != newest_cluster_) return;
  last_decided_ = record;
  last_decided_in_ = node.server.gate_epoch;
}

void Observer::Acknowledged(const Node& node, Record record, EpochId decided_in) {
  acknowledged_count_++;
  if (world_.tracing()) {
    world_.Trace(&node, "acknowledges the commit at " + ToText(world_.wal.EndOf(record)), true);
  }
  if (ClusterOf(node) != newest_cluster_) {
    world_.coverage.written_off++;
    return;
  }
  acknowledged_.push_back(record);
  // Told late: whoever has committed since has it.
  const RegisterValue* value = Newest();
  if (opened_.first <= decided_in || !value || value->durability != Durability::kQuorum) return;
  const Node& newer = world_.node(opened_.second);
  const Record has = newer.up ? newer.server.written : newer.server.flushed;  // it may have died
  if (!world_.wal.IsAncestor(record, has)) {
    Fail("I3", Of(node.id) + " acknowledged the commit at " + ToText(world_.wal.EndOf(record)) +
                   ", which the primary of a newer epoch lacks");
  }
}

}  // namespace orchestra::sim
