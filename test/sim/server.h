// One simulated PostgreSQL: its WAL, its receiver, its synchronous settings. It does what Duties
// say, after delays, and keeps nothing of the protocol. Driven by world.cpp (performing.cpp).
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/consensus.h"
#include "wal.h"

namespace orchestra::sim {

// What a walsender knows of its standby.
struct Walsender {
  std::uint64_t connection = 0;
  Record flushed = 0;
};

struct Server {
  // survives a crash
  Record flushed = 0;
  TimelineId newest_timeline{1};  // of the history files it has
  bool out_of_recovery = false;
  std::set<NodeId> sync_nodes;  // synchronous_standby_names as loaded by everybody
  std::uint32_t sync_k = 0;

  // volatile
  std::uint64_t life = 0;  // grows with every start and stop
  bool running = false;    // accepts connections
  Record written = 0;
  bool promoting = false;
  std::map<NodeId, Walsender> walsenders;
  std::vector<Record> waiting;  // commits that are not acknowledged yet
  Version sync_effective;
  Version sync_asked;

  // the gate in shared memory
  bool gated = false;
  bool gate_open = false;
  Instant gate_until{};
  EpochId gate_epoch;

  // the receiver
  bool receiver_closed = false;  // the ticket
  NodeId upstream;
  std::uint64_t connection = 0;  // 0: not streaming
  std::uint64_t upstream_life = 0;
  Micros connect_at{};
  bool closing = false;
  std::optional<std::uint64_t> scanning;
  std::uint64_t scanned = 0;  // last scan answered
};

}  // namespace orchestra::sim
