#include "core/types.h"

#include <array>
#include <cinttypes>
#include <cstdio>

namespace orchestra {

std::string ToText(Lsn lsn) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%" PRIX64 "/%" PRIX64, lsn.value >> 32,
                lsn.value & 0xFFFFFFFF);
  return text.data();
}

std::string ToText(const Ballot& ballot) {
  return std::to_string(ballot.round) + "." + std::to_string(ballot.node.value);
}

std::string ToText(const WriteId& write) {
  return ToText(write.ballot) + "/" + std::to_string(write.version.value);
}

std::string ToText(const EpochId& epoch) { return ToText(epoch.value); }

}  // namespace orchestra
