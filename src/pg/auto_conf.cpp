#include "pg/auto_conf.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pg/guard.h"
#include "pg/pg.h"

namespace orchestra::pg {
namespace {

constexpr std::size_t kMaxFileBytes = 1024 * 1024;
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

std::string Edited(const std::string& text, const Settings& settings) {
  std::string ours;
  for (const auto& [name, value] : settings) ours += Line(name, value);
  std::string edited;
  bool placed = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t newline = text.find('\n', at);
    const std::size_t end = newline == std::string::npos ? text.size() : newline + 1;
    const std::string_view line = std::string_view(text).substr(at, end - at);
    at = end;
    const bool replaced = std::any_of(settings.begin(), settings.end(), [&](const auto& setting) {
      return SameName(setting.first, NameOn(line));
    });
    if (!replaced) {
      edited += line;
      if (edited.back() != '\n') edited += '\n';
    } else if (!std::exchange(placed, true)) {
      edited += ours;
    }
  }
  return placed ? edited : edited + ours;
}

EditResult EditLocked(const Settings& settings) {
  for (const auto& [name, value] : settings)
    if (value.find_first_of(std::string_view("\n\r\0", 3)) != std::string::npos)
      return {false, "a line break in the value of " + name};
  std::string text;
  if (std::string error = ReadWhole(&text); !error.empty()) return {false, std::move(error)};
  const std::string edited = Edited(text, settings);
  if (edited == text) return {};
  if (std::string error = WriteTemporary(edited); !error.empty()) {
    ::unlink(kTemporary);
    return {false, std::move(error)};
  }
  // Syncs the temporary file before, and the directory after.
  if (Call([] { return durable_rename(kTemporary, PG_AUTOCONF_FILENAME, LOG); }) != 0)
    return {false, Errno("rename", kTemporary)};
  return {true, ""};
}

}  // namespace

EditResult EditAutoConf(const Settings& settings) {
  try {
    if (!Call([] { return LWLockConditionalAcquire(AutoFileLock, LW_EXCLUSIVE); }))
      return {false, PG_AUTOCONF_FILENAME " is being changed by another session"};
    EditResult result;
    try {
      result = EditLocked(settings);
    } catch (const std::exception& e) {
      result = {false, e.what()};
    }
    LWLockRelease(AutoFileLock);
    return result;
  } catch (const std::exception& e) {
    return {false, e.what()};
  }
}

}  // namespace orchestra::pg
