// The gate of commits (design, section 4 "Gates"): on a gated node nothing commits and nothing is
// acknowledged without a live lease. Every check reads shared memory and two clocks, no more. In
// recovery nothing applies.
//
// New sessions over the network are turned away meanwhile (57P03), so that a client with several
// hosts goes on to the next one; standbys, the coordinator's role and the socket come in.
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

// Closes it, from any process of this server.
void CloseGate();

}  // namespace orchestra::pg
