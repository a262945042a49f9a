#include "pg/record_queue.h"

namespace orchestra::pg {
namespace {

std::optional<std::string> OrNull(const std::string& text) {
  return text.empty() ? std::nullopt : std::optional(text);
}

// ISO 8601 in UTC, to the microsecond.
std::string TimeText(std::int64_t unix_us) {
  const std::time_t seconds = unix_us / 1000000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char day[32], text[64];
  std::strftime(day, sizeof day, "%Y-%m-%d %H:%M:%S", &parts);
  std::snprintf(text, sizeof text, "%s.%06d+00", day, static_cast<int>(unix_us % 1000000));
  return text;
}

bool IsWorthRecording(const Note& note) {
  return note.kind == NoteKind::kDetected || note.kind == NoteKind::kRegisterChanged ||
         note.kind == NoteKind::kSettingRepaired || !note.recovery.empty();
}

}  // namespace

net::PgParams RecordParams(const NumberedNote& note, const std::string& own_name,
                           const RegisterValue& value) {
  const std::string key =
      own_name + "@" + std::to_string(note.unix_us) + "#" + std::to_string(note.sequence);
  return {key,
          TimeText(note.unix_us),
          own_name,
          NoteName(note.note.kind),
          ToText(note.note.epoch),
          note.note.node == kNoNode ? std::nullopt : std::optional(NameOf(value, note.note.node)),
          note.note.reason,
          OrNull(note.note.next),
          OrNull(note.note.recovery)};
}

void RecordQueue::Done(const std::string& key) {
  if (!records_.empty() && records_.front().front() == key) records_.pop_front();
}

void RecordQueue::Collect(const std::string& own_name, const RegisterValue& value) {
  for (const NumberedNote& note : ReadNotes(next_)) {
    next_ = note.sequence + 1;
    if (!IsWorthRecording(note.note)) continue;
    records_.push_back(RecordParams(note, own_name, value));
    if (records_.size() <= kMaxRecords) continue;
    records_.pop_front();
    dropped_++;
  }
}

}  // namespace orchestra::pg
