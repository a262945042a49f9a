#include "pg/senders.h"

namespace orchestra::pg {
namespace {

SharedSender* mine;  // of this walsender

constexpr uint32 kClaimed = 0xFFFFFFFF;  // taken, name not written yet

void Release(int, Datum) {
  if (mine != nullptr) pg_atomic_write_u32(&mine->pid, 0);
  mine = nullptr;
}

// Without a free slot this walsender stays unpublished, and is ended when that matters.
void Claim() {
  for (SharedSender& slot : shared->generations.senders) {
    uint32 free = 0;
    if (!pg_atomic_compare_exchange_u32(&slot.pid, &free, kClaimed)) continue;
    mine = &slot;
    on_shmem_exit(Release, 0);
    const char* name = MyProcPort != nullptr ? MyProcPort->application_name : nullptr;
    strlcpy(slot.name, name != nullptr ? name : "", sizeof slot.name);
    return;
  }
}

void FindPublished(Sender* sender) {
  for (SharedSender& slot : shared->generations.senders) {
    if (pg_atomic_read_u32(&slot.pid) != static_cast<uint32>(sender->pid)) continue;
    pg_read_barrier();
    memcpy(sender->name, slot.name, sizeof sender->name);
    sender->name[sizeof sender->name - 1] = '\0';
    sender->generation = pg_atomic_read_u64(&slot.generation);
    pg_read_barrier();
    sender->published = pg_atomic_read_u32(&slot.pid) == static_cast<uint32>(sender->pid);
    return;
  }
}

}  // namespace

void PublishSender(uint64 generation) {
  if (shared == nullptr) return;
  if (mine == nullptr) Claim();
  if (mine == nullptr) return;
  pg_atomic_write_u64(&mine->generation, generation);
  pg_write_barrier();
  pg_atomic_write_u32(&mine->pid, static_cast<uint32>(MyProcPid));
}

void ForEachSender(const std::function<void(const Sender&)>& visit) {
  for (int i = 0; i < max_wal_senders; i++) {
    WalSnd& slot = WalSndCtl->walsnds[i];
    Sender sender{};
    SpinLockAcquire(&slot.mutex);
    sender.pid = slot.pid;
    sender.state = slot.state;
    sender.flushed = slot.flush;
    sender.priority = slot.sync_standby_priority;
    SpinLockRelease(&slot.mutex);
    if (sender.pid == 0) continue;
    FindPublished(&sender);
    visit(sender);
  }
}

}  // namespace orchestra::pg
