#include "pg/command.h"

#include <algorithm>
#include <cstring>

#include "core/codec.h"
#include "core/register.h"
#include "pg/guard.h"
#include "pg/sql_common.h"

namespace orchestra::pg {
namespace {

// kIdle -> kPosting -> kPosted by the session, -> kTaken -> kFinished by the worker, -> kIdle by
// the session. A session that leaves early turns kTaken into kAbandoned, and then the worker makes
// it kIdle.
enum class CommandState : uint32 { kIdle, kPosting, kPosted, kTaken, kFinished, kAbandoned };

constexpr long kPollMs = 50;
// How much later than the deadline a worker that lives has certainly answered.
constexpr Micros kGrace = std::chrono::seconds(5);

// The name of a node as a thing with fields, so that a list of names can be encoded.
struct Named {
  std::string name;
};
void Fields(auto& io, Of<Named> auto& v) { io.Name(v.name, kMaxNameBytes); }

struct Image {
  std::vector<Named> names;
  std::uint32_t lease_ttl_ms = 0;
  Micros deadline{};
};
void Fields(auto& io, Of<Image> auto& v) {
  io.List(v.names, kMaxMembers);
  io(v.lease_ttl_ms);
  io(v.deadline);
}

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

void Post(const CreateRequest& request) {
  Image image{{}, request.lease_ttl_ms, request.deadline};
  for (const std::string& name : request.names) image.names.push_back({name});
  const std::string bytes = Encode(image);
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

CommandAnswer RunCommand(const CreateRequest& request) {
  RequirePreload();
  if (pg_atomic_read_u32(&shared->workers.consensus_pid) == 0) {
    throw Fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
               "the consensus worker of this node is not running", "",
               "See the server log; max_worker_processes may be too small.");
  }
  Post(request);
  const Micros until = request.deadline + kGrace;
  if (!Call([until] { return WaitOrLeave(until); })) {
    Leave(0, 0);
    throw Fail(ERRCODE_QUERY_CANCELED, "the consensus worker of this node did not answer", "",
               "See orchestra_cluster() for what is in force.");
  }
  const SharedCommand& mailbox = Mailbox();
  CommandAnswer answer{mailbox.sqlstate, mailbox.message, mailbox.hint};
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

std::optional<CreateRequest> TakeCommand() {
  if (!Move(CommandState::kPosted, CommandState::kTaken)) return std::nullopt;
  const SharedCommand& mailbox = Mailbox();
  const auto image = Decode<Image>(
      {mailbox.request, std::min<std::size_t>(mailbox.bytes, sizeof mailbox.request)});
  if (!image) {
    FinishCommand({ERRCODE_INTERNAL_ERROR, "the command could not be read", ""});
    return std::nullopt;
  }
  CreateRequest request{{}, image->lease_ttl_ms, image->deadline};
  for (const Named& each : image->names) request.names.push_back(each.name);
  return request;
}

bool CommandAbandoned() { return Load() == CommandState::kAbandoned; }

void FinishCommand(const CommandAnswer& answer) {
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
