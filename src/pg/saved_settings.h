// What postgresql.auto.conf said of a setting before orchestra first changed it there, in the file
// orchestra/saved_settings (mode 0600: primary_conninfo may hold a password).
//
// A base backup and pg_rewind copy it together with the postgresql.auto.conf that it belongs to, so
// that the copy gets its lines back as the original would. Only primary_conninfo is a node's own: a
// file that was written in another data directory says nothing about it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace orchestra::pg {

struct FormerLine {
  std::uint32_t before = 0;  // lines before it that orchestra never touches
  std::uint32_t index = 0;   // lines before it at all: the order of those with the same `before`
  std::string text;          // without its newline
  friend bool operator==(const FormerLine&, const FormerLine&) = default;
};

struct FormerSetting {
  std::string name;
  std::string value;              // in force then, wherever it came from
  std::vector<FormerLine> lines;  // empty: the file did not mention it
  friend bool operator==(const FormerSetting&, const FormerSetting&) = default;
};

struct SavedSettings {
  std::vector<FormerSetting> settings;
  bool open_end = false;  // the last line of postgresql.auto.conf had no newline
  // Of the vote directory where it was written: another one, another node.
  std::uint64_t inode = 0;
  std::int64_t birth_time_us = 0;
  friend bool operator==(const SavedSettings&, const SavedSettings&) = default;
};

struct SavedLook {
  SavedSettings saved;
  bool present = false;
  bool damaged = false;  // present, and it will never be readable
  std::string error;     // why it could not be read; empty: `saved` is what there is
};
// No function here raises, or throws anything but std::bad_alloc.
SavedLook ReadSaved();

// Durable when it returns "".
std::string WriteSaved(SavedSettings saved);

// The value that `name` had before orchestra first changed it, for any process of the server;
// nullopt: orchestra has not changed it, or the file cannot be read. It may hold a password.
std::optional<std::string> FormerValue(const std::string& name);

const FormerSetting* FindFormer(const SavedSettings& saved, const std::string& name);

}  // namespace orchestra::pg
