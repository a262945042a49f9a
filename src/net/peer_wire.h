// Bytes of the peer port below the frames: handshake and authenticated records. Pure functions.
//
//   dialer:   HELLO    "orchpeer" version nonce[32] name        (in clear)
//   acceptor: WELCOME  "orchwelc" version nonce[32] MAC(secret; "welcome", HELLO, nonce)
//   dialer:   record 0, empty: proves the secret; then one record a frame
//   acceptor: records, each the number of records received so far (an acknowledgement)
//
// A record is: payload length, sequence number, payload, MAC over all that. Each direction has a
// key derived from the secret, HELLO and WELCOME's nonce, so nothing of one session or direction is
// good in another. Little-endian.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/secret.h"

namespace orchestra::net {

inline constexpr std::uint8_t kPeerVersion = 1;
inline constexpr std::size_t kNonceBytes = 32;
using Nonce = std::array<unsigned char, kNonceBytes>;

struct SessionKeys {
  Secret to_acceptor;
  Secret to_dialer;
};

enum class WireResult : std::uint8_t {
  kComplete,
  kIncomplete,  // more bytes are needed
  kGarbage,     // not this protocol
  kBadVersion,  // this protocol, another version
  kOversized,   // a record longer than allowed now
  kBadMac,      // wrong secret, altered, or of another session
  kReplayed,    // authentic, but not the record that comes next
  kUnreadable,  // authentic, but no frame that this version reads
  kFailed,      // no randomness, or the cryptographic library failed
};

// `name` is cut to kMaxNameBytes.
std::string EncodeHello(const Nonce& nonce, std::string_view name);
// On kComplete `*size` is the length of the HELLO at the start of `bytes`.
WireResult ParseHello(std::string_view bytes, std::size_t* size, std::string* name);

// nullopt: the cryptographic library failed.
std::optional<std::string> EncodeWelcome(const Secret& secret, std::string_view hello,
                                         const Nonce& nonce);
WireResult ParseWelcome(std::string_view bytes, const Secret& secret, std::string_view hello,
                        std::size_t* size, Nonce* nonce);

std::optional<SessionKeys> DeriveKeys(const Secret& secret, std::string_view hello,
                                      const Nonce& acceptor_nonce);

std::optional<std::string> EncodeRecord(const Secret& key, std::uint64_t sequence,
                                        std::string_view payload);
// The record at the start of `bytes`; `*payload` points into `bytes`.
WireResult ParseRecord(std::string_view bytes, const Secret& key, std::uint64_t expected,
                       std::size_t max_payload, std::size_t* size, std::string_view* payload);

// Payload of an acknowledgement.
std::string EncodeCount(std::uint64_t count);
std::optional<std::uint64_t> DecodeCount(std::string_view payload);

}  // namespace orchestra::net
