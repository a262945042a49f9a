#include "pg/gate_quorum.h"

#include <fcntl.h>
#include <unistd.h>

#include "pg/senders.h"
#include "pg/shared.h"

namespace orchestra::pg {
namespace {

constexpr uint32 kMost = std::extent_v<decltype(SharedGate::ack_names)>;
constexpr uint32 kNameBytes = sizeof SharedGate::ack_names[0];
constexpr int kTries = 1000;

bool IsPublished(const std::vector<std::string>& names, uint32 copies) {
  const SharedGate& gate = shared->gate;
  if (gate.ack_k != copies || gate.ack_count != names.size()) return false;
  for (std::size_t i = 0; i < names.size(); i++)
    if (names[i] != gate.ack_names[i]) return false;
  return true;
}

// Length of a WAL record; 0: it cannot be read.
uint32 LengthOfRecord(XLogRecPtr start) {
  XLogSegNo segment = 0;
  XLByteToSeg(start, segment, wal_segment_size);
  char path[MAXPGPATH];
  XLogFilePath(path, compat::InsertTimeline(), segment, wal_segment_size);
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  uint32 length = 0;
  const off_t at = XLogSegmentOffset(start, wal_segment_size);
  const bool read = pread(file, &length, sizeof length, at) == sizeof length;
  close(file);
  return read && length >= SizeOfXLogRecord ? length : 0;
}

}  // namespace

void PublishAckSet(const std::vector<std::string>& names, uint32 copies) {
  if (names.size() > kMost || IsPublished(names, copies)) return;
  SharedGate& gate = shared->gate;
  // A predecessor may have ended in the middle, and left the generation odd.
  const uint32 generation = pg_atomic_read_u32(&gate.quorum_generation) | 1;
  pg_atomic_write_u32(&gate.quorum_generation, generation);
  pg_write_barrier();
  gate.ack_k = copies;
  gate.ack_count = static_cast<uint32>(names.size());
  for (std::size_t i = 0; i < names.size(); i++)
    strlcpy(gate.ack_names[i], names[i].c_str(), kNameBytes);
  pg_write_barrier();
  pg_atomic_write_u32(&gate.quorum_generation, generation + 1);
}

uint32 AckGeneration() {
  pg_read_barrier();
  const uint32 generation =
      shared == nullptr ? 0 : pg_atomic_read_u32(&shared->gate.quorum_generation);
  pg_read_barrier();
  return generation;
}

uint32 CopiesNeeded() {
  if (shared == nullptr || pg_atomic_read_u32(&shared->gate.gated) == 0) return 0;
  return *const_cast<const volatile uint32*>(&shared->gate.ack_k);
}

bool EnoughHold(XLogRecPtr end) {
  SharedGate& gate = shared->gate;
  for (int i = 0; i < kTries; i++) {
    const uint32 generation = pg_atomic_read_u32(&gate.quorum_generation);
    pg_read_barrier();
    const uint32 count = std::min(gate.ack_count, kMost);
    const bool enough = CountFlushed(gate.ack_names, count, end) >= gate.ack_k;
    pg_read_barrier();
    if (generation % 2 == 0 && generation == pg_atomic_read_u32(&gate.quorum_generation))
      return enough;
  }
  return false;
}

// PostgreSQL remembers where the record starts. Behind that it goes on across pages, each of which
// has a header of its own.
XLogRecPtr EndOfLastRecord() {
  XLogRecPtr end = ProcLastRecPtr;
  uint64 left = MAXALIGN(LengthOfRecord(end));
  if (left == 0) return GetXLogInsertRecPtr();  // later, so rather too much is asked for
  uint64 room = XLOG_BLCKSZ - end % XLOG_BLCKSZ;
  while (left > room) {
    left -= room;
    end += room;
    const bool first = XLogSegmentOffset(end, wal_segment_size) == 0;
    const uint64 header = first ? SizeOfXLogLongPHD : SizeOfXLogShortPHD;
    end += header;
    room = XLOG_BLCKSZ - header;
  }
  return end + left;
}

}  // namespace orchestra::pg
