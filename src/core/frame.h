// The bytes of a frame, without its authentication (src/net adds that) (design, "Messages").
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "core/message.h"
#include "core/types.h"

namespace orchestra {

inline constexpr std::uint16_t kProtocolMin = 3;
inline constexpr std::uint16_t kProtocolMax = 3;
inline constexpr std::size_t kMaxFrameBytes = 64 * 1024;

struct FrameHeader {
  std::uint16_t protocol_min = kProtocolMin;
  std::uint16_t protocol_max = kProtocolMax;
  ClusterId cluster;
  NodeId node;  // sender; kNoNode before it is a member
  NodeId to;    // addressee; kNoNode when not known
  Incarnation incarnation;
  BootCount boot;
  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};

struct Frame {
  FrameHeader header;
  Message message;
};

// Image: magic, length of all, header, message index and payload, CRC-32C of all before.
// Little-endian.
std::string EncodeFrame(const Frame& frame);

enum class FrameError : std::uint8_t {
  kTooShort,
  kTooLong,
  kBadMagic,
  kBadVersion,
  kBadCrc,
  kBadPayload
};
const char* NameOf(FrameError error);

// `bytes` is one whole frame. Never throws, never reads outside, refuses trailing bytes and any
// list longer than its bound.
std::variant<Frame, FrameError> DecodeFrame(std::string_view bytes);

}  // namespace orchestra
