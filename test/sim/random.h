// The only source of chance in the simulator: the same seed always gives the same run.
#pragma once
#include <cstdint>

namespace orchestra::sim {

class Random {
 public:
  // Not a multiple of what Next() adds: or neighbouring seeds would draw the same, one draw later.
  explicit Random(std::uint64_t seed) : state_(seed * 0xD1342543DE82EF95ULL + 0x1234567) {}

  // splitmix64
  std::uint64_t Next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

  // Both ends included.
  std::int64_t Between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(Next() % static_cast<std::uint64_t>(high - low + 1));
  }

  bool Chance(int permille) { return permille > 0 && Between(0, 999) < permille; }

 private:
  std::uint64_t state_;
};

}  // namespace orchestra::sim
