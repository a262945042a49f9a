// The worker behind the role port: answers load balancers from shared memory, nothing else.
#include "core/board.h"
#include "net/role_server.h"
#include "pg/gate.h"
#include "pg/guard.h"
#include "pg/observe.h"
#include "pg/settings.h"
#include "pg/shared.h"
#include "pg/worker.h"

extern "C" PGDLLEXPORT void orchestra_probe_main(Datum);

namespace orchestra::pg {
namespace {

constexpr Micros kRetry = std::chrono::seconds(1);
constexpr Micros kIdle = std::chrono::seconds(1);

const char* Answer(bool stopping) {
  RoleInput input;
  input.db = stopping ? DbState::kStopping : ObserveDbState();
  input.accepting_connections = input.db == DbState::kPrimary || HotStandbyActive();
  input.gated = pg_atomic_read_u32(&shared->gate.gated) != 0;
  input.gate_open = GateIsOpen();
  return RoleAnswer(input);
}

class Probe {
 public:
  Probe() { Configure(); }

  void Configure() {
    const Address wanted = RoleBind();
    if (server_ && wanted == address_) return;
    address_ = wanted;
    server_.emplace(wanted);
    wait_.Watch(-1);
    retry_at_ = Micros{};
    Report({});
  }

  void Turn() {
    Open();
    server_->Poll(now_, Answer(false));
    Micros timeout = server_->listening() ? server_->NextTimeout(now_) : kIdle;
    wait_.Wait(timeout);
    now_ = ReadClock(CLOCK_MONOTONIC_RAW);
  }

  void Stop() { server_->Poll(now_, Answer(true)); }

 private:
  void Open() {
    if (address_.port == 0 || server_->listening() || now_ < retry_at_) return;
    const net::NetError error = server_->Start();
    retry_at_ = now_ + kRetry;
    if (error.ok()) wait_.Watch(server_->fd());
    Report(error);
  }

  // A state, not an event: told when it changes.
  void Report(const net::NetError& error) {
    pg_atomic_write_u32(&shared->workers.role_port_error, static_cast<uint32>(error.code));
    if (error.code == told_) return;
    told_ = error.code;
    if (error.ok())
      LogLine(LOG, "orchestra: role port open address=" + net::ToText(address_));
    else
      LogLine(WARNING, "orchestra: role port closed reason=\"" + error.text +
                           "\" next=\"tries again every second\"");
  }

  Address address_;
  std::optional<net::RoleServer> server_;
  WaitSet wait_;
  Micros now_ = ReadClock(CLOCK_MONOTONIC_RAW);
  Micros retry_at_{};
  int told_ = 0;
};

void RunProbe() {
  StartWorker(&shared->workers.probe_pid, AtExit::kNothing);
  Probe probe;
  while (!StopRequested()) {
    if (TakeReload()) probe.Configure();
    probe.Turn();
  }
  probe.Stop();
}

}  // namespace
}  // namespace orchestra::pg

void orchestra_probe_main(Datum) {
  orchestra::pg::WorkerBoundary("orchestra probe", [] { orchestra::pg::RunProbe(); });
  proc_exit(1);
}
