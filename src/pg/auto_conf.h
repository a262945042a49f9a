// Atomic edits of postgresql.auto.conf, beside ALTER SYSTEM.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace orchestra::pg {

using Settings = std::vector<std::pair<std::string, std::string>>;  // name, value

struct EditResult {
  bool written = false;  // false without error: the file says so already
  std::string error;
};

// Sets `settings` in the file, next to each other and in this order (later ones are applied later
// on reload); every other line stays. Durable when it returns; never waits for ALTER SYSTEM of
// somebody else ("busy" is an error like others). Raises nothing; does not reload.
EditResult EditAutoConf(const Settings& settings);

}  // namespace orchestra::pg
