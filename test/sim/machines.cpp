// What happens to machines.
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
  // The ticket is closed at start, and the gate as well.
  const bool observes = n.vote && n.vote->committed && !Manages(*n.vote);
  if (observes) n.server.gate_epoch = n.vote->committed->value->epoch;
  n.server.receiver_closed = n.server.gated = n.marker.has_value() && !observes;
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

}  // namespace orchestra::sim
