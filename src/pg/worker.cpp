#include "pg/worker.h"

#include "pg/gate.h"
#include "pg/guard.h"
#include "pg/shared.h"

namespace orchestra::pg {
namespace {

pg_atomic_uint32* published_pid = nullptr;
AtExit duty_at_exit = AtExit::kNothing;

void OnExit(int /*code*/, Datum /*unused*/) {
  if (duty_at_exit == AtExit::kCloseGate) CloseGate();
  pg_atomic_write_u32(published_pid, 0);
}

}  // namespace

void StartWorker(pg_atomic_uint32* pid, AtExit at_exit) {
  published_pid = pid;
  duty_at_exit = at_exit;
  Call([] {
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
    before_shmem_exit(OnExit, static_cast<Datum>(0));
    BackgroundWorkerUnblockSignals();
  });
  pg_atomic_write_u32(pid, static_cast<uint32>(MyProcPid));
}

bool StopRequested() { return ShutdownRequestPending != 0; }

bool TakeReload() {
  if (ConfigReloadPending == 0) return false;
  ConfigReloadPending = 0;
  try {
    Call([] { ProcessConfigFile(PGC_SIGHUP); });
  } catch (const Fail& error) {
    LogLine(LOG, std::string("orchestra: could not read the configuration: ") + error.what());
  }
  return true;
}

WaitSet::~WaitSet() { Release(); }

void WaitSet::Release() {
  if (set_ != nullptr) FreeWaitEventSet(std::exchange(set_, nullptr));
}

void WaitSet::Watch(int fd) {
  Release();
  fd_ = fd;
}

void WaitSet::Wait(Micros timeout) {
  if (set_ == nullptr) {
    set_ = Call([this] {
      WaitEventSet* set = compat::NewWaitSet(3);
      AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
      AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
      if (fd_ >= 0) AddWaitEventToSet(set, WL_SOCKET_READABLE, fd_, nullptr, nullptr);
      return set;
    });
  }
  const auto round_up = std::chrono::milliseconds(1) - Micros(1);
  const long ms = std::max<long>(0, (timeout + round_up).count() / 1000);
  Call([this, ms] {
    WaitEvent event;
    WaitEventSetWait(set_, ms, &event, 1, PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
  });
}

}  // namespace orchestra::pg
