#include "pg/slots.h"

#include "pg/guard.h"
#include "pg/pg.h"

namespace orchestra::pg {
namespace {

enum class Found { kNo, kYes, kBusy };

Found Find(const char* name) {
  // Never waits for a backend that holds the lock.
  if (!LWLockConditionalAcquire(ReplicationSlotControlLock, LW_SHARED)) return Found::kBusy;
  Found found = Found::kNo;
  for (int i = 0; i < max_replication_slots; i++) {
    const ReplicationSlot& slot = ReplicationSlotCtl->replication_slots[i];
    if (slot.in_use && strcmp(NameStr(slot.data.name), name) == 0) found = Found::kYes;
  }
  LWLockRelease(ReplicationSlotControlLock);
  return found;
}

// Creation waits for this lock; whoever holds it now is the one that may hold it long.
bool OthersCreate() {
  if (!LWLockConditionalAcquire(ReplicationSlotAllocationLock, LW_EXCLUSIVE)) return true;
  LWLockRelease(ReplicationSlotAllocationLock);
  return false;
}

SlotResult Create(const char* name) {
  try {
    Call([&] {
      CheckSlotRequirements();
      ReplicationSlotValidateName(name, ERROR);
      compat::CreatePhysicalSlot(name);
      ReplicationSlotRelease();
    });
    return {SlotStep::kCreated, ""};
  } catch (const std::exception& e) {
    const SlotResult failed{SlotStep::kFailed, std::string("could not create replication slot \"") +
                                                   name + "\": " + e.what()};
    LWLockReleaseAll();
    ConditionVariableCancelSleep();
    if (MyReplicationSlot != nullptr) Call([] { ReplicationSlotRelease(); });
    return failed;
  }
}

}  // namespace

SlotResult EnsureSlots(const std::vector<std::string>& names) {
  try {
    for (const std::string& name : names) {
      const Found found = Call([&] { return Find(name.c_str()); });
      if (found == Found::kYes) continue;
      if (found == Found::kBusy || Call([] { return OthersCreate(); }))
        return {SlotStep::kBusy, ""};
      return Create(name.c_str());
    }
    return {SlotStep::kDone, ""};
  } catch (const std::exception& e) {
    return {SlotStep::kFailed, e.what()};
  }
}

}  // namespace orchestra::pg
