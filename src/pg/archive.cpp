#include "pg/archive.h"

#include <unistd.h>

#include "pg/guard.h"
#include "pg/pg.h"
#include "pg/shared.h"

namespace orchestra::pg {
namespace {

constexpr char kName[] = "restore_command";
constexpr Micros kRetry = std::chrono::seconds(1);

config_string* setting;
GucStringCheckHook previous_check;
GucStringAssignHook previous_assign;

// Of the postmaster, whose own value is not the configured one while `emptying`, nor after that.
bool configured;
bool emptying;

bool IsEmpty(const char* command) { return command == nullptr || *command == '\0'; }

// A reload would not change it.
bool FixedAtStart() { return setting == nullptr || setting->gen.source > PGC_S_FILE; }

// ---------------------------------------------------------------- every process: plain C

bool CheckCommand(char** value, void** extra, GucSource source) {
  if (previous_check != nullptr && !previous_check(value, extra, source)) return false;
  const bool closed =
      AmStartupProcess() && shared != nullptr && pg_atomic_read_u32(&shared->archive.closed) != 0;
  if (closed && !IsEmpty(*value)) **value = '\0';  // a copy of the hook's own
  return true;
}

void AssignCommand(const char* value, void* extra) {
  if (previous_assign != nullptr) previous_assign(value, extra);
  const uint32 used = IsEmpty(value) ? 0 : 1;
  if (MyProcPid == PostmasterPid && !emptying) {
    configured = used != 0;
    if (shared != nullptr) pg_atomic_write_u32(&shared->archive.configured, used);
  }
  if (AmStartupProcess() && shared != nullptr) pg_atomic_write_u32(&shared->archive.used, used);
}

// The startup process inherits what the postmaster has loaded when it forks it.
void EmptyInPostmaster() noexcept {
  emptying = true;
  try {
    Call([] { SetConfigOption(kName, "", PGC_SIGHUP, setting->gen.source); });
  } catch (const std::exception& error) {
    LogLine(WARNING, std::string("orchestra: restore_command is used: ") + error.what());
  }
  emptying = false;
}

}  // namespace

void InstallArchive() {
  setting = compat::FindStringSetting(kName);
  if (setting == nullptr) return;
  configured = !IsEmpty(*setting->variable);
  previous_check = setting->check_hook;
  previous_assign = setting->assign_hook;
  setting->check_hook = CheckCommand;
  setting->assign_hook = AssignCommand;
}

void CloseArchiveAtBoot(bool closed) {
  const bool standby = ::access(STANDBY_SIGNAL_FILE, F_OK) == 0;
  const bool close = closed && standby && !FixedAtStart();
  if (close && !IsEmpty(*setting->variable)) EmptyInPostmaster();
  pg_atomic_write_u32(&shared->archive.emptied, close ? 1 : 0);
  pg_atomic_write_u32(&shared->archive.closed, close ? 1 : 0);
  pg_atomic_write_u32(&shared->archive.configured, configured ? 1 : 0);
  const bool used = setting != nullptr && !IsEmpty(*setting->variable);
  pg_atomic_write_u32(&shared->archive.used, used ? 1 : 0);
}

bool SetArchive(bool closed, Micros now) {
  SharedArchive& mine = shared->archive;
  if (FixedAtStart()) return true;
  static std::optional<Micros> reloaded;
  if (pg_atomic_exchange_u32(&mine.closed, closed ? 1 : 0) != (closed ? 1 : 0)) reloaded.reset();
  const uint32 wanted = closed ? 0 : pg_atomic_read_u32(&mine.configured);
  const bool obeys = pg_atomic_read_u32(&mine.used) == wanted;
  const bool shown =
      pg_atomic_exchange_u32(&mine.emptied, 0) == 0 || pg_atomic_read_u32(&mine.configured) == 0;
  if (obeys && shown) return true;
  if (!reloaded || now - *reloaded >= kRetry) {
    reloaded = now;
    ::kill(PostmasterPid, SIGHUP);
  }
  return obeys;
}

}  // namespace orchestra::pg
