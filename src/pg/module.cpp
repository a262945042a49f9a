// What the server loads: _PG_init, and what must be known before anybody connects.
#include "core/durable.h"
#include "core/preflight.h"
#include "pg/archive.h"
#include "pg/gate.h"
#include "pg/guard.h"
#include "pg/owned_settings.h"
#include "pg/receiver.h"
#include "pg/sessions.h"
#include "pg/settings.h"
#include "pg/shared.h"
#include "pg/sql_extension.h"
#include "pg/storage.h"
#include "pg/sync_setting.h"

extern "C" {
PG_MODULE_MAGIC;
PGDLLEXPORT void _PG_init();
}

namespace orchestra::pg {

Shared* shared = nullptr;

namespace {

void (*next_shmem_request)() = nullptr;
void (*next_shmem_startup)() = nullptr;

void RequestShared() {
  if (next_shmem_request != nullptr) next_shmem_request();
  RequestAddinShmemSpace(sizeof(Shared));
}

bool IsGated(const BootDecision& decision) {
  if (decision.phase == Phase::kConfigured) return Manages(*decision.durable);
  return decision.phase == Phase::kQuarantined;
}

// What cannot be read or understood is a quarantined node, never a server that does not start.
void PublishBoot() noexcept {
  BootDecision decision;
  try {
    if (const std::string error = PrepareStorage(); !error.empty())
      LogLine(WARNING, "orchestra: " + error + "; this node can neither form nor join a cluster");
    decision = DecideBoot(ReadSurroundings());
  } catch (const std::exception& error) {
    decision.phase = Phase::kQuarantined;
    decision.reason.clear();
    strlcpy(shared->boot.reason, error.what(), sizeof shared->boot.reason);
  }
  const bool gated = IsGated(decision);
  shared->boot.phase = static_cast<uint32>(decision.phase);
  if (!decision.reason.empty())
    strlcpy(shared->boot.reason, decision.reason.c_str(), sizeof shared->boot.reason);
  SetGateAtBoot(gated, gated && (decision.phase == Phase::kQuarantined || decision.suspect));
  CloseAtBoot(gated);
  CloseArchiveAtBoot(gated && decision.phase == Phase::kConfigured);
  PublishSyncAtBoot();
}

// In the postmaster, at start and after every crash of a child.
void StartShared() {
  if (next_shmem_startup != nullptr) next_shmem_startup();
  bool found = false;
  shared = static_cast<Shared*>(ShmemInitStruct("orchestra", sizeof(Shared), &found));
  if (found) return;
  std::memset(static_cast<void*>(shared), 0, sizeof(Shared));  // zero is every atomic's start too
  PublishBoot();
  if (shared->boot.reason[0] != '\0')
    ereport(WARNING, (errmsg("orchestra: %s", shared->boot.reason)));
}

void RegisterWorker(const char* name, const char* entry, BgWorkerStartTime start) {
  BackgroundWorker worker{};
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
  worker.bgw_start_time = start;
  worker.bgw_restart_time = 1;
  strlcpy(worker.bgw_library_name, "orchestra", sizeof worker.bgw_library_name);
  strlcpy(worker.bgw_function_name, entry, sizeof worker.bgw_function_name);
  strlcpy(worker.bgw_name, name, sizeof worker.bgw_name);
  strlcpy(worker.bgw_type, name, sizeof worker.bgw_type);
  RegisterBackgroundWorker(&worker);
}

void RegisterWorkers() {
  RegisterWorker("orchestra consensus", "orchestra_consensus_main", BgWorkerStart_PostmasterStart);
  RegisterWorker("orchestra probe", "orchestra_probe_main", BgWorkerStart_PostmasterStart);
  RegisterWorker("orchestra monitor", "orchestra_monitor_main", BgWorkerStart_ConsistentState);
}

// Of the server that runs, which may be another one than this library was built for.
void RefuseOldRelease() {
  const int needed = NeededRelease(std::atoi(GetConfigOption("server_version_num", false, false)));
  if (needed == 0) return;
  const int major = needed / 10000, minor = needed % 10000;
  ereport(FATAL, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                  errmsg("orchestra needs PostgreSQL %d.%d or later: this server is %s", major,
                         minor, GetConfigOption("server_version", false, false)),
                  errdetail("Right after its start an older release does not let commits wait for "
                            "synchronous standbys, so that one which no other node has could be "
                            "acknowledged."),
                  errhint("Install release %d.%d or a later one, or set orchestra.enabled = off.",
                          major, minor)));
}

void Install() {
  compat::RequestSharedMemory(RequestShared, &next_shmem_request);
  next_shmem_startup = shmem_startup_hook;
  shmem_startup_hook = StartShared;
  InstallGate();
  InstallSessions();
  InstallReceiver();
  InstallArchive();
  InstallSyncSetting();
  InstallExtensionHooks();
  InstallOwnedSettings();
  RegisterWorkers();
}

}  // namespace
}  // namespace orchestra::pg

// Loaded later than at the server's start (CREATE EXTENSION does so), or without a postmaster
// (postgres --single, as in initdb and pg_rewind), the library only offers functions that say that
// it was not preloaded.
void _PG_init() {
  using namespace orchestra::pg;
  if (!process_shared_preload_libraries_in_progress || !IsPostmasterEnvironment) return;
  DefineSettings();
  if (!Enabled()) {
    ereport(WARNING, (errmsg("orchestra is preloaded but off: nothing fences this server"),
                      errhint("Set orchestra.enabled = on and restart the server.")));
    return;
  }
  RefuseOldRelease();
  Install();
  compat::ReserveSettingsPrefix("orchestra");
}
