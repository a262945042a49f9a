// What is stored, what a crash of the machine leaves of it, and what people do with disks.
#include "disk.h"

#include <utility>

#include "world.h"

namespace orchestra::sim {
namespace {

constexpr Micros kImageEvery = Seconds(1);
constexpr std::size_t kImages = 40;
constexpr Micros kStoreAgain = Seconds(1);  // as the shell does

}  // namespace

bool World::DiskFails(const Node& n) {
  if (n.disk_lies || scheduler.now() < n.disk.full_until) return true;
  return random.Chance(network.faults.disk_fails);
}

void World::DieAndReturn(Node& n) {
  Crash(n);
  scheduler.After(Delay(Ms(1), Ms(500)), [this, id = n.id] { Start(node(id)); });
}

// One file is replaced, unless the disk fails or the machine dies on the way.
template <typename T>
World::Write World::WriteFile(Node& n, std::optional<T>* file, std::optional<T>* before,
                              bool* unsynced, const T& value, bool fails) {
  Disk& disk = n.disk;
  const bool dies = !fails && random.Between(0, 9999) < network.faults.crash_in_write;
  if (!fails && !dies) {
    *file = value;
    *unsynced = disk.torn_beside = false;
    before->reset();
    return Write::kDone;
  }
  const bool full = n.disk_lies || scheduler.now() < disk.full_until;
  switch (full ? 0 : random.Between(0, 2)) {
    case 0:  // not even begun
      break;
    case 1:
      disk.torn_beside = true;
      coverage.torn_files++;
      break;
    default:  // renamed, but the directory is not synced
      if (!*unsynced) *before = std::move(*file);
      *unsynced = true;
      *file = value;
      coverage.renames_unsynced++;
  }
  if (fails) return Write::kFailed;
  coverage.crashes_in_write++;
  DieAndReturn(n);
  return Write::kDied;
}

// The vote file first: a marker without it is a node that lost its vote.
World::Write World::Store(Node& n, const Durable& vote, const Marker* marker, bool fails) {
  Disk& disk = n.disk;
  const bool marker_fails = fails && marker && random.Chance(500);
  Write wrote =
      WriteFile(n, &n.vote, &disk.vote_before, &disk.vote_unsynced, vote, fails && !marker_fails);
  if (wrote == Write::kDone && marker) {
    wrote =
        WriteFile(n, &n.marker, &disk.marker_before, &disk.marker_unsynced, *marker, marker_fails);
  }
  if (wrote == Write::kFailed) {
    coverage.disk_failures++;
    disk.failed_at = scheduler.now();
  }
  if (wrote != Write::kDone) return wrote;
  disk.failed_at = Micros{-1};
  const std::optional<Durable> before = std::exchange(n.stated, vote);
  observer.Persisted(n, before);
  if (random.Between(0, 9999) >= network.faults.crash_after_persist) return Write::kDone;
  coverage.crashes_after_persist++;
  DieAndReturn(n);
  return Write::kDied;
}

// A step that could not be stored did not happen; only another write tells that the disk takes
// writes again. Until the start itself is stored, the worker says nothing.
void World::RetryStore(Node& n) {
  if (n.disk.failed_at < Micros{0} || scheduler.now() - n.disk.failed_at < kStoreAgain) return;
  if (!n.booted) return BootWorker(n);
  const Phase phase = n.state.phase;
  if (phase == Phase::kConfigured || phase == Phase::kPending)
    Store(n, n.state.durable, nullptr, DiskFails(n));
}

void World::Settle(Node& n) {
  Disk& disk = n.disk;
  if (disk.vote_unsynced && random.Chance(500)) n.vote = std::move(disk.vote_before);
  if (disk.marker_unsynced && random.Chance(500)) n.marker = std::move(disk.marker_before);
  disk.vote_unsynced = disk.marker_unsynced = false;
  disk.vote_before.reset();
  disk.marker_before.reset();
  disk.failed_at = Micros{-1};
}

void World::TakeImage(Node& n) {
  std::deque<DiskImage>& images = n.disk.images;
  if (!images.empty() && scheduler.now() - images.back().taken < kImageEvery) return;
  if (!n.vote) return;
  images.push_back({scheduler.now(), n.vote, n.marker, n.server, n.disk.votes});
  if (images.size() > kImages) images.pop_front();
}

// ---------------------------------------------------------------- what people do

void World::LoseVote(Node& n) {
  Trace(&n, "loses its vote file");
  n.vote.reset();
}

void World::FillDisk(Node& n, Micros time) {
  Trace(&n, "has a full disk");
  coverage.full_disks++;
  n.disk.full_until = scheduler.now() + time;
}

bool World::RollBack(Node& n, Micros age, bool with_wal) {
  if (n.up) return false;
  for (const DiskImage& image : n.disk.images) {
    if (scheduler.now() - image.taken > age) continue;
    if (image.vote == n.vote) return false;
    Trace(&n, with_wal ? "is rolled back" : "has its vote file rolled back");
    coverage.roll_backs++;
    const std::optional<Durable> before = std::exchange(n.vote, image.vote);
    n.marker = image.marker;
    n.disk.votes = image.votes;
    if (with_wal) static_cast<DataDirectory&>(n.server) = image.data;
    n.wal_lost |= with_wal;
    n.disk.images.clear();
    n.stated = n.vote;
    observer.RolledBack(n, before);
    return true;
  }
  return false;
}

void World::Move(Node& n) {
  Crash(n);
  Trace(&n, "has its disk put into another machine");
  n.disk.hardware.machine = random.Next() | 1;
  n.disk.hardware.device = n.disk.hardware.machine + 1;
  Start(n);
}

void World::CloneOnto(Node& from, Node& to, bool keeps_anchor) {
  Trace(&to, std::string("is started as a ") + (keeps_anchor ? "snapshot" : "copy") + " of " +
                 from.name);
  Crash(to);
  coverage.clones++;
  to.spare = false;
  clones_ = true;
  to.member_name = from.member_name;
  to.address = from.address;
  to.vote = to.stated = from.vote;
  to.marker = from.marker;
  to.kind = from.kind;
  to.disk.votes = from.disk.votes;
  if (keeps_anchor) {
    to.disk.hardware.inode = from.disk.hardware.inode;
    to.disk.hardware.birth_time_us = from.disk.hardware.birth_time_us;
  }
  static_cast<DataDirectory&>(to.server) = from.server;
  observer.Cloned(to);
  Start(to);
}

}  // namespace orchestra::sim
