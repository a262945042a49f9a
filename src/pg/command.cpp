#include "pg/command.h"

#include <algorithm>
#include <cstring>

#include "core/fields.h"
#include "pg/guard.h"
#include "pg/sql_common.h"

namespace orchestra::pg {

// The image of a command in shared memory; see core/codec.h.
void Fields(auto& io, Of<Named> auto& v) { io.Name(v.text, kMaxNameBytes); }
void Fields(auto& io, Of<CreateRequest> auto& v) {
  io.List(v.names, kMaxMembers);
  io(v.mode);
  io(v.durability);
  io.Name(v.cluster_name, kMaxNameBytes);
  io(v.lease_ttl_ms);
}
void Fields(auto& io, Of<ChangeRequest> auto& v) { io.Choice(v.change); }
void Fields(auto& io, Of<ForceRequest> auto& v) {
  io(v.cluster);
  io(v.epoch);
  io.Text(v.reason, kMaxProblemBytes);
}
void Fields(auto& /*io*/, Of<ConfirmRequest> auto& /*v*/) {}
void Fields(auto& io, Of<SqlCommand> auto& v) {
  io(v.deadline);
  io.Choice(v.what);
}

namespace {

// kIdle -> kPosting -> kPosted by the session, -> kTaken -> kFinished by the worker, -> kIdle by
// the session. A session that leaves early turns kTaken into kAbandoned, and then the worker makes
// it kIdle.
enum class CommandState : uint32 { kIdle, kPosting, kPosted, kTaken, kFinished, kAbandoned };

constexpr long kPollMs = 50;
// How much later than the deadline a worker that lives has certainly answered.
constexpr Micros kGrace = std::chrono::seconds(5);

SharedCommand& Mailbox() { return shared->command; }

CommandState Load() { return static_cast<CommandState>(pg_atomic_read_u32(&Mailbox().state)); }

// Compare-and-set with full barriers: whoever moves the state owns what the state protects.
bool Move(CommandState from, CommandState to) {
  auto expected = static_cast<uint32>(from);
  return pg_atomic_compare_exchange_u32(&Mailbox().state, &expected, static_cast<uint32>(to));
}

// The caller leaves, whatever the state of its command is.
void Leave(int /*code*/, Datum /*unused*/) {
  Move(CommandState::kPosting, CommandState::kIdle);
  Move(CommandState::kPosted, CommandState::kIdle);
  Move(CommandState::kTaken, CommandState::kAbandoned);
  Move(CommandState::kFinished, CommandState::kIdle);
}

void Post(const SqlCommand& command) {
  const std::string bytes = Encode(command);
  SharedCommand& mailbox = Mailbox();
  if (bytes.size() > sizeof mailbox.request) {
    throw Fail(ERRCODE_PROGRAM_LIMIT_EXCEEDED, "the command is too long");
  }
  if (!Move(CommandState::kIdle, CommandState::kPosting)) {
    const uint32 caller = pg_atomic_read_u32(&mailbox.caller_pid);
    throw Fail(ERRCODE_OBJECT_IN_USE, "another orchestra command is running",
               "Process " + std::to_string(caller) + " started it.");
  }
  pg_atomic_write_u32(&mailbox.caller_pid, static_cast<uint32>(MyProcPid));
  std::memcpy(mailbox.request, bytes.data(), bytes.size());
  mailbox.bytes = static_cast<uint32>(bytes.size());
  Move(CommandState::kPosting, CommandState::kPosted);
  WakeWorker(&shared->workers.consensus_pid);
}

// False: nobody answered in time. May raise.
bool WaitForAnswer(Micros until) {
  while (Load() != CommandState::kFinished) {
    CHECK_FOR_INTERRUPTS();
    if (RawNow() > until) return false;
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kPollMs, PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
  }
  return true;
}

// Also for pg_terminate_backend, which unwinds nothing.
bool WaitOrLeave(Micros until) {
  volatile bool answered = false;
  PG_ENSURE_ERROR_CLEANUP(Leave, static_cast<Datum>(0));
  { answered = WaitForAnswer(until); }
  PG_END_ENSURE_ERROR_CLEANUP(Leave, static_cast<Datum>(0));
  return answered;
}

template <std::size_t N>
void CopyText(char (&to)[N], const std::string& text) {
  const std::string_view kept = Cut(text, N - 1);
  std::memcpy(to, kept.data(), kept.size());
  to[kept.size()] = '\0';
}

}  // namespace

SqlAnswer RunCommand(const SqlCommand& command) {
  RequirePreload();
  if (pg_atomic_read_u32(&shared->workers.consensus_pid) == 0) {
    throw Fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
               "the consensus worker of this node is not running", "",
               "See the server log; max_worker_processes may be too small.");
  }
  Post(command);
  const Micros until = command.deadline + kGrace;
  if (!Call([until] { return WaitOrLeave(until); })) {
    Leave(0, 0);
    throw Fail(ERRCODE_QUERY_CANCELED, "the consensus worker of this node did not answer", "",
               "See orchestra_cluster() for what is in force.");
  }
  const SharedCommand& mailbox = Mailbox();
  SqlAnswer answer{mailbox.sqlstate, mailbox.message, mailbox.hint};
  Leave(0, 0);
  return answer;
}

void ResetCommands() {
  if (Load() == CommandState::kTaken || Load() == CommandState::kAbandoned) {
    FinishCommand({ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                   "the consensus worker was restarted meanwhile",
                   "See orchestra_cluster() for what is in force."});
  }
}

std::optional<SqlCommand> TakeCommand() {
  if (!Move(CommandState::kPosted, CommandState::kTaken)) return std::nullopt;
  const SharedCommand& mailbox = Mailbox();
  auto command = Decode<SqlCommand>(
      {mailbox.request, std::min<std::size_t>(mailbox.bytes, sizeof mailbox.request)});
  if (!command) FinishCommand({ERRCODE_INTERNAL_ERROR, "the command could not be read", ""});
  return command;
}

bool CommandAbandoned() { return Load() == CommandState::kAbandoned; }

void FinishCommand(const SqlAnswer& answer) {
  SharedCommand& mailbox = Mailbox();
  mailbox.sqlstate = answer.sqlstate;
  CopyText(mailbox.message, answer.message);
  CopyText(mailbox.hint, answer.hint);
  if (Move(CommandState::kTaken, CommandState::kFinished)) return;
  Move(CommandState::kAbandoned, CommandState::kIdle);
}

void WakeWorker(pg_atomic_uint32* pid) {
  const auto wanted = static_cast<int>(pg_atomic_read_u32(pid));
  if (wanted == 0) return;
  // A worker without a database connection is in no ProcArray. A latch set in vain harms nobody.
  for (uint32 i = 0; i < ProcGlobal->allProcCount; i++) {
    PGPROC* process = &ProcGlobal->allProcs[i];
    if (process->pid == wanted) SetLatch(&process->procLatch);
  }
}

}  // namespace orchestra::pg
