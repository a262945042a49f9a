// What a walsender says and a WAL receiver answers, as far as orchestra looks into it: numbers are
// in network order, behind one letter.
#pragma once
#include <cstdint>

namespace orchestra::pg {

inline std::uint64_t NumberAt(const char* bytes) {
  std::uint64_t number = 0;
  for (int i = 0; i < 8; i++) number = number << 8 | static_cast<unsigned char>(bytes[i]);
  return number;
}

// How much of a message, of `length` > 0, may be handed to a receiver that takes no WAL from `upto`
// on; 0: nothing of it. WAL comes as 'w', its start, the sender's end, the time, and the bytes.
inline int LengthUpTo(std::uint64_t upto, const char* message, int length) {
  constexpr int kHeader = 1 + 3 * 8;
  if (message[0] != 'w' || length <= kHeader) return length;
  const std::uint64_t start = NumberAt(message + 1);
  if (start >= upto) return 0;
  const std::uint64_t room = upto - start;
  const auto bytes = static_cast<std::uint64_t>(length - kHeader);
  return bytes <= room ? length : kHeader + static_cast<int>(room);
}

}  // namespace orchestra::pg
