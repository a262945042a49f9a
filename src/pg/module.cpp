// What the server loads: _PG_init.
#include "pg/guard.h"
#include "pg/shared.h"

extern "C" {
PG_MODULE_MAGIC;
PGDLLEXPORT void _PG_init();
}

namespace orchestra::pg {
Shared* shared = nullptr;
}

void _PG_init() {}
