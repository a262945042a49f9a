// The gate of commits (design, section 4 "Gates"): on a gated node nothing commits and nothing is
// acknowledged without a live lease. Every check reads shared memory and two clocks, no more. In
// recovery nothing applies.
//
// Who may log in meanwhile: pg/sessions.h.
//
// The consensus worker opens and closes it (Performer::PublishGate); it closes by itself when a
// clock reaches the end of the lease. A quarantined node is gated and never opens.
#pragma once

namespace orchestra::pg {

// From _PG_init in the postmaster: transaction callback, executor and utility hooks.
void InstallGate();

// In shmem_startup_hook, before any child exists.
// `mute`: nobody may stream from here over the network (its WAL may be another branch).
void SetGateAtBoot(bool gated, bool mute);

// True on an ungated node, and on a gated one that holds a live lease at this moment. Safe in every
// process that is attached to shared memory, signal handlers included.
bool GateIsOpen();

// Raises what a client of a closed gate is told: ERROR for a statement or a commit, FATAL for a
// login. Counts it. No return, and no destructor runs.
void RefuseWhileClosed(int level, int sqlstate);

// Closes it, from any process of this server.
void CloseGate();

}  // namespace orchestra::pg
