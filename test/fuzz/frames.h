// Frames with and without what a fuzzer cannot guess: length and checksum.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "core/codec.h"
#include "core/frame.h"
#include "unit/samples.h"

namespace orchestra::fuzz {

inline constexpr std::size_t kMagicBytes = 4, kLengthBytes = 4, kChecksumBytes = 4;

// Header and message of an encoded frame.
inline std::string BodyOf(const std::string& image) {
  constexpr std::size_t kBefore = kMagicBytes + kLengthBytes;
  return image.substr(kBefore, image.size() - kBefore - kChecksumBytes);
}

// `body` as a frame whose length and checksum are right.
inline std::string Framed(std::string_view body) {
  static const std::string magic = EncodeFrame({}).substr(0, kMagicBytes);
  Writer out;
  out.Raw(magic);
  out(static_cast<std::uint32_t>(kMagicBytes + kLengthBytes + body.size() + kChecksumBytes));
  out.Raw(body);
  return Seal(out.Take());
}

inline std::vector<std::string> SampleBodies() {
  std::vector<std::string> bodies;
  for (const Message& message : samples::Messages())
    bodies.push_back(BodyOf(EncodeFrame({samples::Header(), message})));
  return bodies;
}

}  // namespace orchestra::fuzz
