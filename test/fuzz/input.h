// Bytes of a fuzzer taken apart so that all bytes mean something: what is missing reads as zero.
// Seeds are written with core/codec.h's Writer: numbers as they are, a chunk by Chunk.
#pragma once
#include <algorithm>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/codec.h"

namespace orchestra::fuzz {

class Input {
 public:
  explicit Input(std::string_view bytes) : rest_(bytes) {}
  bool empty() const { return rest_.empty(); }

  template <std::integral T>
  T Take() {
    std::uint64_t sum = 0;
    const std::string_view bytes = Bytes(sizeof(T));
    for (std::size_t i = bytes.size(); i-- > 0;)
      sum = sum << 8 | static_cast<unsigned char>(bytes[i]);
    return static_cast<T>(sum);
  }
  std::uint8_t Byte() { return Take<std::uint8_t>(); }
  // One of 0 to choices - 1; choices <= 256.
  std::size_t Choose(std::size_t choices) { return Byte() % choices; }
  std::string_view Chunk() { return Bytes(Take<std::uint16_t>()); }
  std::string_view Rest() { return Bytes(rest_.size()); }

 private:
  std::string_view Bytes(std::size_t most) {
    const std::string_view taken = rest_.substr(0, most);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  std::string_view rest_;
};

inline void Chunk(Writer& out, std::string_view bytes) { out.Name(std::string(bytes), 0xFFFF); }

}  // namespace orchestra::fuzz
