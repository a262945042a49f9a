// The two clocks of one machine: they drift on their own, and a suspend stops only one of them.
#pragma once
#include <algorithm>

#include "core/types.h"

namespace orchestra::sim {

class MachineClock {
 public:
  MachineClock() = default;
  // Both clocks run from `start` on, `rate` simulated microseconds for a true one.
  MachineClock(Micros when, Instant start, double boottime_rate, double raw_rate)
      : boottime_{when, start.boottime, boottime_rate}, raw_{when, start.monotonic_raw, raw_rate} {}

  Instant At(Micros when) const { return {boottime_.At(when), raw_.At(when)}; }

  // CLOCK_MONOTONIC_RAW does not see the time until `end`; CLOCK_BOOTTIME does.
  void Suspend(Micros when, Micros end) { raw_ = {end, raw_.At(when), raw_.rate}; }

  double boottime_rate() const { return boottime_.rate; }
  double raw_rate() const { return raw_.rate; }

 private:
  struct Hand {
    Micros since{};
    Micros base{};
    double rate = 1.0;
    Micros At(Micros when) const {
      const auto passed = static_cast<double>(std::max(when - since, Micros{0}).count());
      return base + Micros{static_cast<std::int64_t>(passed * rate)};
    }
  };
  Hand boottime_;
  Hand raw_;
};

}  // namespace orchestra::sim
