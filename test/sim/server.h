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

// synchronous_standby_names as one process has it loaded.
struct SyncNames {
  std::set<std::string> names;
  std::uint32_t k = 0;
  friend bool operator==(const SyncNames&, const SyncNames&) = default;
};

// What survives a crash of the machine.
struct DataDirectory {
  Record flushed = 0;
  TimelineId newest_timeline{1};  // of the history files it has
  bool out_of_recovery = false;
  SyncNames sync;   // as loaded by everybody, or as being loaded by one after the other
  NodeId upstream;  // primary_conninfo: the machine at that address
};

struct Server : DataDirectory {
  // volatile
  std::uint64_t life = 0;  // grows with every start and stop
  bool running = false;    // accepts connections
  Record written = 0;
  bool promoting = false;
  std::map<NodeId, Walsender> walsenders;
  std::vector<Record> waiting;       // commits that wait for standbys, or for the gate
  std::uint64_t sync_effective = 0;  // generations of the setting
  std::uint64_t sync_asked = 0;
  // While not every process has reloaded: what the others still go by.
  std::vector<SyncNames> sync_old;

  // the gate in shared memory
  bool gated = false;
  bool gate_open = false;
  Instant gate_until{};
  EpochId gate_epoch;
  SyncNames ack;  // what must hold a commit before a client is told of it

  // the receiver
  bool receiver_closed = false;  // the ticket
  Lsn upto;                      // no WAL beyond is taken; 0: all
  NodeId source;                 // the machine that answered at the upstream's address
  std::uint64_t connection = 0;  // 0: not streaming
  std::uint64_t upstream_life = 0;
  Micros connect_at{};
  std::optional<std::uint64_t> scanning;
  std::uint64_t scanned = 0;  // last scan answered
};

}  // namespace orchestra::sim
