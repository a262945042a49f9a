#include "world.h"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace orchestra::sim {
namespace {

constexpr std::uint16_t kServerPort = 5000;
}  // namespace

World::World(const Config& c, Coverage& cover, TraceSink trace)
    : config(c),
      coverage(cover),
      random(c.seed),
      network(scheduler, random, cover.messages),
      observer(*this),
      trace_(std::move(trace)) {
  if (config.plain) network.faults.fastest = network.faults.slowest = Ms(1);
  BuildNodes();
}

void World::BuildNodes() {
  const std::size_t voters = config.nodes + config.witnesses;
  nodes.resize(voters + config.extra_members + config.spares);
  const Record first = wal.Append(0, TimelineId{1});
  for (std::size_t i = 0; i < nodes.size(); i++) {
    Node& n = nodes[i];
    n.id = NodeId{static_cast<std::uint16_t>(i + 1)};
    n.name = n.member_name = "n" + std::to_string(i + 1);
    n.address = n.id;
    n.kind = i >= config.nodes && i < voters ? MemberKind::kWitness : MemberKind::kData;
    n.spare = i >= voters + config.extra_members;
    const std::uint64_t machine = random.Next() | 1;
    n.disk.hardware = {machine, machine + 1, n.id.value, 1};
    n.server.flushed = first;
    n.server.out_of_recovery = i == 0;
  }
  for (Node& n : nodes) Start(n);
}

// ---------------------------------------------------------------- running

bool World::Run(Micros time) {
  const Micros end = scheduler.now() + time;
  while (Healthy() && scheduler.RunNext(end)) {
  }
  return Healthy();
}

bool World::RunUntil(const std::function<bool()>& until, Micros limit) {
  const Micros end = scheduler.now() + limit;
  while (!until()) {
    if (scheduler.now() >= end || !Run(Ms(5))) return false;
  }
  return Healthy();
}

Micros World::Delay(Micros shortest, Micros longest) {
  if (config.plain) return shortest;
  return Micros{random.Between(shortest.count(), longest.count())};
}

// ---------------------------------------------------------------- boot and
// creation

Member World::MemberOf(const Node& n) const {
  Member member;
  member.name = n.member_name;
  member.kind = n.kind;
  member.peer = {n.member_name, n.address.value};
  member.server = {n.member_name, static_cast<std::uint16_t>(kServerPort + n.address.value)};
  return member;
}

Identity World::IdentityOf(const Node& n) const {
  const Hardware& here = n.disk.hardware;
  return {kNoNode,      n.incarnation, kSystemIdentifier, here.inode, here.birth_time_us,
          here.machine, here.device};
}

RegisterValue World::FirstValue() {
  RegisterValue value;
  value.cluster_id = ClusterId{random.Next() | 1};
  value.system_identifier = kSystemIdentifier;
  value.cluster_name = "sim";
  value.version = Version{1};
  value.primary = nodes[0].id;
  value.epoch = EpochId{WriteId{Ballot{1, value.primary}, value.version}};
  value.active = true;
  value.timeline = wal.TimelineOf(nodes[0].server.flushed);
  value.lease_ttl_ms = value.longest_ttl_ms = config.ttl_ms;
  value.drift_permille = kDriftPermille;
  value.durability = config.durability;
  value.on_no_sync = config.on_no_sync;
  value.sync_copies = config.sync_copies;
  value.min_sync_copies = config.min_sync_copies;
  value.mode = config.mode;
  value.auto_voters = config.auto_voters;
  for (std::size_t i = 0; i < config.nodes + config.witnesses; i++) {
    Member member = MemberOf(nodes[i]);
    member.id = nodes[i].id;
    member.voter = true;
    member.sync_candidate = nodes[i].has_data();
    value.members.push_back(member);
  }
  value.sync = FullSyncSet(value, value.primary);
  value.basis = BasisOf(value);
  value.lineage = {{value.timeline, value.epoch, Lsn{}}};
  return value;
}

// What orchestra_create_cluster() does on n1, again and again until it is done.
void World::BeginCreation() {
  Node& n = nodes[0];
  if (Created()) return;
  if (n.up && !n.state.creating && n.state.phase != Phase::kConfigured) {
    std::size_t hellos = 0;
    const std::size_t voters = config.nodes + config.witnesses;
    for (std::size_t i = 1; i < voters; i++) hellos += n.state.hellos.count(nodes[i].name);
    if (hellos + 1 == voters && n.server.running) {
      Identity identity = IdentityOf(n);
      identity.node = n.id;
      const RegisterValue value = FirstValue();
      const std::string wrong = Validate(value);
      if (!wrong.empty()) observer.Fail("F2", "the first register is not valid: " + wrong);
      Apply(n, CreateCluster{value, identity});
    }
  }
  scheduler.After(Ms(200), [this] { BeginCreation(); });
}

bool World::Created() const {
  for (std::size_t i = 0; i < config.nodes + config.witnesses; i++) {
    const Phase phase = nodes[i].state.phase;
    if (!nodes[i].up || phase == Phase::kUnconfigured || phase == Phase::kPending) return false;
  }
  return true;
}

// ---------------------------------------------------------------- questions

std::uint16_t World::MachineAt(const Address& server) const {
  return static_cast<std::uint16_t>(server.port - kServerPort);
}

const Node& World::MachineOf(const RegisterValue& value, NodeId member) const {
  const Member* m = FindMember(value, member);
  return nodes[m ? m->peer.port - 1u : 0];
}

Node& World::MachineOf(const RegisterValue& value, NodeId member) {
  return const_cast<Node&>(std::as_const(*this).MachineOf(value, member));
}

Node& World::At(NodeId address) {
  Node* found = nullptr;
  for (Node& n : nodes) {
    if (n.address != address || !n.up) continue;
    if (!found || (clones_ && random.Chance(500))) found = &n;
  }
  return found ? *found : node(address);
}

bool World::Holds(const Node& n) const {
  return n.up && HoldsLease(n.state, ClockOf(n), config.policy);
}

bool World::GateOpen(const Node& n) const {
  const Server& s = n.server;
  return n.up && s.running && s.gated && s.gate_open &&
         BeforeOnEveryClock(ClockOf(n), s.gate_until);
}

// What a copy of the primary takes in mode observe is not the cluster's.
bool World::Commits(const Node& n) const {
  const Server& s = n.server;
  const bool free = n.up && s.running && s.out_of_recovery && !s.gated && s.gate_epoch != EpochId{};
  return GateOpen(n) || (free && n.state.phase == Phase::kConfigured && !n.state.suspect);
}

Node* World::Writable() {
  for (Node& n : nodes)
    if (GateOpen(n)) return &n;
  return nullptr;
}

Node* World::Coordinator() {
  Node* best = nullptr;
  for (Node& n : nodes) {
    if (n.up && IsCoordinator(n.state) && (!best || best->state.ballot < n.state.ballot)) best = &n;
  }
  return best;
}

bool World::StreamsFrom(const Node& standby, const Node& primary) const {
  const Server& s = standby.server;
  return standby.up && s.connection != 0 && s.upstream_life == primary.server.life &&
         wal.IsAncestor(s.written, primary.server.written);
}

bool World::EveryStandbyStreams() {
  Node* primary = Writable();
  if (!primary) return false;
  for (const Node& n : nodes) {
    if (n.id == primary->id || n.state.phase == Phase::kQuarantined) continue;
    if (n.spare || !n.has_data()) continue;
    const Record end = n.server.flushed;
    if (!StreamsFrom(n, *primary)) return false;
    if (wal.TimelineOf(end) != wal.TimelineOf(primary->server.flushed)) return false;
  }
  return true;
}

void World::Trace(const Node* n, const std::string& text, bool detail) {
  if (!trace_) return;
  char time[32];
  std::snprintf(time, sizeof time, "%9.3f ", static_cast<double>(scheduler.now().count()) / 1e6);
  trace_(std::string(time) + (n ? n->name : std::string("--")) + " " + text, detail);
}

std::string TextOf(const Note& note) {
  std::string text = NoteName(note.kind);
  if (note.epoch != EpochId{}) text += " epoch=" + ToText(note.epoch);
  if (note.node != kNoNode) text += " node=n" + std::to_string(note.node.value);
  if (!note.reason.empty()) text += " reason=\"" + note.reason + "\"";
  if (!note.next.empty()) text += " next=\"" + note.next + "\"";
  return text;
}

}  // namespace orchestra::sim
