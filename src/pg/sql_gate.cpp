// The gate of this node, as its commits see it.
#include "pg/clock.h"
#include "pg/gate.h"
#include "pg/guard.h"
#include "pg/shared.h"
#include "pg/sql_common.h"

namespace orchestra::pg {
namespace {

// Until the first of the two clocks is there; NULL: no lease.
Cell LeaseLeft(SharedGate& gate) {
  if (pg_atomic_read_u32(&gate.gated) == 0 || !GateIsOpen()) return std::nullopt;
  const auto left = [](pg_atomic_uint64& until, Micros now) {
    return Micros(pg_atomic_read_u64(&until)) - now;
  };
  const Instant now = Now();
  const Micros least = std::min(left(gate.until_boottime_us, now.boottime),
                                left(gate.until_raw_us, now.monotonic_raw));
  return ToCell(std::max<std::int64_t>(least.count() / 1000, 0));
}

Row GateRow() {
  RequirePreload();
  SharedGate& gate = shared->gate;
  const auto count = [](pg_atomic_uint64* counter) { return ToCell(pg_atomic_read_u64(counter)); };
  return {ToCell(GateIsOpen()),    ToCell(pg_atomic_read_u32(&gate.gated) != 0),
          LeaseLeft(gate),         count(&gate.refused),
          count(&gate.suppressed), count(&gate.lifted),
          count(&gate.weak),       count(&gate.ended)};
}

}  // namespace
}  // namespace orchestra::pg

using namespace orchestra::pg;

extern "C" {

PG_FUNCTION_INFO_V1(orchestra_gate);
Datum orchestra_gate(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnRows(fcinfo, {GateRow()}); });
}

}  // extern "C"
