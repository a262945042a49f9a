// primary_conninfo pointed at another server.
#pragma once
#include "pg/pg.h"

namespace orchestra::pg {

// `conninfo` with host and port replaced and hostaddr dropped; every other option stays. Palloced,
// safe where an ERROR may pass. nullptr: it cannot be parsed, and *error (palloced) says why.
char* Retarget(const char* conninfo, const char* host, uint32 port, char** error);

}  // namespace orchestra::pg
