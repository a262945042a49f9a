// What happens to machines, and what an operator does about it.
#include <utility>

#include "world.h"

namespace orchestra::sim {

void World::Crash(Node& n) {
  if (!n.up) return;
  Trace(&n, "dies");
  n.up = false;
  n.life++;
  n.frozen_until = Micros{0};
  n.booted = n.busy = false;
  n.next_turn.clear();
  n.clock_read.reset();
  Settle(n);
  Server& s = n.server;
  Server left;
  static_cast<DataDirectory&>(left) = s;
  left.life = s.life + 1;
  // The file was written, or not.
  if (!s.sync_old.empty() && random.Chance(500)) left.sync = s.sync_old.back();
  s = std::move(left);
}

void World::Start(Node& n) {
  if (n.up || n.spare) return;
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
  n.stale_clock = ClockOf(n);
  n.stale_until = n.frozen_until + Ms(5);
  if (suspend) n.clock.Suspend(scheduler.now(), scheduler.now() + time);
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
