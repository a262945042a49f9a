// Safety rules that a test build can switch off, to prove that the tests would notice. In the
// product every one of them is a constant.
#pragma once
#ifdef ORCHESTRA_FAULTS
#include <cstdlib>
#include <cstring>
#endif

namespace orchestra::pg::faults {

#ifdef ORCHESTRA_FAULTS
// ORCHESTRA_FAULT is a comma-separated list in the postmaster's environment.
inline bool Asked(const char* name) {
  const char* list = std::getenv("ORCHESTRA_FAULT");
  const std::size_t length = std::strlen(name);
  for (const char* at = list; at != nullptr; at = std::strchr(at, ',')) {
    if (*at == ',') ++at;
    if (std::strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0'))
      return true;
  }
  return false;
}
inline bool NoGate() {
  static const bool on = Asked("no_gate");
  return on;
}
inline bool PromoteAny() {
  static const bool on = Asked("promote_any");
  return on;
}
inline bool NoFence() {
  static const bool on = Asked("no_fence");
  return on;
}
// A file of the test's own stands for /etc/machine-id.
inline const char* MachineIdFile() {
  const char* file = std::getenv("ORCHESTRA_MACHINE_ID_FILE");
  return file != nullptr ? file : "/etc/machine-id";
}
#else
inline constexpr const char* MachineIdFile() { return "/etc/machine-id"; }
inline constexpr bool NoGate() { return false; }      // commits need no lease
inline constexpr bool PromoteAny() { return false; }  // a target need not hold the most WAL
inline constexpr bool NoFence() { return false; }     // a fenced node goes on receiving WAL
#endif

}  // namespace orchestra::pg::faults
