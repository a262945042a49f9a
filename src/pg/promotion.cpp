#include "pg/promotion.h"

#include <fcntl.h>
#include <unistd.h>

#include "pg/guard.h"
#include "pg/pg.h"

namespace orchestra::pg {
namespace {

std::string CreateSignalFile() {
  const int fd =
      ::open(PROMOTE_SIGNAL_FILE, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, pg_file_create_mode);
  if (fd < 0)
    return std::string("could not create file \"" PROMOTE_SIGNAL_FILE "\": ") +
           std::strerror(errno);
  ::close(fd);
  return "";
}

}  // namespace

std::string RequestPromotion() {
  if (!RecoveryInProgress()) return "";
  if (!PromoteIsTriggered()) {
    const std::string error = CreateSignalFile();
    if (!error.empty()) return error;
    ::kill(PostmasterPid, SIGUSR1);
  }
  try {
    // Promotion ends a pause by itself, but looks for the signal only once a second while paused.
    Call([] {
      if (GetRecoveryPauseState() != RECOVERY_NOT_PAUSED) SetRecoveryPause(false);
      WakeupRecovery();
    });
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

void AfterPromotion() {
  try {
    Call([] { RequestCheckpoint(CHECKPOINT_IMMEDIATE | CHECKPOINT_FORCE); });
  } catch (const std::exception& e) {
    LogLine(LOG, std::string("orchestra: could not request a checkpoint: ") + e.what());
  }
}

}  // namespace orchestra::pg
