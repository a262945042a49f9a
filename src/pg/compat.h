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

// The server's own record of a setting of type string; null: it has none of this name.
inline config_string* FindStringSetting(const char* name) {
  config_generic* found = nullptr;
#if PG_VERSION_NUM >= 160000
  found = find_option(name, false, true, LOG);
#else
  config_generic** all = get_guc_variables();
  for (int i = 0; i < GetNumConfigOptions() && found == nullptr; i++)
    if (strcmp(all[i]->name, name) == 0) found = all[i];
#endif
  if (found == nullptr || found->vartype != PGC_STRING) return nullptr;
  return reinterpret_cast<config_string*>(found);
}

// A wait set that lives as long as its process.
inline WaitEventSet* NewWaitSet(int events) {
#if PG_VERSION_NUM >= 170000
  return CreateWaitEventSet(nullptr, events);
#else
  return CreateWaitEventSet(TopMemoryContext, events);
#endif
}

// What a waiting WAL receiver must call when its latch was set.
inline void HandleReceiverInterrupts() {
#if PG_VERSION_NUM >= 180000
  CHECK_FOR_INTERRUPTS();
#else
  ProcessWalRcvInterrupts();
#endif
}

inline XLogRecPtr FlushedLsn() {
#if PG_VERSION_NUM >= 150000
  return GetFlushRecPtr(nullptr);
#else
  return GetFlushRecPtr();
#endif
}

// Out of recovery only.
inline TimeLineID InsertTimeline() {
#if PG_VERSION_NUM >= 150000
  return GetWALInsertionTimeLine();
#else
  return ThisTimeLineID;
#endif
}

// Whether the checkpointer lets commits wait for somebody.
inline bool SyncStandbysDefined() {
#ifdef SYNC_STANDBY_DEFINED
  return (WalSndCtl->sync_standbys_status & SYNC_STANDBY_DEFINED) != 0;
#else
  return WalSndCtl->sync_standbys_defined;
#endif
}

inline void CreatePhysicalSlot(const char* name) {
#if PG_VERSION_NUM >= 170000
  ReplicationSlotCreate(name, false, RS_PERSISTENT, false, false, false);
#else
  ReplicationSlotCreate(name, false, RS_PERSISTENT, false);
#endif
}

// A client's session, or autovacuum; walsenders are told otherwise.
inline bool IsRegularBackend(const volatile PGPROC& proc) {
#if PG_VERSION_NUM >= 180000
  return proc.isRegularBackend;
#else
  return !proc.isBackgroundWorker;
#endif
}

// First record at or after `position`; 0: none, or this server cannot tell.
inline XLogRecPtr FindRecord([[maybe_unused]] XLogReaderState* reader,
                             [[maybe_unused]] XLogRecPtr position) {
#if PG_VERSION_NUM >= 150000
  return XLogFindNextRecord(reader, position);
#else
  return InvalidXLogRecPtr;
#endif
}

}  // namespace orchestra::pg::compat
