// How the duties that the core names are performed, and what it is told of the server.
#include <utility>

#include "world.h"

namespace orchestra::sim {

// ---------------------------------------------------------------- duties

void World::Perform(Node& n) {
  if (!n.up || !Healthy()) return;
  const Duties duties = DutiesOf(n.state, ClockOf(n), config.policy);
  PerformGate(n, duties);
  PerformReceiver(n, duties);
  PerformScan(n, duties);
  PerformPromotion(n, duties);
  PerformSync(n, duties);
}

void World::PerformGate(Node& n, const Duties& duties) {
  Server& s = n.server;
  const bool was_open = Commits(n);
  s.gated = duties.gated;
  s.gate_open = duties.gate_open;
  s.gate_until = duties.gate_until;
  if (duties.gate_open)
    s.ack = SyncNames{{duties.ack_names.begin(), duties.ack_names.end()}, duties.ack_k};
  const RegisterValue* value = CommittedValue(n.state);
  s.gate_epoch = value ? value->epoch : EpochId{};
  if (Commits(n) && !was_open) observer.GateOpened(n);
  if (Commits(n) && !GateOpen(n)) coverage.observed++;
}

void World::PerformReceiver(Node& n, const Duties& duties) {
  Server& s = n.server;
  const NodeId upstream =
      duties.upstream == kNoNode ? s.upstream : NodeId{MachineAt(duties.upstream_server)};
  const bool stop = s.connection != 0 &&
                    ((duties.receiver_closed && !s.receiver_closed) || upstream != s.upstream);
  s.receiver_closed = duties.receiver_closed;
  s.upstream = upstream;
  s.upto = duties.upstream_upto;
  if (!stop) return;
  // The ticket is taken at once; a busy or frozen receiver notices later.
  const Micros late = random.Chance(50) ? Delay(Ms(10), Ms(400)) : Delay(Ms(1), Ms(10));
  scheduler.After(late, [this, id = n.id, connection = s.connection] {
    WhenAwake(id, [this, id, connection] {
      if (node(id).server.connection != connection) return;
      node(id).server.connection = 0;
      Observe(node(id));
    });
  });
}

static bool Quiet(const Server& s) {
  return s.out_of_recovery || (s.receiver_closed && s.connection == 0);
}

void World::PerformScan(Node& n, const Duties& duties) {
  Server& s = n.server;
  if (!duties.scan) s.scanning.reset();
  if (!n.has_data()) return;
  if (!duties.scan || s.scanning == duties.scan || s.scanned == *duties.scan) return;
  if (!Quiet(s) || !s.running || s.promoting) return;
  s.scanning = duties.scan;
  s.flushed = s.written;
  // What is not exact may end anywhere before the true end.
  const bool exact = !random.Chance(network.faults.scan_inexact);
  Record end = s.flushed;
  for (int i = 0; !exact && i < 3 && wal.ParentOf(end) != 0; i++) end = wal.ParentOf(end);
  scheduler.After(Delay(Ms(1), Ms(200)), [this, id = n.id, life = n.life, scan = *duties.scan,
                                          server_life = s.life, end, exact] {
    WhenAwake(id, [=, this] {
      Node& m = node(id);
      if (m.life != life || m.server.life != server_life || m.server.scanning != scan) return;
      m.server.scanning.reset();
      if (!Quiet(m.server)) return;
      WalPosition position;
      position.timeline = wal.TimelineOf(end);
      position.end = wal.EndOf(end);
      position.exact = exact;
      position.out_of_recovery = m.server.out_of_recovery;
      position.history = wal.HistoryOf(end);
      observer.EndOfWalRead(m, position, end);
      // A step that could not be made durable did not happen: the duty stands, read again.
      m.server.scanned = scan;
      if (!Apply(m, WalEndRead{scan, position})) m.server.scanned = 0;
    });
  });
}

void World::PerformPromotion(Node& n, const Duties& duties) {
  Server& s = n.server;
  if (!duties.promote || !s.running || s.out_of_recovery || s.promoting) return;
  s.promoting = true;
  s.connection = 0;
  observer.PromotionStarted(n, *duties.promote);
  scheduler.After(Delay(Ms(20), Ms(150)), [this, id = n.id, life = s.life, from = s.written] {
    WhenAwake(id, [=, this] {
      Server& m = node(id).server;
      if (m.life != life) return;
      if (m.written != from)
        observer.Fail("I7", "WAL arrived during the promotion of n" + std::to_string(id.value));
      m.promoting = false;
      m.out_of_recovery = true;
      m.newest_timeline.value++;
      m.flushed = m.written = wal.Append(m.written, m.newest_timeline);
      coverage.promotions++;
      Observe(node(id));
    });
  });
}

void World::PerformSync(Node& n, const Duties& duties) {
  Server& s = n.server;
  if (!duties.managed) {  // its own setting comes back: nobody waits
    s.sync = SyncNames{};
    s.sync_old.clear();
    s.sync_asked = s.sync_effective = 0;
  }
  if (!duties.sync_generation || s.sync_asked == *duties.sync_generation || !s.running) return;
  s.sync_asked = *duties.sync_generation;
  if (tracing())
    Trace(&n,
          "reloads its synchronous setting, generation " + std::to_string(s.sync_asked & 0xFFFF),
          true);
  const SyncNames wanted{{duties.sync_names.begin(), duties.sync_names.end()}, duties.sync_k};
  auto still = [this, id = n.id, life = s.life, asked = s.sync_asked] {
    return node(id).server.life == life && node(id).server.sync_asked == asked;
  };
  const Micros loaded = Delay(Ms(10), Ms(150));
  scheduler.After(loaded, [this, still, id = n.id, wanted] {
    if (!still()) return;
    Server& m = node(id).server;
    m.sync_old.push_back(std::exchange(m.sync, wanted));
  });
  // A walsender that takes too long is ended.
  const bool late = random.Chance(network.faults.late_reload);
  const Micros everybody = late ? Ms(1200) : Delay(Ms(10), Ms(150));
  scheduler.After(loaded + everybody, [this, still, late, id = n.id] {
    WhenAwake(id, [this, still, late, id] {
      if (!still()) return;
      Server& m = node(id).server;
      m.sync_old.clear();
      m.sync_effective = m.sync_asked;
      if (late) EndWalsenders(node(id));
      Observe(node(id));
    });
  });
}

void World::EndWalsenders(Node& n) {
  n.server.walsenders.clear();
  for (Node& other : nodes)
    if (other.server.source == n.id) other.server.connection = 0;
}

// The member at the address that the receiver was told.
NodeId World::UpstreamOf(const Node& n) const {
  const RegisterValue* value = CommittedValue(n.state);
  if (!value) return kNoNode;
  for (const Member& member : value->members)
    if (member.peer.port == n.server.upstream.value) return member.id;
  return kNoNode;
}

LocalView World::ViewOf(const Node& n) const {
  const Server& s = n.server;
  LocalView view;
  NodeStatus& status = view.status;
  if (!n.has_data()) {
    status.db = DbState::kNone;
    view.receiver_quiet = true;
    return view;
  }
  status.db = !s.running          ? DbState::kStarting
              : s.out_of_recovery ? DbState::kPrimary
                                  : DbState::kStandby;
  status.receiver = s.connection != 0   ? ReceiverState::kStreaming
                    : s.out_of_recovery ? ReceiverState::kStopped
                    : s.receiver_closed ? ReceiverState::kParked
                                        : ReceiverState::kStarting;
  status.accepting_connections = s.running;
  status.gate_open = GateOpen(n);
  status.quarantined = n.state.phase == Phase::kQuarantined;
  status.timeline = wal.TimelineOf(s.written);
  status.flush_lsn = wal.EndOf(s.flushed);
  if (!s.out_of_recovery) {
    status.replay_lsn = status.flush_lsn;
    status.upstream = UpstreamOf(n);
  }
  const RegisterValue* value = CommittedValue(n.state);
  for (const auto& [standby, sender] : s.walsenders) {
    const Member* member = value ? FindMember(*value, node(standby).member_name) : nullptr;
    if (member && sender.flushed != 0)
      view.standby_flushed.emplace_back(member->id, wal.EndOf(sender.flushed));
  }
  view.insert_lsn = wal.EndOf(s.written);
  view.sync_effective = s.sync_effective;
  view.receiver_quiet = Quiet(s);
  return view;
}

}  // namespace orchestra::sim
