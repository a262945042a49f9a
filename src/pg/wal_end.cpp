#include "pg/wal_end.h"

#include <unistd.h>

#include "pg/guard.h"
#include "pg/observe.h"
#include "pg/pg.h"
#include "pg/shared.h"
#include "pg/wal_files.h"

namespace orchestra::pg {
namespace {

using Clock = std::chrono::steady_clock;

constexpr Clock::duration kFlushPatience = std::chrono::seconds(2);
constexpr XLogRecPtr kMaxStepBack = 64 * 1024 * 1024;

// The opposite: nothing but a page header lies before `start`.
XLogRecPtr RecordEnd(XLogRecPtr start) {
  const XLogRecPtr page = start - start % XLOG_BLCKSZ;
  return start - page <= HeaderSize(page) ? page : start;
}

// First byte behind `length` bytes of record that begin at `start`, page headers counted.
XLogRecPtr Advance(XLogRecPtr start, uint64 length) {
  XLogRecPtr at = RecordStart(start);
  for (;;) {
    const uint64 room = XLOG_BLCKSZ - at % XLOG_BLCKSZ;
    if (length <= room) return at + length;
    length -= room;
    at = RecordStart(at + room);
  }
}

// ---------------------------------------------------------------- reading one line

// Where to begin, and what proves that the records read are those that were written: the segment
// may be a recycled one, full of old records that look valid.
struct Anchor {
  XLogRecPtr from = 0;        // all before is known to be held (replayed, or before redo)
  XLogRecPtr redo = 0;        // of the last checkpoint in pg_control
  XLogRecPtr checkpoint = 0;  // record that lies at or after redo
};

// Reads the records of one line from the anchor to the end.
class LineReader {
 public:
  LineReader(std::vector<WalSpan> line, const Anchor& anchor, uint64 system_identifier)
      : files_(std::move(line)), anchor_(anchor), end_(anchor.from) {
    context_ = Call([] {
      return AllocSetContextCreate(TopMemoryContext, "orchestra end of WAL",
                                   ALLOCSET_DEFAULT_SIZES);
    });
    try {
      In([&] { Begin(system_identifier); });
    } catch (...) {
      Release();
      throw;
    }
  }
  ~LineReader() { Release(); }
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // True: at the end.
  bool Read(Clock::time_point until) {
    In([&] { ReadUntil(until); });
    return done_;
  }
  XLogRecPtr end() const { return end_; }
  bool anchored() const { return anchored_; }
  WalFiles& files() { return files_; }

  // Whether `acknowledged` bytes are held: a receiver acknowledges halves of records too, so it may
  // lie inside of the record that is cut off at the end, but not behind it.
  bool Covers(XLogRecPtr acknowledged);

 private:
  template <typename Body>
  void In(Body&& body) {
    Call([&] {
      const MemoryContext before = MemoryContextSwitchTo(context_);
      body();
      MemoryContextSwitchTo(before);
    });
  }
  void Begin(uint64 system_identifier);
  XLogRecPtr FindStart();
  void ReadUntil(Clock::time_point until);
  void TakeRecord();
  bool ReadRaw(XLogRecPtr position, char* to, std::size_t length);
  void Release() {
    if (context_ != nullptr) MemoryContextDelete(context_);  // the reader lives in it
    context_ = nullptr;
  }

  WalFiles files_;
  const Anchor anchor_;
  XLogRecPtr end_;
  XLogRecPtr last_ = 0;  // start of the last record
  bool anchored_ = false;
  bool done_ = false;
  MemoryContext context_ = nullptr;
  XLogReaderState* reader_ = nullptr;
};

void LineReader::Begin(uint64 system_identifier) {
  reader_ = ReaderOf(&files_, system_identifier);
  XLogBeginRead(reader_, RecordStart(FindStart()));
}

// The start of a record before `from`, so that the chain of records passes it.
XLogRecPtr LineReader::FindStart() {
  if (anchor_.from <= anchor_.redo) return anchor_.redo;
  const XLogRecPtr page = (anchor_.from - 1) / XLOG_BLCKSZ * XLOG_BLCKSZ;
  for (XLogRecPtr back = XLOG_BLCKSZ; back <= kMaxStepBack && back < page; back *= 4) {
    const XLogRecPtr found = compat::FindRecord(reader_, page - back);
    if (found != InvalidXLogRecPtr && found < anchor_.from) return found;
  }
  return anchor_.redo;
}

void LineReader::ReadUntil(Clock::time_point until) {
  for (int n = 1; !done_; n++) {
    char* error = nullptr;
    if (XLogReadRecord(reader_, &error) == nullptr)
      done_ = true;
    else
      TakeRecord();
    if (n % 16 == 0 && Clock::now() >= until) return;
  }
}

void LineReader::TakeRecord() {
  const WalSpan& span = files_.span();
  if (span.end != 0 && reader_->EndRecPtr > span.end) {
    done_ = true;  // written by an older timeline after this line had left it
    return;
  }
  last_ = reader_->ReadRecPtr;
  if (reader_->EndRecPtr >= end_) end_ = reader_->EndRecPtr;
  anchored_ = anchored_ || reader_->EndRecPtr == anchor_.from ||
              (anchor_.from <= anchor_.redo && last_ == anchor_.checkpoint);
}

bool LineReader::ReadRaw(XLogRecPtr position, char* to, std::size_t length) {
  std::vector<char> page(XLOG_BLCKSZ);
  for (XLogRecPtr at = RecordStart(position); length > 0; at = RecordStart(at)) {
    if (!files_.ReadPage(at, page.data())) return false;
    const std::size_t offset = at % XLOG_BLCKSZ;
    const std::size_t part = std::min(length, page.size() - offset);
    std::memcpy(to, page.data() + offset, part);
    to += part;
    length -= part;
    at += part;
  }
  return true;
}

bool LineReader::Covers(XLogRecPtr acknowledged) {
  if (acknowledged <= end_) return true;
  if (acknowledged < Advance(end_, SizeOfXLogRecord)) return true;
  XLogRecord header;
  if (!ReadRaw(end_, reinterpret_cast<char*>(&header), SizeOfXLogRecord)) return false;
  return header.xl_prev == last_ && acknowledged < Advance(end_, header.xl_tot_len);
}

std::vector<TimelineEnd> Newest(std::vector<TimelineEnd> history) {
  if (history.size() > kMaxHistory)
    history.erase(history.begin(), history.end() - static_cast<std::ptrdiff_t>(kMaxHistory));
  return history;
}

}  // namespace

// ---------------------------------------------------------------- the scan

struct WalEndReader::Scan {
  const Clock::time_point began = Clock::now();
  // Out of recovery.
  XLogRecPtr insert = 0;
  Clock::time_point flush_deadline{};

  // In recovery: lines to try, the most promising last.
  bool prepared = false;
  TimeLineID replaying = 0;
  Anchor anchor;
  XLogRecPtr minimum = 0;  // recovery must get there to be consistent
  uint64 system_identifier = 0;
  std::vector<TimeLineID> candidates;
  TimeLineID timeline = 0;  // that is being read
  std::vector<TimelineEnd> history;
  std::unique_ptr<LineReader> reader;
  bool read = false;
  int synced = 0;  // segments

  std::optional<WalPosition> Step(Micros budget);
  std::optional<WalPosition> StepPrimary();
  std::optional<WalPosition> StepStandby(Micros budget);
  bool Prepare();
  bool NextLine();
  bool LineIsHeld() const;
  WalPosition Result();
  std::string Effort(const WalPosition& position) const;
};

// False: not known yet.
bool WalEndReader::Scan::Prepare() {
  bool valid = false;
  ControlFileData control;
  Call([&] {
    ControlFileData* data = get_controlfile(".", &valid);
    control = *data;
    pfree(data);
  });
  if (!valid) return false;  // read while it was written
  anchor.redo = control.checkPointCopy.redo;
  anchor.checkpoint = control.checkPoint;
  minimum = control.minRecoveryPoint;
  system_identifier = control.system_identifier;
  anchor.from = GetXLogReplayRecPtr(&replaying);
  if (anchor.from == InvalidXLogRecPtr) {
    if (::access(BACKUP_LABEL_FILE, F_OK) == 0) return false;  // pg_control does not say
    anchor.from = anchor.redo;
    replaying = control.checkPointCopy.ThisTimeLineID;
  }
  anchor.from = RecordEnd(anchor.from);
  const auto on_disk = TimelinesOnDisk();
  if (!on_disk) return false;
  candidates = {replaying};
  for (const TimeLineID other : *on_disk)
    if (other > replaying) candidates.push_back(other);
  return true;
}

// Begins to read the next candidate whose line holds what was replayed. False: none is left.
bool WalEndReader::Scan::NextLine() {
  while (!candidates.empty()) {
    timeline = candidates.back();
    candidates.pop_back();
    auto ancestors = ReadHistory(timeline);
    if (!ancestors) continue;
    const auto line = LineOf(timeline, *ancestors);
    const bool ours = std::any_of(line.begin(), line.end(), [&](const WalSpan& span) {
      return span.timeline == replaying && (span.end == 0 || span.end >= anchor.from);
    });
    if (!ours) continue;
    history = std::move(*ancestors);
    reader = std::make_unique<LineReader>(line, anchor, system_identifier);
    read = false;
    return true;
  }
  return false;
}

// A history file, or the first part of a segment, does not make a timeline: some record must.
bool WalEndReader::Scan::LineIsHeld() const {
  return timeline == replaying || reader->end() > history.back().end.value;
}

std::optional<WalPosition> WalEndReader::Scan::StepStandby(Micros budget) {
  if (!prepared && !(prepared = Prepare())) return std::nullopt;
  if (!reader && !NextLine()) {
    WalPosition unknown;
    unknown.timeline = TimelineId{replaying};
    unknown.end = Lsn{anchor.from};
    return unknown;
  }
  if (!read) {
    if (!reader->Read(Clock::now() + budget)) return std::nullopt;
    read = true;
    // What cannot be read may have been acknowledged, in a former life of this server too.
    if (const int error = reader->files().error(); error != 0)
      throw Fail(ERRCODE_IO_ERROR, std::string("could not read pg_wal: ") + std::strerror(error));
    if (!LineIsHeld()) reader.reset();
    return std::nullopt;
  }
  // What the receiver wrote last may not be on disk. It syncs a segment when it leaves it; the one
  // before is synced all the same, as it may have come from elsewhere.
  const XLogRecPtr end = reader->end();
  const XLogRecPtr tail = end - std::min<XLogRecPtr>(end, synced * SegmentSize());
  if (!reader->files().Sync(tail)) throw Fail(ERRCODE_IO_ERROR, "could not fsync the end of WAL");
  if (++synced < 2) return std::nullopt;
  return Result();
}

WalPosition WalEndReader::Scan::Result() {
  WalPosition position;
  position.timeline = TimelineId{timeline};
  position.end = Lsn{reader->end()};
  position.history = Newest(history);
  position.exact = reader->anchored() && minimum <= reader->end() &&
                   RecordEnd(GetXLogReplayRecPtr(nullptr)) <= reader->end() &&
                   reader->Covers(pg_atomic_read_u64(&shared->receiver.acked_lsn));
  return position;
}

std::string WalEndReader::Scan::Effort(const WalPosition& position) const {
  if (position.out_of_recovery || position.end.value < anchor.from) return "";
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began);
  return ": " + std::to_string((position.end.value - anchor.from) / 1024) + " kB in " +
         std::to_string(took.count()) + " ms";
}

// XLogFlush could wait for a frozen backend. The walwriter does it as well, when told how far.
std::optional<WalPosition> WalEndReader::Scan::StepPrimary() {
  if (insert == 0) {
    insert = RecordEnd(GetXLogInsertRecPtr());
    flush_deadline = Clock::now() + kFlushPatience;
  }
  const XLogRecPtr flushed = compat::FlushedLsn();
  if (flushed < insert && Clock::now() < flush_deadline) {
    Call([&] { XLogSetAsyncXactLSN(insert); });
    return std::nullopt;
  }
  WalPosition position;
  position.timeline = TimelineId{compat::InsertTimeline()};
  // The end of a record, for whoever is fed from here. What follows has met a closed gate.
  position.end = Lsn{std::min(flushed, insert)};
  position.out_of_recovery = true;
  auto ancestors = ReadHistory(position.timeline.value);
  position.exact = flushed >= insert && ancestors.has_value();
  if (ancestors) position.history = Newest(std::move(*ancestors));
  return position;
}

std::optional<WalPosition> WalEndReader::Scan::Step(Micros budget) {
  switch (ObserveDbState()) {
    case DbState::kPrimary:
      return StepPrimary();
    case DbState::kStandby:
      return StepStandby(budget);
    default:
      return std::nullopt;
  }
}

WalEndReader::WalEndReader() = default;
WalEndReader::~WalEndReader() = default;

void WalEndReader::Start() { scan_ = std::make_unique<Scan>(); }
bool WalEndReader::running() const { return scan_ != nullptr; }

std::optional<WalPosition> WalEndReader::Step(Micros budget) {
  if (!scan_) return std::nullopt;
  try {
    std::optional<WalPosition> position = scan_->Step(budget);
    if (!position) return std::nullopt;
    effort_ = scan_->Effort(*position);
    scan_.reset();
    return position;
  } catch (const std::exception& e) {
    LogLine(LOG, std::string("orchestra: could not read the end of WAL: ") + e.what());
    WalPosition unknown;
    unknown.timeline = TimelineId{scan_->replaying};
    unknown.end = Lsn{scan_->anchor.from};
    unknown.out_of_recovery = !RecoveryInProgress();
    effort_.clear();
    scan_.reset();
    return unknown;
  }
}

}  // namespace orchestra::pg
