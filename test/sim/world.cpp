#include "world.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "core/frame.h"

namespace orchestra::sim {
namespace {

constexpr std::uint64_t kSystemIdentifier = 7'000'000'001;
constexpr std::uint32_t kDriftPermille = 100;  // the bound that the protocol counts on
constexpr std::uint16_t kServerPort = 5000;
constexpr Micros kRests = Ms(200);  // between two writes when the first one failed

// As the shell fills in the frame's header.
ClusterId ClusterOf(const State& state) {
  if (state.marker) return state.marker->cluster_id;
  if (state.durable.committed) return state.durable.committed->value->cluster_id;
  if (state.creating) return state.creating->value.cluster_id;
  if (state.durable.accepted) return state.durable.accepted->value->cluster_id;
  return ClusterId{};
}

const Marker* MarkerToWrite(const State& state, const Actions& actions) {
  return actions.write_marker ? &*state.marker : nullptr;
}

template <typename M>
const Written* ProposalIn(const Message& message) {
  const M* m = std::get_if<M>(&message);
  return m ? &m->written : nullptr;
}

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
  nodes.resize(config.nodes + config.extra_members + config.spares);
  const Record first = wal.Append(0, TimelineId{1});
  for (std::size_t i = 0; i < nodes.size(); i++) {
    Node& n = nodes[i];
    n.id = NodeId{static_cast<std::uint16_t>(i + 1)};
    n.name = n.member_name = "n" + std::to_string(i + 1);
    n.address = n.id;
    n.spare = i >= config.nodes + config.extra_members;
    n.disk.hardware = {random.Next() | 1, random.Next() | 1, n.id.value, 1};
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

void World::WhenAwake(NodeId id, std::function<void()> what) {
  Node& n = node(id);
  if (!n.up || !Healthy()) return;
  if (scheduler.now() >= n.frozen_until) return what();
  scheduler.At(n.frozen_until + Delay(Micros{0}, Ms(2)),
               [this, id, what = std::move(what)] { WhenAwake(id, what); });
}

void World::ScheduleTick(Node& n) {
  const Micros tick = TimersFor(config.ttl_ms, kDriftPermille, config.policy).tick;
  scheduler.After(Delay(tick * 8 / 10, tick * 9 / 10), [this, id = n.id, life = n.life] {
    if (node(id).life != life) return;
    WhenAwake(id, [this, id, life] {
      if (node(id).life != life) return;
      TickNode(node(id));
      if (node(id).life == life) ScheduleTick(node(id));
    });
  });
}

void World::HoldUp(Node& n, Micros time, std::function<void()> what) {
  n.busy = true;
  scheduler.After(time, [this, id = n.id, life = n.life, what = std::move(what)] {
    WhenAwake(id, [this, id, life, what] {
      Node& m = node(id);
      if (m.life != life) return;
      m.busy = false;
      what();
      for (const auto& next : std::exchange(m.next_turn, {}))
        if (m.life == life) next();
      m.clock_read.reset();
    });
  });
}

void World::TickNode(Node& n) {
  const std::uint64_t life = n.life;
  TakeImage(n);
  ServerTick(n);
  RetryStore(n);
  if (n.life != life) return;
  Observe(n);
  if (n.life == life) Apply(n, Tick{});
}

void World::Observe(Node& n) {
  if (n.up) Apply(n, Observed{ViewOf(n)});
}

// ---------------------------------------------------------------- the shell around the core

bool World::Apply(Node& n, const Event& event) {
  if (!Healthy() || !n.up || !n.booted || n.busy) return false;
  coverage.steps++;
  CountRefusal(n, event);
  const bool resting = n.disk.failed_at >= Micros{0} && scheduler.now() - n.disk.failed_at < kRests;
  const bool disk_fails = DiskFails(n) || resting;
  std::optional<State> before;
  if (disk_fails) before = n.state;
  const Role role = n.state.role;
  const std::optional<Written> accepted = n.state.durable.accepted;

  const Instant now = n.clock_read.value_or(ClockOf(n));
  const Actions actions = Step(n.state, event, now, config.policy);

  const bool writes = actions.persist || actions.write_marker;
  if (writes) {
    if (disk_fails) {
      const State after = std::exchange(n.state, *std::move(before));
      if (!resting) Store(n, after.durable, MarkerToWrite(after, actions), true);
      Perform(n);
      return false;
    }
    if (Store(n, n.state.durable, MarkerToWrite(n.state, actions), false) != Write::kDone)
      return false;
    if (!network.faults.stale_clock) n.clock_read.reset();  // an fsync may have taken its time
  }
  if (role != Role::kCoordinator && n.state.role == Role::kCoordinator) {
    coverage.coordinators++;
    if (accepted && !(*accepted->value == *n.state.proposal->value)) coverage.adoptions++;
  }
  for (const Note& note : actions.notes) {
    if (note.kind == NoteKind::kLeaseAcquired) coverage.leases++;
    if (tracing()) Trace(&n, TextOf(note));
  }
  observer.AfterStep(n, actions.persist);
  if (writes && random.Chance(network.faults.slow_fsync)) {
    coverage.slow_fsyncs++;
    HoldUp(n, Delay(Ms(1), network.faults.slowest_fsync),
           [this, id = n.id, actions] { Finish(node(id), actions); });
  } else {
    Finish(n, actions);
  }
  return true;
}

// As the shell does: nothing is told before the gate is set.
void World::Finish(Node& n, const Actions& actions) {
  PerformGate(n, DutiesOf(n.state, ClockOf(n), config.policy));
  for (const Envelope& envelope : actions.send) Dispatch(n, envelope);
  Perform(n);
}

// Counts proposals that a voter must refuse for its promise or its hold-off.
void World::CountRefusal(const Node& n, const Event& event) {
  const orchestra::Received* received = std::get_if<orchestra::Received>(&event);
  if (!received) return;
  const Message& message = received->envelope.message;
  const Written* written = ProposalIn<Accept>(message);
  if (!written) written = ProposalIn<orchestra::Commit>(message);
  const std::optional<Written>& accepted = n.state.durable.accepted;
  if (!written || !accepted || written->value->epoch == accepted->value->epoch ||
      written->write < accepted->write || written->write.ballot < n.state.durable.promised) {
    return;
  }
  const Instant now = ClockOf(n);
  if (BeforeOnSomeClock(now, n.state.promise_until)) coverage.promises_kept++;
  if (BeforeOnSomeClock(now, n.state.hold_until)) coverage.hold_offs++;
}

void World::Dispatch(Node& from, const Envelope& envelope) {
  observer.Sent(from, envelope);
  const bool everybody = envelope.to == kNoNode && envelope.at.port == 0;
  const std::optional<Address> address =
      envelope.to == kNoNode ? envelope.at : PeerAddress(from.state, envelope.to);
  const Sender sender{ClusterOf(from.state), IncarnationOf(from), from.state.durable.boot_count};
  std::string bytes;
  if (config.frames) {
    const FrameHeader header{kProtocolMin, kProtocolMax,       sender.cluster, envelope.from,
                             envelope.to,  sender.incarnation, sender.boot};
    bytes = EncodeFrame({header, envelope.message});
  }
  auto send = [&](const Node& to) {
    network.Send(
        from.id, to.id, envelope.message.index(), [this, id = to.id, envelope, sender, bytes] {
          WhenAwake(
              id, [this, id, envelope, sender, bytes] { Hear(node(id), envelope, sender, bytes); });
        });
  };
  if (!everybody && !address) return;
  const auto answers = [&](const Node& to) {
    return to.id != from.id && !to.spare && (everybody || address->port == to.address.value);
  };
  const auto first = std::find_if(nodes.begin(), nodes.end(), answers);
  // Two machines at one address: both hear it, or either.
  const bool one_only = clones_ && !everybody && random.Chance(500);
  const bool skip = one_only && random.Chance(500);
  for (auto to = first; to != nodes.end(); ++to) {
    if (!answers(*to)) continue;
    if (skip && to == first && std::any_of(to + 1, nodes.end(), answers)) continue;
    send(*to);
    if (one_only) break;
  }
}

// A frame arrives. The shell reads the clock after it received, and handles what came with that.
void World::Hear(Node& to, const Envelope& envelope, const Sender& sender,
                 const std::string& bytes) {
  const Faults& f = network.faults;
  if (to.busy) {
    to.next_turn.push_back(
        [this, id = to.id, envelope, sender, bytes] { Hear(node(id), envelope, sender, bytes); });
    return;
  }
  if (random.Chance(f.held_up)) {
    coverage.held_up++;
    const Micros longest = random.Chance(100) ? f.longest_hold : Ms(50);
    HoldUp(to, Delay(Ms(1), longest),
           [this, id = to.id, now = ClockOf(to), envelope, sender, bytes] {
             Node& n = node(id);
             n.clock_read = now;
             Deliver(n, envelope, sender, bytes);
             if (n.clock_read) Observe(n);
             if (n.clock_read) Apply(n, Tick{});
             if (!network.faults.stale_clock) n.clock_read.reset();
           });
    return;
  }
  const bool stale = f.stale_clock && scheduler.now() < to.stale_until;
  if (stale) to.clock_read = to.stale_clock;
  Deliver(to, envelope, sender, bytes);
  if (stale) to.clock_read.reset();
}

void World::Deliver(Node& to, const Envelope& envelope, const Sender& sender,
                    const std::string& bytes) {
  if (tracing()) {
    Trace(&to,
          "hears " + std::string(NameOf(envelope.message)) + " from n" +
              std::to_string(envelope.from.value),
          true);
  }
  if (bytes.empty()) {
    observer.Received(to, envelope);
    Apply(to, orchestra::Received{envelope, sender.cluster, sender.incarnation, sender.boot});
    return;
  }
  const std::variant<Frame, FrameError> decoded = DecodeFrame(bytes);
  const Frame* frame = std::get_if<Frame>(&decoded);
  if (!frame || EncodeFrame(*frame) != bytes) {
    observer.Fail("F1", std::string("a frame of ") + NameOf(envelope.message) +
                            " does not survive its encoding");
    return;
  }
  const Envelope read{frame->header.node, frame->header.to, frame->message};
  observer.Received(to, read);
  Apply(to, orchestra::Received{read, frame->header.cluster, frame->header.incarnation,
                                frame->header.boot});
}

// ---------------------------------------------------------------- boot and creation

void World::BootWorker(Node& n) {
  n.life++;
  n.busy = n.booted = false;
  n.next_turn.clear();
  n.clock_read.reset();
  n.server.scanning.reset();
  n.server.scanned = 0;
  n.incarnation = Incarnation{Random(config.seed ^ (n.life << 16) ^ n.id.value).Next() | 1};
  const BootDecision decision = DecideBoot(SurroundingsOf(n));
  State fresh = Boot(decision, ClockOf(n), random.Next(), config.policy);
  n.state = State{};
  if (fresh.phase == Phase::kQuarantined) n.stated.reset();
  ScheduleTick(n);
  if (fresh.durable.boot_count != BootCount{}) {
    const Marker* marker = decision.write_marker ? &*decision.marker : nullptr;
    if (Store(n, fresh.durable, marker, DiskFails(n)) != Write::kDone) return;
  }
  n.state = std::move(fresh);
  n.booted = true;
  Introduced introduced;
  introduced.self = MemberOf(n);
  introduced.identity = IdentityOf(n);
  Apply(n, introduced);
  Observe(n);
}

Surroundings World::SurroundingsOf(const Node& n) const {
  Surroundings found;
  found.system_identifier = kSystemIdentifier;
  found.inode = n.disk.hardware.inode;
  found.birth_time_us = n.disk.hardware.birth_time_us;
  found.marker_present = n.marker.has_value();
  if (n.marker) found.marker_bytes = EncodeMarker(*n.marker);
  found.vote_present = n.vote.has_value();
  if (n.vote) found.vote_bytes = EncodeDurable(*n.vote);
  return found;
}

// As the shell names itself in a frame.
Incarnation World::IncarnationOf(const Node& n) const {
  return n.state.phase == Phase::kUnconfigured ? n.incarnation
                                               : n.state.durable.identity.incarnation;
}

Member World::MemberOf(const Node& n) const {
  Member member;
  member.name = n.member_name;
  member.peer = {n.member_name, n.address.value};
  member.server = {n.member_name, static_cast<std::uint16_t>(kServerPort + n.address.value)};
  return member;
}

Identity World::IdentityOf(const Node& n) const {
  const Hardware& here = n.disk.hardware;
  return {kNoNode, n.incarnation, kSystemIdentifier, here.inode, here.birth_time_us};
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
  for (std::size_t i = 0; i < config.nodes; i++) {
    Member member = MemberOf(nodes[i]);
    member.id = nodes[i].id;
    member.voter = member.sync_candidate = true;
    value.members.push_back(member);
  }
  value.sync = FullSyncSet(value, value.primary);
  value.basis = BasisOf(value);
  value.lineage = {{value.timeline, value.epoch}};
  return value;
}

// What orchestra_create_cluster() does on n1, again and again until it is done.
void World::BeginCreation() {
  Node& n = nodes[0];
  if (Created()) return;
  if (n.up && !n.state.creating && n.state.phase != Phase::kConfigured) {
    std::size_t hellos = 0;
    for (std::size_t i = 1; i < config.nodes; i++) hellos += n.state.hellos.count(nodes[i].name);
    if (hellos + 1 == config.nodes && n.server.running) {
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
  for (std::size_t i = 0; i < config.nodes; i++) {
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

bool World::Holds(const Node& n) const { return n.up && HoldsLease(n.state, ClockOf(n)); }

bool World::GateOpen(const Node& n) const {
  const Server& s = n.server;
  return n.up && s.running && s.gated && s.gate_open &&
         BeforeOnEveryClock(ClockOf(n), s.gate_until);
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
