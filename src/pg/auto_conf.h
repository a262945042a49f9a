// Atomic edits of postgresql.auto.conf, beside ALTER SYSTEM. What a setting was before the first
// edit is saved (pg/saved_settings.h) and can be put back.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "pg/saved_settings.h"

namespace orchestra::pg {

using Settings = std::vector<std::pair<std::string, std::string>>;  // name, value

struct EditResult {
  bool written = false;  // false without error: the file says so already
  std::string error;
};

// Sets `settings` in the file, next to each other and in this order (later ones are applied later
// on reload); every other line stays. Durable when it returns; never waits for ALTER SYSTEM of
// somebody else ("busy" is an error like others). Raises nothing; does not reload.
// Before the first change of a setting its former lines are made durable, else nothing is changed.
EditResult EditAutoConf(const Settings& settings);

// Gives `saved` its lines back, where they were, and removes orchestra's own settings; every other
// line stays. The rest as above.
EditResult RestoreAutoConf(const SavedSettings& saved);

}  // namespace orchestra::pg
