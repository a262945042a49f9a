// Clocks, for everything in src/pg.
#pragma once
#include <ctime>

#include "core/types.h"

namespace orchestra::pg {

inline Micros ReadClock(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return std::chrono::seconds(now.tv_sec) + Micros(now.tv_nsec / 1000);
}

inline Instant Now() { return {ReadClock(CLOCK_BOOTTIME), ReadClock(CLOCK_MONOTONIC_RAW)}; }

// For people and tables only; it may jump.
inline std::int64_t UnixMicros() { return ReadClock(CLOCK_REALTIME).count(); }

}  // namespace orchestra::pg
