#include "pg/gate.h"

#include "pg/clock.h"
#include "pg/shared.h"

namespace orchestra::pg {

void SetGateAtBoot(bool gated, bool mute) {
  pg_atomic_write_u32(&shared->gate.open, 0);
  pg_atomic_write_u32(&shared->gate.gated, gated ? 1 : 0);
  pg_atomic_write_u32(&shared->gate.mute, mute ? 1 : 0);
}

bool GateIsOpen() {
  if (shared == nullptr) return true;  // no shared memory, no transactions
  SharedGate& gate = shared->gate;
  if (pg_atomic_read_u32(&gate.gated) == 0) return true;
  if (pg_atomic_read_u32(&gate.open) == 0) return false;
  pg_read_barrier();
  const Instant until{Micros(pg_atomic_read_u64(&gate.until_boottime_us)),
                      Micros(pg_atomic_read_u64(&gate.until_raw_us))};
  return BeforeOnEveryClock(Now(), until);
}

void CloseGate() {
  pg_atomic_write_u32(&shared->gate.open, 0);
  pg_memory_barrier();
}

}  // namespace orchestra::pg
