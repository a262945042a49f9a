// The disk of one machine: two files that are replaced whole, and what a crash leaves of them. A
// file is written beside, synced, renamed, and then its directory is synced. Driven by disk.cpp.
#pragma once
#include <cstdint>
#include <deque>
#include <optional>

#include "core/durable.h"
#include "server.h"

namespace orchestra::sim {

// A copy of everything on a disk, as an operator or a hypervisor makes it.
struct DiskImage {
  Micros taken{};
  std::optional<Durable> vote;
  std::optional<Marker> marker;
  DataDirectory data;
  std::uint64_t votes = 0;
};

// Where a machine's files lie. A copy by cp or rsync gets another inode and birth time; a snapshot
// put onto another machine keeps both.
struct Hardware {
  std::uint64_t machine = 0, device = 0;
  std::uint64_t inode = 0;
  std::int64_t birth_time_us = 0;
};

struct Disk {
  Hardware hardware;
  // A rename that the directory was not synced after: a crash of the machine may undo it.
  bool vote_unsynced = false, marker_unsynced = false;
  std::optional<Durable> vote_before;
  std::optional<Marker> marker_before;
  bool torn_beside = false;  // half a file under the temporary name; nobody ever reads it
  Micros full_until{};
  Micros failed_at{-1};          // last failed write, until one succeeds
  std::deque<DiskImage> images;  // oldest first, for roll-backs
  // How much of what its identity ever voted is known here, see Observer::Voted.
  std::uint64_t votes = 0;
};

}  // namespace orchestra::sim
