// Safety rules that a test build can switch off, to prove that the tests would notice. In the
// product every one of them is a constant.
#pragma once
#ifdef ORCHESTRA_FAULTS
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
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
// A process that gets to a named point of the commit path while a test has put a file of that name
// into the directory ORCHESTRA_POINTS stops itself there, and leaves `name.stopped` with its pid.
inline void Point(const char* name) {
  const char* directory = std::getenv("ORCHESTRA_POINTS");
  if (directory == nullptr) return;
  char wanted[512], taken[512];
  std::snprintf(wanted, sizeof wanted, "%s/%s", directory, name);
  std::snprintf(taken, sizeof taken, "%s/%s.%d", directory, name, static_cast<int>(getpid()));
  if (std::rename(wanted, taken) != 0) return;  // one process only
  char pid[16];
  const int length = std::snprintf(pid, sizeof pid, "%d\n", static_cast<int>(getpid()));
  const int file = open(taken, O_WRONLY | O_TRUNC);
  if (file >= 0) {
    if (write(file, pid, static_cast<std::size_t>(length)) != length) std::perror(taken);
    close(file);
  }
  std::snprintf(wanted, sizeof wanted, "%s/%s.stopped", directory, name);
  if (std::rename(taken, wanted) == 0) raise(SIGSTOP);
}
// A file of the test's own stands for /etc/machine-id.
inline const char* MachineIdFile() {
  const char* file = std::getenv("ORCHESTRA_MACHINE_ID_FILE");
  return file != nullptr ? file : "/etc/machine-id";
}
#else
inline constexpr void Point(const char* /*name*/) {}
inline constexpr const char* MachineIdFile() { return "/etc/machine-id"; }
inline constexpr bool NoGate() { return false; }      // commits need no lease
inline constexpr bool PromoteAny() { return false; }  // a target need not hold the most WAL
inline constexpr bool NoFence() { return false; }     // a fenced node goes on receiving WAL
#endif

}  // namespace orchestra::pg::faults
