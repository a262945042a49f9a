// The only place that knows server versions. Included by pg/pg.h, nowhere else.
#pragma once

#if PG_VERSION_NUM < 140000 || PG_VERSION_NUM >= 190000
#error "unsupported server: orchestra needs PostgreSQL 14 to 18"
#endif

namespace orchestra::pg::compat {

// Shared memory is asked for in a hook of its own since 15, before that right in _PG_init.
inline void RequestSharedMemory(void (*request)(), void (**previous)()) {
#if PG_VERSION_NUM >= 150000
  *previous = shmem_request_hook;
  shmem_request_hook = request;
#else
  *previous = nullptr;
  request();
#endif
}

inline void ReserveSettingsPrefix(const char* prefix) {
#if PG_VERSION_NUM >= 150000
  MarkGUCPrefixReserved(prefix);
#else
  EmitWarningsOnPlaceholders(prefix);
#endif
}

// A wait set that lives as long as its process.
inline WaitEventSet* NewWaitSet(int events) {
#if PG_VERSION_NUM >= 170000
  return CreateWaitEventSet(nullptr, events);
#else
  return CreateWaitEventSet(TopMemoryContext, events);
#endif
}

}  // namespace orchestra::pg::compat
