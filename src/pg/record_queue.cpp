#include "pg/record_queue.h"

#include "pg/clock.h"
#include "pg/sql_common.h"

namespace orchestra::pg {
namespace {

std::optional<std::string> OrNull(const std::string& text) {
  return text.empty() ? std::nullopt : std::optional(text);
}

bool IsWorthRecording(const Note& note) {
  return note.kind == NoteKind::kDetected || note.kind == NoteKind::kRegisterChanged ||
         note.kind == NoteKind::kSettingRepaired || !note.recovery.empty();
}

}  // namespace

std::string TimeText(std::int64_t unix_us) {
  const std::time_t seconds = unix_us / 1000000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char day[32], text[64];
  std::strftime(day, sizeof day, "%Y-%m-%d %H:%M:%S", &parts);
  std::snprintf(text, sizeof text, "%s.%06d+00", day, static_cast<int>(unix_us % 1000000));
  return text;
}

Record RecordOf(const NumberedNote& note, const std::string& own_name, const RegisterValue& value) {
  const std::string key =
      own_name + "@" + std::to_string(note.unix_us) + "#" + std::to_string(note.sequence);
  return {"orchestra_record",
          {key, TimeText(note.unix_us), own_name, NoteName(note.note.kind), ToText(note.note.epoch),
           note.note.node == kNoNode ? std::nullopt : std::optional(NameOf(value, note.note.node)),
           note.note.reason, OrNull(note.note.next), OrNull(note.note.recovery)}};
}

Record RecordOf(const Loss& loss, const Note& note, const std::string& own_name) {
  std::vector<std::string> xids, whats, times, lsns;
  for (const LostTransaction& each : loss.first) {
    xids.push_back(std::to_string(each.xid));
    whats.push_back(each.what);
    times.push_back(TimeText(each.unix_us));
    lsns.push_back(ToText(each.lsn));
  }
  const std::string key = own_name + " lost " + ToText(loss.epoch) + " " +
                          std::to_string(loss.commits) + "+" + std::to_string(loss.others);
  return {
      "orchestra_record_loss",
      {key, TimeText(UnixMicros()), own_name, ToText(loss.epoch), note.reason, OrNull(note.next),
       ArrayText(xids), ArrayText(whats), ArrayText(times), ArrayText(lsns)}};
}

void RecordQueue::Done(const std::string& key) {
  if (!records_.empty() && records_.front().key() == key) records_.pop_front();
}

void RecordQueue::Add(Record record) {
  records_.push_back(std::move(record));
  if (records_.size() <= kMaxRecords) return;
  records_.pop_front();
  dropped_++;
}

void RecordQueue::Collect(const std::string& own_name, const RegisterValue& value) {
  for (const NumberedNote& note : ReadNotes(next_)) {
    next_ = note.sequence + 1;
    if (IsWorthRecording(note.note)) Add(RecordOf(note, own_name, value));
  }
}

}  // namespace orchestra::pg
