#include "pg/note_log.h"

#include "pg/board_io.h"
#include "pg/guard.h"

namespace orchestra::pg {

namespace {
constexpr std::size_t kMaxSeen = 128;
constexpr Micros kQuiet = std::chrono::minutes(1);

// Changes of state are always told; these may come again and again while nothing changes.
bool MayRepeat(NoteKind kind) {
  return kind == NoteKind::kDetected || kind == NoteKind::kFailoverBlocked ||
         kind == NoteKind::kCreationFailed || kind == NoteKind::kCoordinatorElected ||
         kind == NoteKind::kCoordinatorLost;
}
}  // namespace

std::string NoteLine(const Note& note, const std::string& node) {
  std::string line = std::string("orchestra: ") + NoteName(note.kind) + " node=" + node +
                     " epoch=" + ToText(note.epoch) + " reason=\"" + note.reason + "\"";
  if (!note.next.empty()) line += " next=\"" + note.next + "\"";
  return line;
}

void NoteLog::Add(const Note& note, const RegisterValue* value, const std::string& own_name,
                  Micros now) {
  PushNote(note);
  std::string node = note.node == kNoNode ? own_name
                     : value              ? NameOf(*value, note.node)
                                          : NameOf(RegisterValue{}, note.node);
  const std::string line = NoteLine(note, node);
  if (!MayRepeat(note.kind)) return LogLine(LOG, line);
  Repeat(line, line, now);
}

void NoteLog::Repeat(const std::string& key, std::string line, Micros now) {
  if (seen_.size() >= kMaxSeen && !seen_.contains(key)) seen_.clear();
  Seen& seen = seen_[key];
  if (seen.logged_at != Micros{} && now - seen.logged_at < kQuiet) {
    seen.repeats++;
    return;
  }
  if (seen.repeats > 0) line += " repeated=" + std::to_string(seen.repeats);
  seen = Seen{now, 0};
  LogLine(LOG, line);
}

}  // namespace orchestra::pg
