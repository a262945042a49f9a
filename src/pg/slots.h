// Physical replication slots for the other members, so that a repointed standby finds the one it
// names in primary_slot_name.
#pragma once
#include <string>
#include <vector>

namespace orchestra::pg {

// Creates the first of `names` that is missing (persistent, WAL not reserved until it is used);
// drops nothing. One slot a call, as each costs some fsyncs: call it until kDone.
// Works on primaries and standbys.
enum class SlotStep { kDone, kCreated, kBusy, kFailed };
struct SlotResult {
  SlotStep step = SlotStep::kDone;
  std::string error;  // kFailed
};
SlotResult EnsureSlots(const std::vector<std::string>& names);

}  // namespace orchestra::pg
