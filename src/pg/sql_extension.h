// CREATE EXTENSION orchestra on a standby: says where instead.
#pragma once

namespace orchestra::pg {

// From _PG_init in the postmaster.
void InstallExtensionHint();

}  // namespace orchestra::pg
