#include "pg/lost_wal.h"

#include "core/durable.h"
#include "pg/guard.h"
#include "pg/pg.h"
#include "pg/record_queue.h"
#include "pg/storage.h"
#include "pg/wal_files.h"

namespace orchestra::pg {
namespace {

using Clock = std::chrono::steady_clock;

constexpr Micros kSlice = std::chrono::milliseconds(20);
constexpr Micros kRest = std::chrono::milliseconds(5);
constexpr Micros kLookAgain = std::chrono::seconds(1);
constexpr std::size_t kMaxNamed = 20;
constexpr std::int64_t kPostgresEpochUs =
    std::int64_t{POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE} * USECS_PER_DAY;

// Where the lineage left the timeline on which this node wrote as primary.
struct Branch {
  EpochId epoch;
  TimelineId timeline;
  Lsn begin;
  bool quorum = false;
};

// nullopt: this node lost nothing that it was primary for, or it cannot be known yet.
std::optional<Branch> BranchOf(const Durable& durable, TimelineId timeline) {
  if (!IsFormerPrimary(durable)) return std::nullopt;
  const RegisterValue& value = *durable.committed->value;
  if (!value.active || durable.wrote_epoch >= value.epoch) return std::nullopt;
  if (!OnLineage(value, timeline, durable.wal_epoch)) return std::nullopt;
  for (std::size_t i = 0; i + 1 < value.lineage.size(); i++) {
    const Lsn begin = value.lineage[i + 1].begin;
    if (value.lineage[i].timeline != timeline || begin == Lsn{}) continue;
    return Branch{durable.wrote_epoch, timeline, begin, value.durability == Durability::kQuorum};
  }
  return std::nullopt;
}

std::optional<Branch> FindBranch() {
  const Surroundings files = ReadSurroundings();
  if (!files.vote_present || !files.read_error.empty()) return std::nullopt;
  const auto decoded = DecodeDurable(files.vote_bytes);
  const Durable* durable = std::get_if<Durable>(&decoded);
  if (durable == nullptr) return std::nullopt;
  return BranchOf(*durable, TimelineId{compat::InsertTimeline()});
}

// The records carry the lower half only.
std::uint64_t FullXid(TransactionId xid) {
  const std::uint64_t next = U64FromFullTransactionId(ReadNextFullTransactionId());
  const std::uint64_t same_epoch = (next >> 32 << 32) | xid;
  return same_epoch < next ? same_epoch : same_epoch - (std::uint64_t{1} << 32);
}

struct Found {
  const char* what = nullptr;  // nullptr: nothing that a client may have been told of
  bool commit = false;
  TransactionId xid = 0;
  TimestampTz at = 0;
};

Found Look(XLogReaderState* reader) {
  Found found;
  if (XLogRecGetRmid(reader) != RM_XACT_ID) return found;
  const uint8 info = XLogRecGetInfo(reader);
  char* data = XLogRecGetData(reader);
  const uint8 kind = info & XLOG_XACT_OPMASK;
  if (kind == XLOG_XACT_COMMIT || kind == XLOG_XACT_COMMIT_PREPARED) {
    xl_xact_parsed_commit parsed;
    ParseCommitRecord(info, reinterpret_cast<xl_xact_commit*>(data), &parsed);
    const bool prepared = kind == XLOG_XACT_COMMIT_PREPARED;
    found = {prepared ? "commit prepared" : "commit", true,
             prepared ? parsed.twophase_xid : XLogRecGetXid(reader), parsed.xact_time};
  } else if (kind == XLOG_XACT_ABORT_PREPARED) {
    xl_xact_parsed_abort parsed;
    ParseAbortRecord(info, reinterpret_cast<xl_xact_abort*>(data), &parsed);
    found = {"rollback prepared", false, parsed.twophase_xid, parsed.xact_time};
  } else if (kind == XLOG_XACT_PREPARE) {
    const auto* prepare = reinterpret_cast<xl_xact_prepare*>(data);
    found = {"prepare", false, prepare->xid, prepare->prepared_at};
  }
  return found;
}

}  // namespace

// ---------------------------------------------------------------- reading

class LostWal::Reading {
 public:
  explicit Reading(const Branch& branch, const std::vector<TimelineEnd>& history)
      : files_(LineOf(branch.timeline.value, history)), next_(branch.begin.value) {
    loss_.epoch = branch.epoch;
    loss_.quorum = branch.quorum;
    loss_.timeline = branch.timeline;
    loss_.begin = branch.begin;
    loss_.first.reserve(kMaxLostListed);  // nothing may throw while the backend reads
    context_ = Call([] {
      return AllocSetContextCreate(TopMemoryContext, "orchestra loss", ALLOCSET_DEFAULT_SIZES);
    });
  }
  ~Reading() {
    if (context_ != nullptr) MemoryContextDelete(context_);  // the reader lives in it
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

  // False: there is more to read.
  bool Read(Clock::time_point until) {
    const XLogRecPtr before = next_;
    loss_.end = std::max(loss_.begin, Lsn{compat::FlushedLsn()});
    bool stopped = false;
    Call([&] {
      const MemoryContext outside = MemoryContextSwitchTo(context_);
      stopped = ReadUntil(until);
      MemoryContextSwitchTo(outside);
    });
    loss_.read = std::min(Lsn{next_}, loss_.end);
    if (RecordStart(next_) >= loss_.end.value) loss_.read = loss_.end;
    // The flush may end inside of a record, whose rest follows in a moment.
    const bool stuck = stopped && next_ == before && loss_.read < loss_.end;
    stuck_ = stuck ? stuck_ + 1 : 0;
    return loss_.read == loss_.end || stuck_ > 1;
  }
  bool waits() const { return stuck_ > 0; }

  // What was found, if it was not told yet.
  std::optional<Loss> Tell() {
    const std::uint64_t found = loss_.commits + loss_.others;
    if (told_ && *told_ == found) return std::nullopt;
    told_ = found;
    return loss_;
  }

 private:
  bool ReadUntil(Clock::time_point until);
  void TakeRecord();

  WalFiles files_;
  XLogRecPtr next_;
  Loss loss_;
  int stuck_ = 0;
  std::optional<std::uint64_t> told_;
  MemoryContext context_ = nullptr;
  XLogReaderState* reader_ = nullptr;
};

// True: no record follows, or none that is flushed.
bool LostWal::Reading::ReadUntil(Clock::time_point until) {
  if (RecordStart(next_) >= loss_.end.value) return true;
  if (reader_ == nullptr) reader_ = ReaderOf(&files_, GetSystemIdentifier());
  XLogBeginRead(reader_, RecordStart(next_));
  for (int n = 1;; n++) {
    char* error = nullptr;
    if (XLogReadRecord(reader_, &error) == nullptr) return true;
    if (reader_->EndRecPtr > loss_.end.value) return true;
    TakeRecord();
    next_ = reader_->EndRecPtr;
    if (n % 16 == 0 && Clock::now() >= until) return false;
  }
}

void LostWal::Reading::TakeRecord() {
  const Found found = Look(reader_);
  if (found.what == nullptr) return;
  (found.commit ? loss_.commits : loss_.others)++;
  if (loss_.first.size() < kMaxLostListed)
    loss_.first.push_back(
        {FullXid(found.xid), found.what, found.at + kPostgresEpochUs, Lsn{reader_->ReadRecPtr}});
}

// ---------------------------------------------------------------- the turns

LostWal::LostWal() = default;
LostWal::~LostWal() = default;
LostWal::LostWal(LostWal&&) noexcept = default;
LostWal& LostWal::operator=(LostWal&&) noexcept = default;

std::optional<Loss> LostWal::Turn(Micros now) {
  if (now < next_at_) return std::nullopt;
  next_at_ = now + kLookAgain;
  try {
    if (!reading_) {
      const std::optional<Branch> branch = FindBranch();
      if (!branch) return std::nullopt;
      const auto history = ReadHistory(branch->timeline.value);
      if (!history) return std::nullopt;
      reading_ = std::make_unique<Reading>(*branch, *history);
    }
    if (reading_->Read(Clock::now() + kSlice)) return reading_->Tell();
    if (!reading_->waits()) next_at_ = now + kRest;
  } catch (const std::exception& e) {
    LogLine(LOG, std::string("orchestra: could not read what was lost: ") + e.what());
    reading_.reset();
    next_at_ = now + std::chrono::minutes(1);
  }
  return std::nullopt;
}

// ---------------------------------------------------------------- texts

namespace {

std::string Named(const Loss& loss) {
  std::string text;
  const std::size_t named = std::min(loss.first.size(), kMaxNamed);
  for (std::size_t i = 0; i < named; i++) {
    const LostTransaction& t = loss.first[i];
    text += (i == 0 ? "; " : ", ") + std::to_string(t.xid) + " (" + t.what + " " +
            TimeText(t.unix_us) + ", " + ToText(t.lsn) + ")";
  }
  const std::uint64_t more = loss.commits + loss.others - named;
  return more > 0 ? text + " and " + std::to_string(more) + " more" : text;
}

}  // namespace

Note LossNote(const Loss& loss, NodeId self) {
  std::string reason = std::to_string(loss.end.value - loss.begin.value) +
                       " bytes of WAL here alone, timeline " + std::to_string(loss.timeline.value) +
                       " from " + ToText(loss.begin) + " to " + ToText(loss.end);
  if (loss.read < loss.end) reason += ", which cannot be read from " + ToText(loss.read) + " on";
  reason += "; commits: " + std::to_string(loss.commits);
  if (loss.others > 0) reason += "; PREPARE or ROLLBACK PREPARED: " + std::to_string(loss.others);
  reason += Named(loss);
  std::string next;
  if (loss.commits + loss.others > 0)
    next = loss.quorum ? "nothing: in durability quorum no client was told of them, unless the "
                         "recovery says that data loss was accepted or k was 0"
                       : "clients may have been told of them: save what is missed before this node "
                         "is made anew";
  return {NoteKind::kLossMeasured, loss.epoch, self, reason, next, ToText(loss.epoch)};
}

}  // namespace orchestra::pg
