// What the simulated servers do: duties, WAL, receivers, commits; and what happens to machines.
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
  const bool was_open = GateOpen(n);
  s.gated = duties.gated;
  s.gate_open = duties.gate_open;
  s.gate_until = duties.gate_until;
  const RegisterValue* value = CommittedValue(n.state);
  s.gate_epoch = value ? value->epoch : EpochId{};
  if (GateOpen(n) && !was_open) observer.GateOpened(n);
}

void World::PerformReceiver(Node& n, const Duties& duties) {
  Server& s = n.server;
  const NodeId upstream = duties.upstream == kNoNode ? s.upstream : duties.upstream;
  const bool stop = s.connection != 0 &&
                    ((duties.receiver_closed && !s.receiver_closed) || upstream != s.upstream);
  s.receiver_closed = duties.receiver_closed;
  s.upstream = upstream;
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
  if (!duties.scan || s.scanning == duties.scan || s.scanned == *duties.scan) return;
  if (!Quiet(s) || !s.running || s.promoting) return;
  s.scanning = duties.scan;
  s.flushed = s.written;
  const Record end = s.flushed;
  const bool exact = !random.Chance(network.faults.disk_fails);
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
  if (!duties.sync_version || s.sync_asked == *duties.sync_version || !s.running) return;
  s.sync_asked = *duties.sync_version;
  std::set<NodeId> wanted;
  for (const Node& other : nodes)
    for (const std::string& name : duties.sync_names)
      if (other.name == name) wanted.insert(other.id);
  auto still = [this, id = n.id, life = s.life, version = s.sync_asked] {
    return node(id).server.life == life && node(id).server.sync_asked == version;
  };
  // Some processes use it before everybody does.
  const Micros loaded = Delay(Ms(10), Ms(150));
  scheduler.After(loaded, [this, still, id = n.id, wanted, k = duties.sync_k] {
    if (!still()) return;
    node(id).server.sync_nodes = wanted;
    node(id).server.sync_k = k;
  });
  scheduler.After(loaded + Delay(Ms(10), Ms(150)), [this, still, id = n.id] {
    WhenAwake(id, [this, still, id] {
      if (!still()) return;
      node(id).server.sync_effective = node(id).server.sync_asked;
      Observe(node(id));
    });
  });
}

// ---------------------------------------------------------------- the server's own life

void World::StartServer(Node& n) {
  Server& s = n.server;
  s.life++;
  s.written = s.flushed;
  scheduler.After(Delay(Ms(50), Ms(300)), [this, id = n.id, life = s.life] {
    WhenAwake(id, [this, id, life] {
      Server& m = node(id).server;
      if (m.life != life) return;
      m.running = true;
      // Crash recovery of a primary ends with a checkpoint of its own.
      if (m.out_of_recovery) {
        m.flushed = m.written = wal.Append(m.written, wal.TimelineOf(m.written));
      }
      Observe(node(id));
    });
  });
}

void World::ServerTick(Node& n) {
  Server& s = n.server;
  if (!s.running) return;
  if (s.out_of_recovery) {
    const bool open = GateOpen(n);
    // A closed gate still lets WAL be written: aborted transactions, checkpoints.
    if (config.plain ? open : random.Chance(open ? 600 : s.gated ? 20 : 300)) {
      s.written = wal.Append(s.written, wal.TimelineOf(s.written));
      if (open) s.waiting.push_back(s.written);
    }
    s.flushed = s.written;
  } else {
    ReceiverTick(n);
  }
  for (Node& other : nodes) {
    const Server& o = other.server;
    if (o.connection != 0 && o.upstream == n.id && o.upstream_life == s.life) StreamTo(n, other);
  }
  Acknowledge(n);
}

void World::ReceiverTick(Node& n) {
  Server& s = n.server;
  if (s.upstream == kNoNode || s.upstream == n.id || s.promoting) return;
  const Node& up = node(s.upstream);
  if (s.connection != 0) {
    if (up.server.life != s.upstream_life || !up.server.running) s.connection = 0;
    return;
  }
  if (s.receiver_closed || scheduler.now() < s.connect_at) return;
  s.connect_at = scheduler.now() + Delay(Ms(100), Ms(300));
  const bool reachable = up.up && up.server.running && !up.server.promoting &&
                         scheduler.now() >= up.frozen_until && !network.IsCut(n.id, up.id) &&
                         !network.IsCut(up.id, n.id);
  if (!reachable || !wal.IsAncestor(s.written, up.server.flushed)) return;
  s.connection = ++connections_;
  s.upstream_life = up.server.life;
  s.newest_timeline = std::max(s.newest_timeline, up.server.newest_timeline);
  node(s.upstream).server.walsenders[n.id] = {s.connection, 0};
}

void World::StreamTo(Node& primary, Node& standby) {
  network.Send(primary.id, standby.id, Network::kWal,
               [this, to = standby.id, connection = standby.server.connection,
                record = primary.server.flushed] {
                 WhenAwake(to, [=, this] { ReceiveWal(node(to), connection, record); });
               });
}

void World::ReceiveWal(Node& standby, std::uint64_t connection, Record record) {
  Server& s = standby.server;
  if (s.connection != connection || s.out_of_recovery || s.promoting) return;
  if (wal.IsAncestor(s.written, record)) {
    s.written = record;
  } else if (!wal.IsAncestor(record, s.written)) {
    s.connection = 0;
    return;
  }
  if (random.Chance(700) || config.plain) s.flushed = s.written;
  network.Send(standby.id, s.upstream, Network::kWal,
               [this, from = standby.id, to = s.upstream, life = s.upstream_life, connection,
                flushed = s.flushed] {
                 WhenAwake(to, [=, this] { HearFlush(node(to), life, from, connection, flushed); });
               });
}

void World::HearFlush(Node& primary, std::uint64_t life, NodeId standby, std::uint64_t connection,
                      Record record) {
  Server& s = primary.server;
  if (s.life != life) return;
  Walsender& sender = s.walsenders[standby];
  if (sender.connection != connection || !wal.IsAncestor(record, s.written)) return;
  if (wal.EndOf(sender.flushed) < wal.EndOf(record)) sender.flushed = record;
  Acknowledge(primary);
}

void World::Acknowledge(Node& n) {
  Server& s = n.server;
  std::size_t done = 0;
  for (const Record commit : s.waiting) {
    if (!GateOpen(n) || wal.EndOf(commit) > wal.EndOf(s.flushed)) break;
    std::uint32_t flushed_by = 0;
    for (const auto& [standby, sender] : s.walsenders) {
      if (s.sync_nodes.contains(standby) && wal.EndOf(sender.flushed) >= wal.EndOf(commit)) {
        flushed_by++;
      }
    }
    if (flushed_by < s.sync_k) break;
    done++;
    last_acknowledged = scheduler.now();
    coverage.acknowledged++;
    observer.Acknowledged(n, commit);
  }
  s.waiting.erase(s.waiting.begin(), s.waiting.begin() + static_cast<std::ptrdiff_t>(done));
}

LocalView World::ViewOf(const Node& n) const {
  const Server& s = n.server;
  LocalView view;
  NodeStatus& status = view.status;
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
    status.upstream = s.upstream;
  }
  for (const auto& [standby, sender] : s.walsenders)
    if (sender.flushed != 0) view.standby_flushed.emplace_back(standby, wal.EndOf(sender.flushed));
  view.sync_effective = s.sync_effective;
  view.receiver_quiet = Quiet(s);
  return view;
}

// ---------------------------------------------------------------- faults

void World::Crash(Node& n) {
  if (!n.up) return;
  Trace(&n, "dies");
  n.up = false;
  n.life++;
  n.frozen_until = Micros{0};
  Server& s = n.server;
  Server left;
  left.life = s.life + 1;
  left.flushed = s.flushed;
  left.newest_timeline = s.newest_timeline;
  left.out_of_recovery = s.out_of_recovery;
  left.sync_nodes = s.sync_nodes;
  left.sync_k = s.sync_k;
  left.upstream = s.upstream;
  s = std::move(left);
}

void World::Start(Node& n) {
  if (n.up) return;
  if (scheduler.now() > Micros{0}) Trace(&n, "starts");
  n.up = true;
  constexpr double kDrift = 0.095;
  auto rate = [&] {
    return config.clocks_drift
               ? 1.0 + kDrift * static_cast<double>(random.Between(-1000, 1000)) / 1000
               : 1.0;
  };
  auto offset = [&] {
    return config.plain ? Seconds(100) : Micros{random.Between(1, 1'000'000'000)};
  };
  const Instant start{offset(), offset()};
  const double boottime_rate = rate();
  n.clock = MachineClock(scheduler.now(), start, boottime_rate, rate());
  if (n.server.upstream == kNoNode && !n.server.out_of_recovery) n.server.upstream = nodes[0].id;
  n.server.receiver_closed = n.marker.has_value();  // the ticket is closed at start
  n.server.gated = n.marker.has_value();
  StartServer(n);
  BootWorker(n);
}

void World::RestartWorker(Node& n) {
  if (!n.up) return;
  Trace(&n, "restarts its consensus worker");
  BootWorker(n);
}

void World::Freeze(Node& n, Micros time, bool suspend) {
  if (!n.up) return;
  Trace(&n, suspend ? "is suspended" : "freezes");
  n.frozen_until = std::max(n.frozen_until, scheduler.now() + time);
  if (suspend) n.clock.Suspend(scheduler.now(), scheduler.now() + time);
}

void World::LoseVote(Node& n) {
  Trace(&n, "loses its vote file");
  n.vote.reset();
}

bool World::ForceFence() {
  Node* n = Coordinator();
  if (!n || n->state.failover.stage != Failover::Stage::kNone) return false;
  Trace(n, "begins a FENCE without cause");
  n->state.failover = Failover{};
  n->state.failover.stage = Failover::Stage::kFenceVoters;
  n->state.failover.recovery = "forced";
  n->state.failover.version = n->state.proposal->value->version;
  coverage.fences_forced++;
  return true;
}

void World::ForceElection(Node& n) { n.state.election_at = Instant{}; }

// A copy may replace the node's WAL only while nobody counts on what it holds: it knows the epoch
// in force, that epoch's primary is at work, and no failover is under way anywhere.
bool World::MayRejoin(const Node& n) const {
  const RegisterValue* value = observer.Newest();
  if (!value || n.id == value->primary || n.state.phase != Phase::kConfigured) return false;
  const RegisterValue* known = CommittedValue(n.state);
  const Node& primary = node(value->primary);
  const bool at_work = Holds(primary) && primary.server.running && primary.server.out_of_recovery &&
                       primary.state.lease_epoch == value->epoch &&
                       (GateOpen(primary) || !value->active);
  if (!at_work || !known || known->epoch != value->epoch) return false;
  for (const Node& other : nodes) {
    if (!other.up) continue;
    const Durable& d = other.state.durable;
    if (d.fenced >= value->epoch || (d.accepted && d.accepted->value->epoch > value->epoch) ||
        other.state.failover.stage != Failover::Stage::kNone) {
      return false;
    }
  }
  return n.server.out_of_recovery || n.state.durable.wrote_epoch != EpochId{} ||
         !wal.IsAncestor(n.server.flushed, primary.server.flushed);
}

void World::Rejoin(Node& n) {
  const RegisterValue* value = observer.Newest();
  Crash(n);
  scheduler.After(Delay(Ms(300), Ms(1000)), [this, id = n.id, epoch = value->epoch] {
    Node& m = node(id);
    if (m.up || !m.vote) return;
    const RegisterValue* newest = observer.Newest();
    if (newest->epoch == epoch && MayRejoin(m)) {
      const Server& source = node(newest->primary).server;
      m.server.flushed = source.flushed;
      m.server.newest_timeline = source.newest_timeline;
      m.server.out_of_recovery = false;
      m.vote->wal_epoch = epoch;
      m.vote->wrote_epoch = EpochId{};
      observer.Rejoined(m);
      coverage.rejoins++;
      Trace(&m, "is copied from the primary by an operator");
    }
    Start(m);
  });
}

}  // namespace orchestra::sim
