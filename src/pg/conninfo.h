// primary_conninfo: whom it names, and pointed at another server.
#pragma once
#include <string>
#include <vector>

#include "core/register.h"
#include "pg/pg.h"

namespace orchestra::pg {

// `conninfo` with host and port replaced and hostaddr dropped; every other option stays. Palloced,
// safe where an ERROR may pass. nullptr: it cannot be parsed, and *error (palloced) says why.
char* Retarget(const char* conninfo, const char* host, uint32 port, char** error);

// The servers that `conninfo` names, as it names them (an address goes before a host). None when it
// names none or cannot be parsed.
std::vector<Address> ServersOf(const std::string& conninfo);

}  // namespace orchestra::pg
