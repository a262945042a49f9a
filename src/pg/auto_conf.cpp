#include "pg/auto_conf.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pg/guard.h"
#include "pg/pg.h"

namespace orchestra::pg {
namespace {

constexpr std::size_t kMaxFileBytes = 1024 * 1024;
// The settings of PostgreSQL that orchestra changes, and the one that it adds.
constexpr std::array kMayChange = {"synchronous_standby_names", "primary_conninfo"};
constexpr std::string_view kOwn = "orchestra.sync_generation";
// As ALTER SYSTEM names it: base backups and pg_rewind know to leave it out.
constexpr char kTemporary[] = PG_AUTOCONF_FILENAME ".tmp";

std::string Errno(const char* what, const char* file) {
  return std::string("could not ") + what + " file \"" + file + "\": " + std::strerror(errno);
}

// A missing file is empty.
std::string ReadWhole(std::string* text) {
  const int fd = ::open(PG_AUTOCONF_FILENAME, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? "" : Errno("open", PG_AUTOCONF_FILENAME);
  char buffer[8192];
  ssize_t got = 0;
  while ((got = ::read(fd, buffer, sizeof buffer)) > 0 && text->size() <= kMaxFileBytes)
    text->append(buffer, static_cast<std::size_t>(got));
  const std::string error = got < 0 ? Errno("read", PG_AUTOCONF_FILENAME) : "";
  ::close(fd);
  if (text->size() > kMaxFileBytes) return PG_AUTOCONF_FILENAME " is too large";
  return error;
}

std::string WriteTemporary(const std::string& text) {
  const int fd = ::open(kTemporary, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, pg_file_create_mode);
  if (fd < 0) return Errno("create", kTemporary);
  errno = 0;
  const ssize_t put = ::write(fd, text.data(), text.size());
  if (put != static_cast<ssize_t>(text.size()) && errno == 0) errno = ENOSPC;
  const std::string error = errno != 0 ? Errno("write", kTemporary) : "";
  ::close(fd);
  return error;
}

// Name of the setting on a line; empty for comments and blank lines.
std::string_view NameOn(std::string_view line) {
  const std::size_t start = line.find_first_not_of(" \t");
  if (start == std::string_view::npos) return {};
  const std::size_t end = line.find_first_of(" \t=#\r\n", start);
  return line.substr(start, end == std::string_view::npos ? end : end - start);
}

bool SameName(std::string_view a, std::string_view b) {
  return a.size() == b.size() && pg_strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string Line(const std::string& name, const std::string& value) {
  std::string line = name + " = '";
  for (const char c : value) {
    if (c == '\'' || c == '\\') line += c;
    line += c;
  }
  return line + "'\n";
}

// Takes `text` apart; each line without its newline.
std::vector<std::string_view> LinesOf(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

bool HasOpenEnd(const std::string& text) { return !text.empty() && text.back() != '\n'; }

std::string Edited(const std::string& text, const Settings& settings) {
  std::string ours;
  for (const auto& [name, value] : settings) ours += Line(name, value);
  std::string edited;
  bool placed = false;
  for (const std::string_view line : LinesOf(text)) {
    const bool replaced = std::any_of(settings.begin(), settings.end(), [&](const auto& setting) {
      return SameName(setting.first, NameOn(line));
    });
    if (!replaced)
      edited += std::string(line) + '\n';
    else if (!std::exchange(placed, true))
      edited += ours;
  }
  return placed ? edited : edited + ours;
}

// ---------------------------------------------------------------- former lines

bool IsSaved(const SavedSettings& saved, std::string_view name) {
  return std::any_of(saved.settings.begin(), saved.settings.end(),
                     [&](const FormerSetting& setting) { return SameName(setting.name, name); });
}

// Lines that orchestra moves or removes: no other line's place is told by them.
bool MayMove(std::string_view line) {
  const std::string_view name = NameOn(line);
  return SameName(name, kOwn) ||
         std::any_of(kMayChange.begin(), kMayChange.end(),
                     [&](const char* each) { return SameName(name, each); });
}

FormerSetting FormerOf(const std::string& text, const std::string& name) {
  FormerSetting former{name, "", {}};
  const char* value =
      Call([&] { return GetConfigOption(name.c_str(), /*missing_ok=*/true, false); });
  if (value != nullptr) former.value = value;
  FormerLine place;
  for (const std::string_view line : LinesOf(text)) {
    if (SameName(name, NameOn(line))) {
      former.lines.push_back(place);
      former.lines.back().text = line;
    }
    place.index++;
    if (!MayMove(line)) place.before++;
  }
  return former;
}

std::vector<FormerLine> AllLines(const SavedSettings& saved) {
  std::vector<FormerLine> lines;
  for (const FormerSetting& setting : saved.settings)
    lines.insert(lines.end(), setting.lines.begin(), setting.lines.end());
  std::stable_sort(lines.begin(), lines.end(), [](const FormerLine& a, const FormerLine& b) {
    return std::pair(a.before, a.index) < std::pair(b.before, b.index);
  });
  return lines;
}

std::string Restored(const std::string& text, const SavedSettings& saved) {
  const std::vector<FormerLine> former = AllLines(saved);
  auto next = former.begin();
  FormerLine here;
  std::string restored;
  auto put = [&](std::string_view line) {
    restored += line;
    restored += '\n';
    here.index++;
  };
  for (const std::string_view line : LinesOf(text)) {
    const std::string_view name = NameOn(line);
    if (SameName(name, kOwn) || IsSaved(saved, name)) continue;
    // Beside another line that may move, only the order tells.
    const bool moves = MayMove(line);
    for (; next != former.end() && next->before <= here.before; ++next) {
      if (moves && next->before == here.before && next->index > here.index) break;
      put(next->text);
    }
    put(line);
    if (!moves) here.before++;
  }
  for (; next != former.end(); ++next) put(next->text);
  if (saved.open_end && !restored.empty()) restored.pop_back();
  return restored;
}

// Saves the lines of `settings` that were not saved before.
std::string SaveFormer(const std::string& text, const Settings& settings) {
  SavedLook look = ReadSaved();
  if (look.damaged) {  // it stays as it is, for people; the cluster must go on
    LogLine(WARNING, "orchestra: " + look.error);
    return "";
  }
  if (!look.error.empty()) return look.error;
  // Places are those of the file without anything of orchestra's.
  const std::string original = Restored(text, look.saved);
  bool fresh = false;
  for (const auto& [name, value] : settings) {
    if (name == kOwn || IsSaved(look.saved, name)) continue;
    look.saved.settings.push_back(FormerOf(original, name));
    fresh = true;
  }
  if (!fresh) return "";
  if (!look.present) look.saved.open_end = HasOpenEnd(text);
  return WriteSaved(std::move(look.saved));
}

// ---------------------------------------------------------------- the file

std::string Replace(const std::string& text) {
  std::string error = WriteTemporary(text);
  if (!error.empty()) {
    ::unlink(kTemporary);
    return error;
  }
  // Syncs the temporary file before, and the directory after.
  if (Call([] { return durable_rename(kTemporary, PG_AUTOCONF_FILENAME, LOG); }) != 0)
    return Errno("rename", kTemporary);
  return "";
}

EditResult EditLocked(const Settings& settings) {
  for (const auto& [name, value] : settings)
    if (value.find_first_of(std::string_view("\n\r\0", 3)) != std::string::npos)
      return {false, "a line break in the value of " + name};
  std::string text;
  if (std::string error = ReadWhole(&text); !error.empty()) return {false, std::move(error)};
  const std::string edited = Edited(text, settings);
  if (edited == text) return {};
  std::string error = SaveFormer(text, settings);
  if (error.empty()) error = Replace(edited);
  return {error.empty(), std::move(error)};
}

EditResult RestoreLocked(const SavedSettings& saved) {
  std::string text;
  if (std::string error = ReadWhole(&text); !error.empty()) return {false, std::move(error)};
  const std::string restored = Restored(text, saved);
  if (restored == text) return {};
  std::string error = Replace(restored);
  return {error.empty(), std::move(error)};
}

template <typename Edit>
EditResult Locked(Edit edit) {
  try {
    if (!Call([] { return LWLockConditionalAcquire(AutoFileLock, LW_EXCLUSIVE); }))
      return {false, PG_AUTOCONF_FILENAME " is being changed by another session"};
    EditResult result;
    try {
      result = edit();
    } catch (const std::exception& e) {
      result = {false, e.what()};
    }
    LWLockRelease(AutoFileLock);
    return result;
  } catch (const std::exception& e) {
    return {false, e.what()};
  }
}

}  // namespace

EditResult EditAutoConf(const Settings& settings) {
  return Locked([&] { return EditLocked(settings); });
}

EditResult RestoreAutoConf(const SavedSettings& saved) {
  return Locked([&] { return RestoreLocked(saved); });
}

}  // namespace orchestra::pg
