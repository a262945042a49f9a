// restore_command finds nothing while this node is fenced, and until it is on the primary's line:
// replay could pass the end of WAL that it reported, or the point where that line began, with WAL
// of whoever archives. docs/wal.md says more.
//
// No file says so. The startup process alone takes the setting for empty when it loads the
// configuration while the archive is closed; so there is nothing to restore after a crash, and
// nothing of the user's to lose. What has been restored already lies in pg_wal, and counts.
//
// A command on the server's command line cannot be taken back by a reload, and is left alone.
#pragma once
#include "core/types.h"

namespace orchestra::pg {

// In the postmaster, from _PG_init.
void InstallArchive();

// In shmem_startup_hook, before the startup process exists. Only a standby is ever closed: recovery
// to a point in time needs its command. Raises and throws nothing.
void CloseArchiveAtBoot(bool closed);

// For the consensus worker, in recovery, on every turn: the startup process shall use
// restore_command or not. True once it has loaded that; a reload makes it do so. It does not while
// it runs the command, or waits in a recovery conflict. `now` is CLOCK_MONOTONIC_RAW.
bool SetArchive(bool closed, Micros now);

}  // namespace orchestra::pg
