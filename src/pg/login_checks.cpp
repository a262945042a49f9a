#include "pg/login_checks.h"

#include "core/codec.h"
#include "pg/shared.h"

namespace orchestra::pg {
namespace {

constexpr std::size_t kMaxChecks = std::size(decltype(SharedMonitor::probes){});
constexpr int kAttempts = 100;

SharedProbe ToShared(const LoginCheck& check) {
  SharedProbe probe{};
  probe.node = check.node.value;
  probe.reachable = check.reachable;
  probe.checked_raw_us = check.checked_at.count();
  const std::string_view text = Cut(check.text, sizeof probe.text - 1);
  std::memcpy(probe.text, text.data(), text.size());
  return probe;
}

LoginCheck FromShared(const SharedProbe& probe) {
  return {NodeId{probe.node}, probe.reachable, Micros(probe.checked_raw_us),
          std::string(probe.text, strnlen(probe.text, sizeof probe.text))};
}

}  // namespace

void PublishLoginChecks(const std::vector<LoginCheck>& checks) {
  SharedMonitor& monitor = shared->monitor;
  const std::size_t count = std::min(checks.size(), kMaxChecks);
  // A predecessor may have died in the middle, and left the generation odd.
  const uint64 generation = pg_atomic_read_u64(&monitor.generation) | 1;
  pg_atomic_write_u64(&monitor.generation, generation);
  pg_write_barrier();
  monitor.count = static_cast<uint32>(count);
  for (std::size_t i = 0; i < count; i++) monitor.probes[i] = ToShared(checks[i]);
  pg_write_barrier();
  pg_atomic_write_u64(&monitor.generation, generation + 1);
}

std::vector<LoginCheck> ReadLoginChecks() {
  SharedMonitor& monitor = shared->monitor;
  const auto copy = std::make_unique<SharedProbe[]>(kMaxChecks);
  for (int attempt = 0; attempt < kAttempts; attempt++) {
    const uint64 before = pg_atomic_read_u64(&monitor.generation);
    pg_read_barrier();
    const std::size_t count = std::min<std::size_t>(monitor.count, kMaxChecks);
    std::copy_n(monitor.probes, count, copy.get());
    pg_read_barrier();
    if (before % 2 == 1 || pg_atomic_read_u64(&monitor.generation) != before) continue;
    std::vector<LoginCheck> checks;
    for (std::size_t i = 0; i < count; i++) checks.push_back(FromShared(copy[i]));
    return checks;
  }
  return {};
}

}  // namespace orchestra::pg
