#include "net/peer_wire.h"

#include <algorithm>
#include <type_traits>

#include "core/register.h"

namespace orchestra::net {

namespace {

constexpr std::string_view kHelloMagic = "orchpeer";
constexpr std::string_view kWelcomeMagic = "orchwelc";
constexpr std::size_t kPrefixBytes = 8 + 1 + kNonceBytes;  // magic, version, nonce
constexpr std::size_t kRecordHead = 4 + 8;                 // length, sequence

template <typename Int>
void PutInt(std::string* out, Int value) {
  for (std::size_t i = 0; i < sizeof value; ++i)
    out->push_back(static_cast<char>(static_cast<unsigned char>(value >> (8 * i))));
}

template <typename Int>
Int GetInt(std::string_view bytes) {
  Int value = 0;
  for (std::size_t i = 0; i < sizeof value; ++i)
    value |= static_cast<Int>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  return value;
}

static_assert(std::is_same_v<Nonce, Mac>);  // so that one View serves both

std::string_view View(const Nonce& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string Prefix(std::string_view magic, const Nonce& nonce) {
  std::string out(magic);
  PutInt(&out, kPeerVersion);
  return out.append(View(nonce));
}

// Judges as early as possible, so that a stranger's first wrong byte ends it.
WireResult CheckPrefix(std::string_view bytes, std::string_view magic) {
  const std::size_t common = std::min(bytes.size(), magic.size());
  if (bytes.substr(0, common) != magic.substr(0, common)) return WireResult::kGarbage;
  if (bytes.size() <= magic.size()) return WireResult::kIncomplete;
  if (static_cast<std::uint8_t>(bytes[magic.size()]) != kPeerVersion)
    return WireResult::kBadVersion;
  return bytes.size() < kPrefixBytes ? WireResult::kIncomplete : WireResult::kComplete;
}

// What a MAC or key of the handshake is computed over; `label` says for what.
std::string Transcript(std::string_view label, std::string_view hello, const Nonce& nonce) {
  std::string out(label);
  out.push_back('\0');
  return out.append(View(nonce)).append(hello);
}

std::optional<Secret> DeriveKey(const Secret& secret, std::string_view label,
                                std::string_view hello, const Nonce& nonce) {
  Mac mac{};
  if (!ComputeMac(secret.bytes(), Transcript(label, hello, nonce), &mac)) return std::nullopt;
  return Secret(View(mac));
}

}  // namespace

std::string EncodeHello(const Nonce& nonce, std::string_view name) {
  std::string out = Prefix(kHelloMagic, nonce);
  name = name.substr(0, kMaxNameBytes);
  PutInt(&out, static_cast<std::uint8_t>(name.size()));
  return out.append(name);
}

WireResult ParseHello(std::string_view bytes, std::size_t* size, std::string* name) {
  if (WireResult result = CheckPrefix(bytes, kHelloMagic); result != WireResult::kComplete)
    return result;
  if (bytes.size() == kPrefixBytes) return WireResult::kIncomplete;
  const auto length = static_cast<std::uint8_t>(bytes[kPrefixBytes]);
  if (length > kMaxNameBytes) return WireResult::kGarbage;
  if (bytes.size() < kPrefixBytes + 1 + length) return WireResult::kIncomplete;
  *name = bytes.substr(kPrefixBytes + 1, length);
  *size = kPrefixBytes + 1 + length;
  return WireResult::kComplete;
}

std::optional<std::string> EncodeWelcome(const Secret& secret, std::string_view hello,
                                         const Nonce& nonce) {
  Mac mac{};
  if (!ComputeMac(secret.bytes(), Transcript("welcome", hello, nonce), &mac)) return std::nullopt;
  return Prefix(kWelcomeMagic, nonce).append(View(mac));
}

WireResult ParseWelcome(std::string_view bytes, const Secret& secret, std::string_view hello,
                        std::size_t* size, Nonce* nonce) {
  if (WireResult result = CheckPrefix(bytes, kWelcomeMagic); result != WireResult::kComplete)
    return result;
  if (bytes.size() < kPrefixBytes + kMacBytes) return WireResult::kIncomplete;
  const std::string_view sent = bytes.substr(kPrefixBytes - kNonceBytes, kNonceBytes);
  std::copy(sent.begin(), sent.end(), nonce->begin());
  *size = kPrefixBytes + kMacBytes;
  return CheckMac(secret.bytes(), Transcript("welcome", hello, *nonce),
                  bytes.substr(kPrefixBytes, kMacBytes))
             ? WireResult::kComplete
             : WireResult::kBadMac;
}

std::optional<SessionKeys> DeriveKeys(const Secret& secret, std::string_view hello,
                                      const Nonce& acceptor_nonce) {
  auto to_acceptor = DeriveKey(secret, "dialer to acceptor", hello, acceptor_nonce);
  auto to_dialer = DeriveKey(secret, "acceptor to dialer", hello, acceptor_nonce);
  if (!to_acceptor || !to_dialer) return std::nullopt;
  return SessionKeys{std::move(*to_acceptor), std::move(*to_dialer)};
}

std::optional<std::string> EncodeRecord(const Secret& key, std::uint64_t sequence,
                                        std::string_view payload) {
  std::string out;
  out.reserve(kRecordHead + payload.size() + kMacBytes);
  PutInt(&out, static_cast<std::uint32_t>(payload.size()));
  PutInt(&out, sequence);
  out.append(payload);
  Mac mac{};
  if (!ComputeMac(key.bytes(), out, &mac)) return std::nullopt;
  return out.append(View(mac));
}

WireResult ParseRecord(std::string_view bytes, const Secret& key, std::uint64_t expected,
                       std::size_t max_payload, std::size_t* size, std::string_view* payload) {
  if (bytes.size() < 4) return WireResult::kIncomplete;
  const std::size_t length = GetInt<std::uint32_t>(bytes);
  if (length > max_payload) return WireResult::kOversized;
  const std::size_t covered = kRecordHead + length;
  if (bytes.size() < covered + kMacBytes) return WireResult::kIncomplete;
  if (!CheckMac(key.bytes(), bytes.substr(0, covered), bytes.substr(covered, kMacBytes)))
    return WireResult::kBadMac;
  if (GetInt<std::uint64_t>(bytes.substr(4)) != expected) return WireResult::kReplayed;
  *payload = bytes.substr(kRecordHead, length);
  *size = covered + kMacBytes;
  return WireResult::kComplete;
}

std::string EncodeCount(std::uint64_t count) {
  std::string out;
  PutInt(&out, count);
  return out;
}

std::optional<std::uint64_t> DecodeCount(std::string_view payload) {
  if (payload.size() != sizeof(std::uint64_t)) return std::nullopt;
  return GetInt<std::uint64_t>(payload);
}

}  // namespace orchestra::net
