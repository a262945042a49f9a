#include "net/socket.h"
#include "pg/settings.h"
#include "pg/shared.h"
#include "pg/worker.h"

namespace orchestra::pg {

std::string WorkerProblems() {
  if (shared == nullptr) return "";
  std::string missing;
  const auto look = [&missing](pg_atomic_uint32* pid, const char* name) {
    if (pg_atomic_read_u32(pid) != 0) return;
    missing += missing.empty() ? "" : ", ";
    missing += name;
  };
  look(&shared->workers.consensus_pid, "consensus");
  look(&shared->workers.probe_pid, "probe");
  look(&shared->workers.monitor_pid, "monitor");
  if (!missing.empty())
    return "orchestra's workers do not all run (" + missing +
           "); if they do not come back within seconds, raise max_worker_processes (orchestra "
           "needs 3 of them) and restart the server";
  const auto code = static_cast<int>(pg_atomic_read_u32(&shared->workers.role_port_error));
  if (code == 0) return "";
  return "the role port " + net::ToText(RoleBind()) + " is closed: " + net::ErrnoText(code) +
         "; tried again every second";
}

}  // namespace orchestra::pg
