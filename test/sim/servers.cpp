// What the simulated servers do by themselves: WAL, streaming, commits.
#include <utility>

#include "world.h"

namespace orchestra::sim {

void World::StartServer(Node& n) {
  Server& s = n.server;
  s.life++;
  s.written = s.flushed;
  if (!n.has_data()) return;
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
    const bool open = Commits(n);
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
    if (o.connection != 0 && o.source == n.id && o.upstream_life == s.life) StreamTo(n, other);
  }
  Acknowledge(n);
}

void World::ReceiverTick(Node& n) {
  Server& s = n.server;
  if (s.connection != 0) {
    const Server& up = node(s.source).server;
    if (up.life != s.upstream_life || !up.running) s.connection = 0;
    return;
  }
  if (s.upstream == kNoNode || s.upstream == n.address || s.promoting) return;
  if (s.receiver_closed || scheduler.now() < s.connect_at) return;
  s.connect_at = scheduler.now() + Delay(Ms(100), Ms(300));
  Node& up = At(s.upstream);
  const bool mute = up.state.phase == Phase::kQuarantined || up.state.suspect;
  const bool reachable = up.up && up.server.running && !up.server.promoting && !mute &&
                         scheduler.now() >= up.frozen_until && !network.IsCut(n.id, up.id) &&
                         !network.IsCut(up.id, n.id);
  if (!reachable || !wal.IsAncestor(s.written, up.server.flushed)) return;
  s.connection = ++connections_;
  s.source = up.id;
  s.upstream_life = up.server.life;
  s.newest_timeline = std::max(s.newest_timeline, up.server.newest_timeline);
  up.server.walsenders[n.id] = {s.connection, 0};
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
  if (s.upto != Lsn{}) {
    const Record before = s.written;
    while (record != 0 && wal.EndOf(record) > s.upto) record = wal.ParentOf(record);
    if (wal.IsAncestor(before, record) && before != record) coverage.fed++;
  }
  if (wal.IsAncestor(s.written, record)) {
    s.written = record;
  } else if (!wal.IsAncestor(record, s.written)) {
    s.connection = 0;
    return;
  }
  if (random.Chance(700) || config.plain) s.flushed = s.written;
  network.Send(standby.id, s.source, Network::kWal,
               [this, from = standby.id, to = s.source, life = s.upstream_life, connection,
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

// Did enough standbys of `sync` flush the commit?
bool World::Confirmed(const Server& s, const SyncNames& sync, Record commit) const {
  std::uint32_t flushed_by = 0;
  for (const auto& [standby, sender] : s.walsenders) {
    if (sync.names.contains(node(standby).member_name) &&
        wal.EndOf(sender.flushed) >= wal.EndOf(commit)) {
      flushed_by++;
    }
  }
  return flushed_by >= sync.k;
}

// As a backend does it: the standbys' answers, then the gate, and then the client is told. Whoever
// is stopped in between tells it when he goes on.
void World::Acknowledge(Node& n) {
  Server& s = n.server;
  std::size_t done = 0;
  for (const Record commit : s.waiting) {
    if (!Commits(n) || wal.EndOf(commit) > wal.EndOf(s.flushed)) break;
    // While settings are being loaded, some walsenders release by the old ones.
    const SyncNames& sync =
        !s.sync_old.empty() && random.Chance(500) ? s.sync_old[Pick(s.sync_old.size())] : s.sync;
    // Somebody may end the wait: a cancel, or who empties the setting.
    const bool ended = !config.plain && random.Chance(30);
    if (!Confirmed(s, sync, commit) && !ended) break;
    done++;
    if (!Confirmed(s, s.ack, commit)) {
      coverage.suppressed++;
      continue;
    }
    observer.Decided(n, commit, sync.k);
    if (!random.Chance(network.faults.ack_pause)) {
      Leave(n, commit, s.gate_epoch);
      continue;
    }
    coverage.acks_paused++;
    scheduler.After(Delay(Micros{1}, network.faults.longest_ack_pause),
                    [this, id = n.id, life = s.life, commit, epoch = s.gate_epoch] {
                      WhenAwake(id, [=, this] {
                        if (node(id).server.life == life) Leave(node(id), commit, epoch);
                      });
                    });
  }
  s.waiting.erase(s.waiting.begin(), s.waiting.begin() + static_cast<std::ptrdiff_t>(done));
}

void World::Leave(Node& n, Record commit, EpochId epoch) {
  last_acknowledged = scheduler.now();
  coverage.acknowledged++;
  observer.Acknowledged(n, commit, epoch);
}

}  // namespace orchestra::sim
