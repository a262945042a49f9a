// ALTER SYSTEM of what orchestra sets itself is refused on a member of a cluster, for clarity: it
// would be undone within a second. Nothing depends on it.
#pragma once

namespace orchestra::pg {

// From _PG_init in the postmaster.
void InstallOwnedSettings();

}  // namespace orchestra::pg
