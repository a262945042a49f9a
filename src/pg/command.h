// The mailbox from SQL to the consensus worker: one command at a time. A caller that gives up
// (timeout, cancel, end of its session) never leaves the mailbox blocked, and never gets or leaves
// behind the answer to somebody else's command.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/types.h"
#include "pg/shared.h"

namespace orchestra::pg {

// orchestra_create_cluster(): these nodes, checked by the session, become the voters.
struct CreateRequest {
  std::vector<std::string> names;
  std::uint32_t lease_ttl_ms = 0;
  Micros deadline{};  // CLOCK_MONOTONIC_RAW; the worker gives up by then and says why
};

struct CommandAnswer {
  int sqlstate = 0;  // 0: done
  std::string message;
  std::string hint;
};

// ---- session. Waits until the worker answers, a little longer than request.deadline; raises when
// another command runs, when no worker answers, and on cancel (57014).
CommandAnswer RunCommand(const CreateRequest& request);

// ---- consensus worker. Nothing here blocks or raises.

// Call once at the start: answers what a dead predecessor left unanswered.
void ResetCommands();
// The next command. Each one that was taken must be finished, abandoned or not.
std::optional<CreateRequest> TakeCommand();
// The caller of the taken command gave up: undo, then finish.
bool CommandAbandoned();
void FinishCommand(const CommandAnswer& answer);

// ---- anybody: wakes the worker whose pid stands there (it need not have a database connection).
void WakeWorker(pg_atomic_uint32* pid);

}  // namespace orchestra::pg
