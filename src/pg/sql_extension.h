// CREATE EXTENSION orchestra on a standby: says where instead. DROP EXTENSION orchestra on a member
// of a cluster: refused, since its records and the coordinator's functions would go with it.
#pragma once

namespace orchestra::pg {

// From _PG_init in the postmaster.
void InstallExtensionHooks();

}  // namespace orchestra::pg
