// Who may be on a node out of recovery whose gate is closed (design, section 4 "Gates"):
// superusers, members of pg_monitor, the coordinator's role and physical replication, all of them
// read-only. Nobody else, over the network or over the socket, for a pool would keep a read-only
// connection for ever:
//
//   who comes then is turned away (57P03), so that a client with several hosts tries the next one;
//   who was there is ended (57P01); logical replication, too.
//
// In recovery nothing applies. The rule is decided at login, for the whole session.
#pragma once
#include <map>
#include <string>

#include "core/types.h"

namespace orchestra::pg {

// From _PG_init in the postmaster.
void InstallSessions();

// Part of an ereport(): the hint where the primary is.
int HintAtPrimary();

// The rest is for the consensus worker.

// The primary for messages, "n2, at 10.0.0.2:5432"; empty: not known, or this node itself.
void PublishPrimary(const std::string& primary);

// Sends SIGTERM to the sessions that must end, to each of them once a second at most. Takes no
// lock.
class SessionEnder {
 public:
  // Level-triggered: call it every turn. Sessions are spared until the gate was open once since
  // this server left recovery or since it was gated, whichever was later: so are the clients of a
  // primary that forms a cluster or leaves mode observe, and the readers of a standby that becomes
  // the primary. They are not when the register names another node (`elsewhere`).
  void Turn(bool out_of_recovery, bool elsewhere, Instant now);

 private:
  std::map<int, Micros> told_;  // pid: when; bounded by max_connections
};

}  // namespace orchestra::pg
