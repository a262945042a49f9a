// Segments and timeline history files in pg_wal, read without any help of the backend that could
// raise FATAL or ask the archive.
#pragma once
#include <optional>
#include <set>
#include <vector>

#include "core/status.h"
#include "pg/pg.h"

namespace orchestra::pg {

uint64 SegmentSize();
uint32 HeaderSize(XLogRecPtr page);
// Where a record that follows `end` starts: behind the header if a page begins there.
XLogRecPtr RecordStart(XLogRecPtr end);

// Part of a timeline's line: WAL in [begin, end) is of `timeline`.
struct WalSpan {
  TimeLineID timeline;
  XLogRecPtr begin;
  XLogRecPtr end;  // 0: open
};

// Ancestors of `timeline`, oldest first, as its history file says. nullopt: no readable file.
std::optional<std::vector<TimelineEnd>> ReadHistory(TimeLineID timeline);

// The line that leads to `timeline`, newest span first.
std::vector<WalSpan> LineOf(TimeLineID timeline, const std::vector<TimelineEnd>& history);

// Timelines that have at least one segment file. nullopt: the directory could not be read.
std::optional<std::set<TimeLineID>> TimelinesOnDisk();

// Reads pages of a line; of a segment that exists on several timelines the newest counts, as in
// recovery. Owns one descriptor.
class WalFiles {
 public:
  explicit WalFiles(std::vector<WalSpan> line) : line_(std::move(line)) {}
  ~WalFiles() { Close(); }
  WalFiles(const WalFiles&) = delete;
  WalFiles& operator=(const WalFiles&) = delete;

  // The page that holds `position`, whole. No exception, no ERROR: also called by an XLogReader.
  bool ReadPage(XLogRecPtr position, char* page) noexcept;
  const WalSpan& span() const { return line_[span_]; }  // whose file the last page came from
  // errno of the first file that is there and could not be read; 0: none.
  int error() const { return error_; }
  // fsync of the segment that ends at or holds `end`; true if there is none.
  bool Sync(XLogRecPtr end) noexcept;

 private:
  bool Open(XLogSegNo segment) noexcept;
  void Close() noexcept;
  void Note(int error) noexcept;
  std::vector<WalSpan> line_;
  std::size_t span_ = 0;
  XLogSegNo segment_ = 0;
  int fd_ = -1;
  int error_ = 0;
};

// Reads records of them. Raises an ERROR when out of memory; lives in the current memory context,
// and no longer than `files`.
XLogReaderState* ReaderOf(WalFiles* files, uint64 system_identifier);

}  // namespace orchestra::pg
