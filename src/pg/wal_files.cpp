#include "pg/wal_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

namespace orchestra::pg {
namespace {

constexpr std::size_t kMaxHistoryBytes = 1024 * 1024;

std::optional<std::string> ReadSmallFile(const char* path) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::string text;
  char buffer[4096];
  ssize_t got = 0;
  while ((got = ::read(fd, buffer, sizeof buffer)) > 0 && text.size() <= kMaxHistoryBytes)
    text.append(buffer, static_cast<std::size_t>(got));
  ::close(fd);
  if (got < 0 || text.size() > kMaxHistoryBytes) return std::nullopt;
  return text;
}

int ReadPageForReader(XLogReaderState* reader, XLogRecPtr page, int, XLogRecPtr, char* buffer) {
  auto* files = static_cast<WalFiles*>(reader->private_data);
  if (!files->ReadPage(page, buffer)) return -1;
  reader->seg.ws_segno = page / SegmentSize();
  reader->seg.ws_tli = files->span().timeline;
  return XLOG_BLCKSZ;
}

}  // namespace

uint64 SegmentSize() { return static_cast<uint64>(wal_segment_size); }

uint32 HeaderSize(XLogRecPtr page) {
  return page % SegmentSize() == 0 ? SizeOfXLogLongPHD : SizeOfXLogShortPHD;
}

XLogRecPtr RecordStart(XLogRecPtr end) {
  return end % XLOG_BLCKSZ == 0 ? end + HeaderSize(end) : end;
}

std::optional<std::vector<TimelineEnd>> ReadHistory(TimeLineID timeline) {
  std::vector<TimelineEnd> history;
  if (timeline == 1) return history;  // has no file
  char path[MAXPGPATH];
  TLHistoryFilePath(path, timeline);
  const std::optional<std::string> text = ReadSmallFile(path);
  if (!text) return std::nullopt;
  for (std::size_t at = 0; at < text->size();) {
    const std::size_t newline = std::min(text->find('\n', at), text->size());
    const std::string line = text->substr(at, newline - at);
    at = newline + 1;
    const std::size_t start = line.find_first_not_of(" \t\r");
    if (start == std::string::npos || line[start] == '#') continue;
    unsigned parent = 0, high = 0, low = 0;
    if (std::sscanf(line.c_str(), "%u\t%X/%X", &parent, &high, &low) != 3) return std::nullopt;
    const Lsn end{static_cast<std::uint64_t>(high) << 32 | low};
    if (parent >= timeline) return std::nullopt;
    if (!history.empty() && (parent <= history.back().timeline.value || end < history.back().end))
      return std::nullopt;
    history.push_back({TimelineId{parent}, end});
  }
  if (history.empty()) return std::nullopt;
  return history;
}

std::vector<WalSpan> LineOf(TimeLineID timeline, const std::vector<TimelineEnd>& history) {
  std::vector<WalSpan> line;
  XLogRecPtr begin = 0;
  for (const TimelineEnd& ancestor : history) {
    line.insert(line.begin(), {ancestor.timeline.value, begin, ancestor.end.value});
    begin = ancestor.end.value;
  }
  line.insert(line.begin(), {timeline, begin, 0});
  return line;
}

std::optional<std::set<TimeLineID>> TimelinesOnDisk() {
  DIR* directory = ::opendir(XLOGDIR);
  if (directory == nullptr) return std::nullopt;
  std::set<TimeLineID> found;
  while (const dirent* entry = ::readdir(directory)) {
    unsigned timeline = 0;
    if (IsXLogFileName(entry->d_name) && std::sscanf(entry->d_name, "%8X", &timeline) == 1)
      found.insert(timeline);
  }
  ::closedir(directory);
  return found;
}

void WalFiles::Close() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void WalFiles::Note(int error) noexcept {
  if (error_ == 0) error_ = error;
}

bool WalFiles::Open(XLogSegNo segment) noexcept {
  if (fd_ >= 0 && segment_ == segment) return true;
  Close();
  const uint64 size = SegmentSize();
  for (std::size_t i = 0; i < line_.size(); i++) {
    const WalSpan& span = line_[i];
    if (segment < span.begin / size) continue;
    if (span.end != 0 && segment > (span.end - 1) / size) continue;
    char path[MAXPGPATH];
    XLogFilePath(path, span.timeline, segment, wal_segment_size);
    // For writing too: some systems sync nothing else.
    fd_ = ::open(path, O_RDWR | O_CLOEXEC);
    if (fd_ < 0) {
      if (errno != ENOENT) Note(errno);
      continue;
    }
    span_ = i;
    segment_ = segment;
    return true;
  }
  return false;
}

bool WalFiles::ReadPage(XLogRecPtr position, char* page) noexcept {
  const uint64 size = SegmentSize();
  if (!Open(position / size)) return false;
  const uint64 offset = position % size / XLOG_BLCKSZ * XLOG_BLCKSZ;
  const ssize_t got = ::pread(fd_, page, XLOG_BLCKSZ, static_cast<off_t>(offset));
  if (got < 0) Note(errno);
  return got == XLOG_BLCKSZ;
}

bool WalFiles::Sync(XLogRecPtr end) noexcept {
  if (end == 0 || !Open((end - 1) / SegmentSize())) return true;
  return pg_fsync(fd_) == 0;
}

XLogReaderState* ReaderOf(WalFiles* files, uint64 system_identifier) {
  XLogReaderRoutine routine{};
  routine.page_read = ReadPageForReader;
  XLogReaderState* reader = XLogReaderAllocate(wal_segment_size, nullptr, &routine, files);
  if (reader == nullptr) ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
  reader->system_identifier = system_identifier;
  return reader;
}

}  // namespace orchestra::pg
