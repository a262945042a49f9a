// Who may be on a node out of recovery whose gate is closed (design, section 4 "Gates"):
// superusers, members of pg_monitor, the coordinator's role and physical replication, all of them
// read-only. Other new sessions are turned away (57P03), so that a client with several hosts goes
// on to the next one. In recovery nothing applies.
#pragma once

namespace orchestra::pg {

// From _PG_init in the postmaster: the rule for logins.
void InstallSessions();

// Part of an ereport(): the hint where the primary is.
int HintAtPrimary();

}  // namespace orchestra::pg
