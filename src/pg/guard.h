// The two guards between C++ and PostgreSQL's longjmp. Together they keep three promises: no
// exception leaves C++, no destructor is skipped, and an error keeps what it said.
//
//   Call      around backend functions that C++ calls: ERROR becomes an exception.
//   Boundary  around C++ that the backend calls (SQL functions, hooks, callbacks): an exception
//             becomes an ERROR. WorkerBoundary is the same for the main function of a worker.
//
// A function that passes control on to the backend without a guard (a hook that calls the next
// one) must hold nothing with a destructor at that point.
#pragma once
#include "pg/pg.h"

namespace orchestra::pg {

// An error with everything that ereport would say. Throw it in C++ for a clean error; it is also
// what Call throws.
class Fail : public std::exception {
 public:
  Fail(int sqlstate, std::string message, std::string detail = {}, std::string hint = {})
      : sqlstate_(sqlstate),
        message_(std::move(message)),
        detail_(std::move(detail)),
        hint_(std::move(hint)) {}
  const char* what() const noexcept override { return message_.c_str(); }
  int sqlstate() const noexcept { return sqlstate_; }
  const std::string& detail() const noexcept { return detail_; }
  const std::string& hint() const noexcept { return hint_; }

 private:
  int sqlstate_;
  std::string message_, detail_, hint_;
};

namespace guard {

// What the backend keeps in globals while C++ runs below it.
struct Backend {
  sigjmp_buf* exception_stack = PG_exception_stack;
  ErrorContextCallback* error_context = error_context_stack;
  uint32 interrupt_holdoff = InterruptHoldoffCount;
  uint32 cancel_holdoff = QueryCancelHoldoffCount;
  MemoryContext memory = CurrentMemoryContext;

  // After an ERROR, or an exception, that left some frames of the backend.
  void Restore() const noexcept;
};

// Puts the exception stack back on every way out of Call but ERROR.
class Frame {
 public:
  explicit Frame(const Backend& backend) : backend_(backend) {}
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;
  ~Frame() {
    PG_exception_stack = backend_.exception_stack;
    error_context_stack = backend_.error_context;
  }

 private:
  const Backend& backend_;
};

// An error without anything to destroy: it survives until all C++ frames are gone. Longer texts
// are cut at a character.
struct Report {
  int sqlstate;
  char message[1024];
  char detail[1024];
  char hint[512];
};

[[noreturn]] void ThrowCurrentError(const Backend& backend);  // right after the longjmp
void Describe(Report* report) noexcept;                       // in a catch (...) block only
[[noreturn]] void Raise(const Report& report);
[[noreturn]] void EndWorker(const char* worker, const Report& report);

}  // namespace guard

// Runs `body`, which calls the backend, and throws Fail if that raised an ERROR. `body` itself must
// hold nothing with a destructor (its captures are fine) and return nothing that has one.
//
// An ERROR that is caught here is over for C++ but not for the transaction: inside of one, throw it
// on to the Boundary. Interrupts that were held stay held.
template <typename Body>
auto Call(Body&& body) -> std::invoke_result_t<Body> {
  using Result = std::invoke_result_t<Body>;
  static_assert(std::is_void_v<Result> || std::is_trivially_destructible_v<Result>,
                "a longjmp would skip the destructor of this result");
  const guard::Backend backend;
  sigjmp_buf here;
  if (sigsetjmp(here, 0) != 0) guard::ThrowCurrentError(backend);
  const guard::Frame frame(backend);
  PG_exception_stack = &here;
  return std::forward<Body>(body)();
}

// Runs `body`; no exception gets past. Whatever it throws is raised as an ERROR with its SQLSTATE,
// message, detail and hint (std::bad_alloc: 53200, anything else: XX000), once every C++ object of
// `body` is destroyed.
template <typename Body>
auto Boundary(Body&& body) -> std::invoke_result_t<Body> {
  const guard::Backend backend;
  guard::Report report;
  try {
    return std::forward<Body>(body)();
  } catch (...) {
    guard::Describe(&report);
  }
  backend.Restore();
  guard::Raise(report);
}

// Runs the main function of a background worker. An exception is logged and ends the worker with
// exit code 1, so that the postmaster starts it anew after bgw_restart_time. The callbacks that
// StartWorker (pg/worker.h) registered run: the consensus worker's closes the gate.
template <typename Body>
void WorkerBoundary(const char* worker, Body&& body) {
  const guard::Backend backend;
  guard::Report report;
  try {
    std::forward<Body>(body)();
    return;
  } catch (...) {
    guard::Describe(&report);
  }
  backend.Restore();
  guard::EndWorker(worker, report);
}

// Writes one line to the server's log. Never raises or throws: a line that cannot be written is
// dropped.
void LogLine(int level, const std::string& line) noexcept;

}  // namespace orchestra::pg
