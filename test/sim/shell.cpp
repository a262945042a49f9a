// The shell around the core: observe, decide, persist, send, perform.
#include <algorithm>
#include <utility>

#include "core/frame.h"
#include "world.h"

namespace orchestra::sim {
namespace {

constexpr Micros kRests = Ms(200);  // between two writes when the first one failed

// As the shell fills in the frame's header.
ClusterId ClusterOf(const State& state) {
  if (state.creating) return state.creating->value.cluster_id;
  if (state.durable.committed) return state.durable.committed->value->cluster_id;
  if (state.durable.accepted) return state.durable.accepted->value->cluster_id;
  return state.marker ? state.marker->cluster_id : ClusterId{};
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

// ---------------------------------------------------------------- turns

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
  if (n.life == life) Apply(n, StorePeers{});
}

void World::Observe(Node& n) {
  if (n.up) Apply(n, Observed{ViewOf(n)});
}

// ---------------------------------------------------------------- the shell
// around the core

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

  observer.Stepping(n, event);
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
    if (note.kind == NoteKind::kIdentitySuspect) coverage.suspects++;
    if (note.kind == NoteKind::kQuarantined) coverage.expelled++;
    if (tracing()) Trace(&n, TextOf(note));
  }
  if (const std::optional<CommandAnswer>& answer = n.state.answer;
      answer && answer->id != n.heard) {
    n.heard = answer->id;
    (answer->done ? coverage.commands_done : coverage.commands_refused)++;
    if (tracing()) Trace(&n, (answer->done ? "is told: " : "is refused: ") + answer->text);
  }
  observer.AfterStep(n, actions.persist);
  if (actions.leave) {
    GoPlain(n);
    return true;
  }
  if (writes && random.Chance(network.faults.slow_fsync)) {
    coverage.slow_fsyncs++;
    HoldUp(n, Delay(Ms(1), network.faults.slowest_fsync),
           [this, id = n.id, actions] { Finish(node(id), actions); });
  } else {
    Finish(n, actions);
  }
  return true;
}

// The marker and the vote go; what is left is a plain server.
void World::GoPlain(Node& n) {
  Trace(&n, "leaves the dropped cluster");
  coverage.left++;
  n.marker.reset();
  n.vote.reset();
  n.stated.reset();
  n.server.gated = n.server.receiver_closed = false;
  n.server.sync = SyncNames{};
  n.server.sync_old.clear();
  BootWorker(n);
}

// As the shell does: nothing is told before the gate is set.
void World::Finish(Node& n, const Actions& actions) {
  PerformGate(n, DutiesOf(n.state, ClockOf(n), config.policy));
  observer.GateSet(n);
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

// ---------------------------------------------------------------- messages

void World::Dispatch(Node& from, const Envelope& envelope) {
  observer.Sent(from, envelope);
  const bool everybody = envelope.to == kNoNode && envelope.at.port == 0;
  const std::optional<Address> address =
      envelope.to == kNoNode ? envelope.at : PeerAddress(from.state, envelope.to);
  const Sender sender{ClusterOf(from.state), IncarnationOf(from), from.state.durable.boot_count,
                      VotedBy(from.state.durable), observer.Outdated(from)};
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

// A frame arrives. The shell reads the clock after it received, and handles
// what came with that.
void World::Hear(Node& to, const Envelope& envelope, const Sender& from, const std::string& bytes) {
  const Faults& f = network.faults;
  if (to.busy) {
    to.next_turn.push_back(
        [this, id = to.id, envelope, from, bytes] { Hear(node(id), envelope, from, bytes); });
    return;
  }
  if (random.Chance(f.held_up)) {
    coverage.held_up++;
    const Micros longest = random.Chance(100) ? f.longest_hold : Ms(50);
    HoldUp(to, Delay(Ms(1), longest), [this, id = to.id, now = ClockOf(to), envelope, from, bytes] {
      Node& n = node(id);
      n.clock_read = now;
      Deliver(n, envelope, from, bytes);
      if (n.clock_read) Observe(n);
      if (n.clock_read) Apply(n, Tick{});
      if (!network.faults.stale_clock) n.clock_read.reset();
    });
    return;
  }
  const bool stale = f.stale_clock && scheduler.now() < to.stale_until;
  if (stale) to.clock_read = to.stale_clock;
  Deliver(to, envelope, from, bytes);
  if (stale) to.clock_read.reset();
}

void World::Deliver(Node& to, const Envelope& envelope, const Sender& from,
                    const std::string& bytes) {
  if (tracing()) {
    Trace(&to,
          "hears " + std::string(NameOf(envelope.message)) + " from n" +
              std::to_string(envelope.from.value),
          true);
  }
  orchestra::Received received{envelope, from.cluster, from.incarnation, from.boot};
  if (!bytes.empty()) {
    std::variant<Frame, FrameError> decoded = DecodeFrame(bytes);
    Frame* frame = std::get_if<Frame>(&decoded);
    if (!frame || EncodeFrame(*frame) != bytes) {
      observer.Fail("F1", std::string("a frame of ") + NameOf(envelope.message) +
                              " does not survive its encoding");
      return;
    }
    const FrameHeader& header = frame->header;
    received = {{header.node, header.to, std::move(frame->message)},
                header.cluster,
                header.incarnation,
                header.boot};
  }
  observer.Receiving(to, received, from);
  const bool done = Apply(to, received);
  observer.Received(to, received, from, done);
}

// ---------------------------------------------------------------- boot

void World::BootWorker(Node& n) {
  n.life++;
  n.busy = n.booted = false;
  n.next_turn.clear();
  n.clock_read.reset();
  n.server.gate_open = false;  // a worker closes it when it ends
  n.server.scanning.reset();
  n.server.scanned = 0;
  n.incarnation = Incarnation{Random(config.seed ^ (n.life << 16) ^ n.id.value).Next() | 1};
  const BootDecision decision = DecideBoot(SurroundingsOf(n));
  State fresh = Boot(decision, ClockOf(n), random.Next(), config.policy);
  n.state = State{};
  if (fresh.phase == Phase::kQuarantined && tracing())
    Trace(&n, "is quarantined: " + fresh.quarantine_reason);
  if (fresh.durable.boot_count == BootCount{}) n.stated.reset();  // its vote is not used
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
  found.machine = n.disk.hardware.machine;
  found.device = n.disk.hardware.device;
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

}  // namespace orchestra::sim
