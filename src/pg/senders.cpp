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
    // What streams to a subscriber is no copy, whatever it calls itself.
    const bool physical = MyProcPort != nullptr && !am_db_walsender;
    const char* name = physical ? MyProcPort->application_name : nullptr;
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

// False: nobody there.
bool ReadSender(int index, Sender* sender) {
  WalSnd& slot = WalSndCtl->walsnds[index];
  SpinLockAcquire(&slot.mutex);
  sender->pid = slot.pid;
  sender->state = slot.state;
  sender->flushed = slot.flush;
  sender->priority = slot.sync_standby_priority;
  SpinLockRelease(&slot.mutex);
  if (sender->pid == 0) return false;
  FindPublished(sender);
  return true;
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
    Sender sender{};
    if (ReadSender(i, &sender)) visit(sender);
  }
}

// A standby that connects anew may have two walsenders for a while.
uint32 CountFlushed(const char (*names)[sizeof SharedSender::name], uint32 count, XLogRecPtr end) {
  uint32 found = 0;  // one bit a name
  for (int i = 0; i < max_wal_senders; i++) {
    const WalSnd& slot = WalSndCtl->walsnds[i];
    if (*const_cast<const volatile pid_t*>(&slot.pid) == 0) continue;
    Sender sender{};
    if (!ReadSender(i, &sender) || !sender.published || sender.flushed < end) continue;
    for (uint32 n = 0; n < count; n++)
      if (pg_strcasecmp(names[n], sender.name) == 0) found |= uint32{1} << n;
  }
  return static_cast<uint32>(__builtin_popcount(found));
}

}  // namespace orchestra::pg
