// Errors on their way through C++, seen from SQL (t/001_guards.pl).
#include "pg/guard.h"
#include "pg/shared.h"
#include "pg/worker.h"

extern "C" PGDLLEXPORT void orchestra_test_worker_main(Datum);

namespace orchestra::pg {
namespace {

int alive = 0;
int died = 0;

// Counts its own ends; a longjmp across it would leave one alive.
struct Witness {
  Witness() { ++alive; }
  ~Witness() {
    --alive;
    ++died;
  }
  std::string on_the_heap = std::string(100, 'x');
};

void RaiseError() {
  ereport(ERROR, (errcode(ERRCODE_DIVISION_BY_ZERO), errmsg("raised below C++"),
                  errdetail("the detail"), errhint("the hint")));
}

void Deep(int levels, const std::string& kind) {
  const Witness witness;
  if (levels > 0) return Deep(levels - 1, kind);
  if (kind == "ereport") Call(RaiseError);
  if (kind == "fail") throw Fail(ERRCODE_LOCK_NOT_AVAILABLE, "thrown", "a detail", "a hint");
  if (kind == "runtime_error") throw std::runtime_error("a runtime error");
  if (kind == "bad_alloc") throw std::bad_alloc();
  if (kind == "int") throw 42;
  if (kind == "huge") throw Fail(ERRCODE_LOCK_NOT_AVAILABLE, std::string(100000, 'h'));
}

std::string Text(FunctionCallInfo call, int index) {
  return Call([&] { return text_to_cstring(DatumGetTextPP(call->args[index].value)); });
}

// A C++ exception inside of a Call must leave the backend's own state as it was.
void ThrowInsideCall() {
  sigjmp_buf* const before = PG_exception_stack;
  try {
    Call([] { throw std::runtime_error("through a Call"); });
  } catch (const std::runtime_error&) {
  }
  if (PG_exception_stack != before) throw Fail(ERRCODE_INTERNAL_ERROR, "stack not restored");
}

// Interrupts that were held when an ERROR was caught are held afterwards.
void CatchWhileHeld() {
  HOLD_INTERRUPTS();
  try {
    Call(RaiseError);
  } catch (const Fail&) {
  }
  const bool held = InterruptHoldoffCount == 1;
  if (held) RESUME_INTERRUPTS();
  if (!held) throw Fail(ERRCODE_INTERNAL_ERROR, "held interrupts were let go");
}

post_parse_analyze_hook_type next_analyze = nullptr;
bool hook_armed = false;

// Throws once, in a hook that the backend calls.
void OnAnalyze(ParseState* state, Query* query, JumbleState* jumble) {
  if (next_analyze != nullptr) next_analyze(state, query, jumble);
  Boundary([] {
    if (std::exchange(hook_armed, false)) Deep(3, "runtime_error");
  });
}

void StartTestWorker(const std::string& kind) {
  BackgroundWorker worker{};
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
  worker.bgw_start_time = BgWorkerStart_ConsistentState;
  worker.bgw_restart_time = 1;
  strlcpy(worker.bgw_library_name, "orchestra_test", sizeof worker.bgw_library_name);
  strlcpy(worker.bgw_function_name, "orchestra_test_worker_main", sizeof worker.bgw_function_name);
  strlcpy(worker.bgw_name, "orchestra test", sizeof worker.bgw_name);
  strlcpy(worker.bgw_type, "orchestra test", sizeof worker.bgw_type);
  strlcpy(worker.bgw_extra, kind.c_str(), sizeof worker.bgw_extra);
  if (!Call([&] { return RegisterDynamicBackgroundWorker(&worker, nullptr); }))
    throw Fail(ERRCODE_INSUFFICIENT_RESOURCES, "no free worker slot");
}

}  // namespace
}  // namespace orchestra::pg

using namespace orchestra::pg;

// Fails in the way that bgw_extra says, in each of its lives.
void orchestra_test_worker_main(Datum) {
  static pg_atomic_uint32 pid;
  WorkerBoundary("orchestra test", [] {
    StartWorker(&pid, AtExit::kCloseGate);
    LogLine(LOG, "orchestra test worker started");
    Deep(3, MyBgworkerEntry->bgw_extra);
  });
  proc_exit(0);
}

extern "C" {

PG_FUNCTION_INFO_V1(orchestra_test_fail);
Datum orchestra_test_fail(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] {
    Deep(5, Text(fcinfo, 0));
    return static_cast<Datum>(0);
  });
}

// "alive died": witnesses of this session.
PG_FUNCTION_INFO_V1(orchestra_test_witnesses);
Datum orchestra_test_witnesses(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return Boundary([] {
    const std::string text = std::to_string(alive) + " " + std::to_string(died);
    return Call([&] { return PointerGetDatum(cstring_to_text(text.c_str())); });
  });
}

PG_FUNCTION_INFO_V1(orchestra_test_state);
Datum orchestra_test_state(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return Boundary([] {
    ThrowInsideCall();
    CatchWhileHeld();
    return BoolGetDatum(true);
  });
}

PG_FUNCTION_INFO_V1(orchestra_test_hook);
Datum orchestra_test_hook(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  if (post_parse_analyze_hook != OnAnalyze) {
    next_analyze = post_parse_analyze_hook;
    post_parse_analyze_hook = OnAnalyze;
  }
  hook_armed = true;
  return static_cast<Datum>(0);
}

PG_FUNCTION_INFO_V1(orchestra_test_worker);
Datum orchestra_test_worker(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] {
    StartTestWorker(Text(fcinfo, 0));
    return static_cast<Datum>(0);
  });
}

}  // extern "C"
