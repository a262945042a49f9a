#include "core/parse.h"

#include <charconv>

namespace orchestra {
namespace {

// Takes a number from the front of `text`, and then `stop` unless it is '\0'.
template <typename T>
bool Take(std::string_view& text, T& number, char stop) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (stop == '\0') return text.empty();
  if (text.empty() || text.front() != stop) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

std::optional<EpochId> EpochFromText(std::string_view text) {
  EpochId epoch;
  WriteId& write = epoch.value;
  if (!Take(text, write.ballot.round, '.') || !Take(text, write.ballot.node.value, '/') ||
      !Take(text, write.version.value, '\0')) {
    return std::nullopt;
  }
  return epoch;
}

}  // namespace orchestra
