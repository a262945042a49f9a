// What the gates cost, one by one (bench/gates.pl): the product's own source, called again and
// again in a session of a primary whose gate is open. What only a closed gate or a weak commit
// needs stays outside, and must not be called.
#include "pg/gate_commit.cpp"  // NOLINT: its parts are its own

#include "pg/guard.h"

namespace orchestra::pg {

void RefuseWhileClosed(int /*level*/, int /*sqlstate*/) { elog(ERROR, "the gate is closed"); }
bool EnforceDurability() { elog(ERROR, "not a commit that waits for standbys"); }

namespace {

constexpr int kBatches = 50;

double NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// Nanoseconds of one call: those of the fastest batch, in which nobody else took the processor.
template <typename F>
double Least(int calls, F call) {
  double least = 0;
  for (int batch = 0; batch < kBatches; batch++) {
    const double begun = NowNs();
    for (int i = 0; i < calls; i++) {
      call();
      asm volatile("" ::: "memory");
    }
    const double took = (NowNs() - begun) / calls;
    if (batch == 0 || took < least) least = took;
    CHECK_FOR_INTERRUPTS();
  }
  return least;
}

// A statement that does nothing, with and without the hook that every statement passes.
double OfStatement(int calls) {
  SPI_connect();
  SPIPlanPtr plan = SPI_prepare("SELECT 1", 0, nullptr);
  const auto run = [plan] {
    SPI_execute_plan(plan, nullptr, nullptr, true, 1);
    SPI_freetuptable(SPI_tuptable);
  };
  const ExecutorStart_hook_type hook = ExecutorStart_hook;
  double with = 0, without = 0;
  for (int i = 0; i < 5; i++) {
    const double now_with = Least(calls, run);
    ExecutorStart_hook = nullptr;
    const double now_without = Least(calls, run);
    ExecutorStart_hook = hook;
    with = i == 0 ? now_with : std::min(with, now_with);
    without = i == 0 ? now_without : std::min(without, now_without);
  }
  SPI_finish();
  return with - without;
}

double Measure(const char* what, int calls) {
  const auto is = [what](const char* name) { return std::strcmp(what, name) == 0; };
  if (is("nothing")) return Least(calls, [] {});
  if (is("lease")) return Least(calls, [] { (void)GateIsOpen(); });
  if (is("statement")) return OfStatement(calls / 50);
  if (is("reading commit")) return Least(calls, [] { BeforeCommit(false); });
  if (is("commit")) {
    if (XactLastRecEnd == 0) elog(ERROR, "nothing was written");
    return Least(calls, [] { BeforeCommit(false); });
  }
  if (is("acknowledgement"))
    return Least(calls, [] {
      wrote = true;
      BeforeAcknowledgement(false);
    });
  if (is("login")) return Least(calls, [] { ClientAuthentication_hook(MyProcPort, STATUS_OK); });
  elog(ERROR, "there is no such gate");
}

}  // namespace
}  // namespace orchestra::pg

extern "C" {

PG_FUNCTION_INFO_V1(orchestra_test_gate_time);
Datum orchestra_test_gate_time(PG_FUNCTION_ARGS) {
  const char* what = text_to_cstring(PG_GETARG_TEXT_PP(0));
  return Float8GetDatum(orchestra::pg::Measure(what, PG_GETARG_INT32(1)));
}

}  // extern "C"
