// Puts back what orchestra changed in postgresql.auto.conf, when the server's settings are not
// orchestra's any more (mode observe, or a cluster that this node has left).
#pragma once
#include <optional>
#include <string>

#include "core/register.h"
#include "pg/pg.h"
#include "pg/saved_settings.h"

namespace orchestra::pg {

class SettingsRestorer {
 public:
  // Call it on every turn while the settings are not orchestra's, for the consensus worker: the
  // former lines, a reload, and when every process has loaded them the saved file goes.
  //
  // A standby whose former primary_conninfo names another server than `primary` (of the register;
  // nullptr: whoever primary_conninfo names now) keeps the present one: it would follow a server
  // that is primary no more.
  //
  // Returns "" or, for people, what stands in the way; it tries again.
  std::string Turn(const Address* primary, Micros now);

  // The last Turn found nothing (any more) that was to be put back.
  bool done() const { return done_; }

 private:
  void PutBack(SavedSettings saved, const Address* primary);

  std::optional<Micros> looked_at_;
  TimestampTz put_back_at_ = 0;  // the last reload before it; 0: not yet
  Micros put_back_since_{};
  bool done_ = false;
  std::string problem_;
  std::string told_;  // what the log will say
};

}  // namespace orchestra::pg
