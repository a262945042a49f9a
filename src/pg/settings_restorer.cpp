#include "pg/settings_restorer.h"

#include "pg/auto_conf.h"
#include "pg/conninfo.h"
#include "pg/guard.h"
#include "pg/storage.h"
#include "pg/sync_setting.h"

namespace orchestra::pg {
namespace {

constexpr Micros kLookPeriod = std::chrono::seconds(1);
constexpr Micros kRetry = std::chrono::milliseconds(200);
constexpr Micros kPatience = std::chrono::seconds(2);  // until what takes its time is a problem
constexpr const char* kConninfo = "primary_conninfo";

// May this server go by that primary_conninfo again?
bool Fits(const FormerSetting& former, const Address* primary) {
  if (!RecoveryInProgress()) return true;
  const std::vector<Address> servers = ServersOf(former.value);
  std::vector<Address> present;
  if (primary != nullptr)
    present = {*primary};
  else
    present = ServersOf(PrimaryConnInfo);
  return present.size() == 1 &&
         std::find(servers.begin(), servers.end(), present[0]) != servers.end();
}

}  // namespace

std::string SettingsRestorer::Turn(const Address* primary, Micros now) {
  if (looked_at_ && now - *looked_at_ < (done_ ? kLookPeriod : kRetry) && put_back_at_ == 0)
    return problem_;
  looked_at_ = now;
  problem_.clear();
  if (put_back_at_ == 0) {
    SavedLook look = ReadSaved();
    done_ = !look.present && look.error.empty();
    problem_ = std::move(look.error);
    if (look.present && problem_.empty()) PutBack(std::move(look.saved), primary);
    return problem_;
  }
  if (std::string waits = ReleaseSync(put_back_at_, now); !waits.empty()) {
    if (now - put_back_since_ >= kPatience) problem_ = "settings are being restored: " + waits;
    return problem_;
  }
  problem_ = RemoveSavedFile();
  if (!problem_.empty()) return problem_;
  put_back_at_ = 0;
  done_ = true;
  LogLine(LOG, "orchestra: " + told_);
  return "";
}

void SettingsRestorer::PutBack(SavedSettings saved, const Address* primary) {
  told_ = "settings restored";
  const FormerSetting* conninfo = FindFormer(saved, kConninfo);
  if (conninfo != nullptr && !Fits(*conninfo, primary)) {
    std::erase_if(saved.settings, [](const FormerSetting& each) { return each.name == kConninfo; });
    told_ +=
        "; primary_conninfo keeps its present host and port, since the former one names another "
        "server than the primary";
  }
  const EditResult edit = RestoreAutoConf(saved);
  problem_ = edit.error;
  if (!problem_.empty()) return;
  put_back_at_ = PgReloadTime;
  put_back_since_ = *looked_at_;
}

}  // namespace orchestra::pg
