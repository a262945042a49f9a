// Simulated time: everything that happens is a function called at a moment.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "core/types.h"

namespace orchestra::sim {

inline constexpr Micros Ms(std::int64_t n) { return Micros{n * 1000}; }
inline constexpr Micros Seconds(std::int64_t n) { return Micros{n * 1000000}; }

class Scheduler {
 public:
  Micros now() const { return now_; }

  void At(Micros when, std::function<void()> what) {
    heap_.push_back({std::max(when, now_), count_++, std::move(what)});
    std::push_heap(heap_.begin(), heap_.end(), Later);
  }
  void After(Micros delay, std::function<void()> what) { At(now_ + delay, std::move(what)); }

  // Runs what comes next unless it is later than `limit`; then time moves to `limit`, false.
  bool RunNext(Micros limit) {
    if (heap_.empty() || heap_.front().when > limit) {
      now_ = std::max(now_, limit);
      return false;
    }
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    Entry entry = std::move(heap_.back());
    heap_.pop_back();
    now_ = entry.when;
    entry.what();
    return true;
  }

 private:
  struct Entry {
    Micros when;
    std::uint64_t order;
    std::function<void()> what;
  };
  static bool Later(const Entry& a, const Entry& b) {
    return a.when != b.when ? a.when > b.when : a.order > b.order;
  }

  Micros now_{};
  std::uint64_t count_ = 0;
  std::vector<Entry> heap_;
};

}  // namespace orchestra::sim
