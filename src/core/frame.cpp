#include "core/frame.h"

#include "core/fields.h"

namespace orchestra {
namespace {

constexpr std::string_view kMagic = "ORCF";
constexpr std::size_t kPrefixBytes = kMagic.size() + sizeof(std::uint32_t);  // magic, length
constexpr std::size_t kSmallest = kPrefixBytes + sizeof(std::uint32_t);      // and the CRC

bool Understood(const FrameHeader& header) {
  return header.protocol_min <= header.protocol_max && header.protocol_min <= kProtocolMax &&
         header.protocol_max >= kProtocolMin;
}

}  // namespace

std::string EncodeFrame(const Frame& frame) {
  Writer body;
  body(frame.header);
  body.Choice(frame.message);
  Writer out;
  out.Raw(kMagic);
  out(static_cast<std::uint32_t>(kSmallest + body.bytes().size()));
  out.Raw(body.bytes());
  return Seal(out.Take());
}

std::variant<Frame, FrameError> DecodeFrame(std::string_view bytes) {
  if (bytes.size() < kSmallest) return FrameError::kTooShort;
  if (bytes.size() > kMaxFrameBytes) return FrameError::kTooLong;
  Reader prefix(bytes.substr(0, kPrefixBytes));
  if (prefix.Raw(kMagic.size()) != kMagic) return FrameError::kBadMagic;
  std::uint32_t length = 0;
  prefix(length);
  if (bytes.size() < length) return FrameError::kTooShort;
  if (bytes.size() > length) return FrameError::kTooLong;
  const auto unsealed = Unseal(bytes);
  if (!unsealed) return FrameError::kBadCrc;

  Reader in(unsealed->substr(kPrefixBytes));
  Frame frame;
  in(frame.header);
  if (in.ok() && !Understood(frame.header)) return FrameError::kBadVersion;
  in.Choice(frame.message);
  if (!in.Complete()) return FrameError::kBadPayload;
  return frame;
}

const char* NameOf(FrameError error) {
  switch (error) {
    case FrameError::kTooShort:
      return "too short";
    case FrameError::kTooLong:
      return "too long";
    case FrameError::kBadMagic:
      return "not a frame";
    case FrameError::kBadVersion:
      return "unknown protocol version";
    case FrameError::kBadCrc:
      return "wrong checksum";
    case FrameError::kBadPayload:
      return "malformed content";
  }
  return "unknown";
}

}  // namespace orchestra
