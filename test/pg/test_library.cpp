// A library for tests only: `make root` puts it beside the product's in the server copy, `make
// install` never does. It reaches the product's shared memory by its name.
#include "pg/guard.h"
#include "pg/shared.h"

extern "C" {
PG_MODULE_MAGIC;
PGDLLEXPORT void _PG_init();
}

namespace orchestra::pg {
Shared* shared = nullptr;
}

void _PG_init() {
  using namespace orchestra::pg;
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  bool found = false;
  shared = static_cast<Shared*>(ShmemInitStruct("orchestra", sizeof(Shared), &found));
  LWLockRelease(AddinShmemInitLock);
  if (!found) ereport(ERROR, (errmsg("orchestra is not preloaded")));
}
