// The mailbox from SQL to the consensus worker: one command at a time. A caller that gives up
// (timeout, cancel, end of its session) never leaves the mailbox blocked, and never gets or leaves
// behind the answer to somebody else's command.
#pragma once
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/message.h"
#include "core/register.h"
#include "core/types.h"
#include "pg/shared.h"

namespace orchestra::pg {

struct Named {
  std::string text;
};

// orchestra_create_cluster(): these nodes, checked by the session, become the voters.
struct CreateRequest {
  std::vector<Named> names;
  Mode mode = Mode::kObserve;
  Durability durability = Durability::kQuorum;
  std::string cluster_name;
  std::uint32_t lease_ttl_ms = 0;
};
// An operator's wish, which the coordinator commits or refuses.
struct ChangeRequest {
  Change change;
};
// orchestra_failover(accept_data_loss => true), confirmed.
struct ForceRequest {
  ClusterId cluster;   // as the operator saw it: the register must still be this one
  EpochId epoch;       // likewise
  std::string reason;  // who and why, one clause
};
struct ConfirmRequest {};  // orchestra_confirm_identity()

struct SqlCommand {
  Micros deadline{};  // CLOCK_MONOTONIC_RAW; the worker gives up by then and says why
  std::variant<CreateRequest, ChangeRequest, ForceRequest, ConfirmRequest> what;
};

struct SqlAnswer {
  int sqlstate = 0;  // 0: done
  std::string message;
  std::string hint;
};

// ---- session. Waits until the worker answers, a little longer than the deadline; raises when
// another command runs, when no worker answers, and on cancel (57014).
SqlAnswer RunCommand(const SqlCommand& command);

// ---- consensus worker. Nothing here blocks or raises.

// Call once at the start: answers what a dead predecessor left unanswered.
void ResetCommands();
// The next command. Each one that was taken must be finished, abandoned or not.
std::optional<SqlCommand> TakeCommand();
// The caller of the taken command gave up: undo, then finish.
bool CommandAbandoned();
void FinishCommand(const SqlAnswer& answer);

// ---- anybody: wakes the worker whose pid stands there (it need not have a database connection).
void WakeWorker(pg_atomic_uint32* pid);

}  // namespace orchestra::pg
