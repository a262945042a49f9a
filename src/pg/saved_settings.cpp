#include "pg/saved_settings.h"

#include <algorithm>

#include "core/codec.h"
#include "pg/storage.h"

namespace orchestra::pg {

void Fields(auto& io, Of<FormerLine> auto& v);
void Fields(auto& io, Of<FormerSetting> auto& v);

namespace {

constexpr std::string_view kMagic = "ORCHSET1";  // with the number of its format
constexpr std::size_t kMaxText = 0xFFFF;
constexpr std::size_t kMaxLines = 1000;
constexpr const char* kConninfo = "primary_conninfo";

std::string Damage(const std::string& bytes, SavedSettings* saved) {
  if (!bytes.starts_with(kMagic)) return "it does not begin with " + std::string(kMagic);
  const auto unsealed = Unseal(bytes);
  if (!unsealed) return "its checksum does not match its content";
  auto decoded = Decode<SavedSettings>(unsealed->substr(kMagic.size()));
  if (!decoded) return "its content is malformed";
  *saved = *std::move(decoded);
  return "";
}

}  // namespace

void Fields(auto& io, Of<FormerLine> auto& v) {
  io(v.before);
  io(v.index);
  io.Name(v.text, kMaxText);
}
void Fields(auto& io, Of<FormerSetting> auto& v) {
  io.Name(v.name, kMaxText);
  io.Name(v.value, kMaxText);
  io.List(v.lines, kMaxLines);
}
void Fields(auto& io, Of<SavedSettings> auto& v) {
  io.List(v.settings, kMaxLines);
  io(v.open_end);
  io(v.inode);
  io(v.birth_time_us);
}

SavedLook ReadSaved() {
  SavedLook look;
  std::string bytes;
  look.error = ReadSavedFile(&look.present, &bytes);
  if (!look.error.empty() || !look.present) return look;
  if (const std::string damage = Damage(bytes, &look.saved); !damage.empty()) {
    look.damaged = true;
    look.error = "the file orchestra/saved_settings is damaged (" + damage +
                 "): set synchronous_standby_names and primary_conninfo by hand, then remove it";
    return look;
  }
  const Surroundings here = ReadSurroundings();
  if (look.saved.inode != here.inode || look.saved.birth_time_us != here.birth_time_us)
    std::erase_if(look.saved.settings,
                  [](const FormerSetting& setting) { return setting.name == kConninfo; });
  return look;
}

std::string WriteSaved(SavedSettings saved) {
  const Surroundings here = ReadSurroundings();
  saved.inode = here.inode;
  saved.birth_time_us = here.birth_time_us;
  std::string bytes = std::string(kMagic) + Encode(saved);
  SavedSettings again;
  bytes = Seal(std::move(bytes));
  if (!Damage(bytes, &again).empty() || again != saved)
    return "the former settings are too long to be saved";
  return WriteSavedFile(bytes);
}

std::optional<std::string> FormerValue(const std::string& name) {
  const SavedLook look = ReadSaved();
  const FormerSetting* former = FindFormer(look.saved, name);
  if (!look.error.empty() || former == nullptr) return std::nullopt;
  return former->value;
}

const FormerSetting* FindFormer(const SavedSettings& saved, const std::string& name) {
  const auto found =
      std::find_if(saved.settings.begin(), saved.settings.end(),
                   [&](const FormerSetting& setting) { return setting.name == name; });
  return found == saved.settings.end() ? nullptr : &*found;
}

}  // namespace orchestra::pg
