// The gate, held open and shut by a test (t/003_gate.pl) while the consensus worker is stopped.
#include "pg/gate.h"

#include "pg/clock.h"
#include "pg/guard.h"
#include "pg/shared.h"

namespace orchestra::pg {
namespace {

int commits_to_go = 0;  // 0: nothing planned

// Callbacks run last-registered-first, so that the gate's own look comes after this.
void OnTransaction(XactEvent event, void* /*unused*/) {
  if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_PREPARE) return;
  if (commits_to_go > 0 && --commits_to_go == 0) CloseGate();
}

}  // namespace
}  // namespace orchestra::pg

using namespace orchestra::pg;

extern "C" {

// Gated, with a lease of so many milliseconds; NULL: not gated.
PG_FUNCTION_INFO_V1(orchestra_test_lease);
Datum orchestra_test_lease(PG_FUNCTION_ARGS) {
  SharedGate& gate = shared->gate;
  CloseGate();
  pg_atomic_write_u32(&gate.gated, PG_ARGISNULL(0) ? 0 : 1);
  if (PG_ARGISNULL(0)) return static_cast<Datum>(0);
  const orchestra::Instant until = Now() + std::chrono::milliseconds(PG_GETARG_INT32(0));
  pg_atomic_write_u64(&gate.until_boottime_us, static_cast<uint64>(until.boottime.count()));
  pg_atomic_write_u64(&gate.until_raw_us, static_cast<uint64>(until.monotonic_raw.count()));
  pg_memory_barrier();
  pg_atomic_write_u32(&gate.open, 1);
  return static_cast<Datum>(0);
}

PG_FUNCTION_INFO_V1(orchestra_test_gate_is_open);
Datum orchestra_test_gate_is_open(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return BoolGetDatum(GateIsOpen());
}

// The lease ends between the commit after this one's own and its acknowledgement.
PG_FUNCTION_INFO_V1(orchestra_test_close_at_commit);
Datum orchestra_test_close_at_commit(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  static const bool registered = [] {
    RegisterXactCallback(OnTransaction, nullptr);
    return true;
  }();
  commits_to_go = registered ? 2 : 0;
  return static_cast<Datum>(0);
}

PG_FUNCTION_INFO_V1(orchestra_test_consensus_pid);
Datum orchestra_test_consensus_pid(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return Int32GetDatum(static_cast<int32>(pg_atomic_read_u32(&shared->workers.consensus_pid)));
}

}  // extern "C"
