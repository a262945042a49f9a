// Handshake and records of the peer port: one changed bit is enough to be refused, and no cut is
// taken for the whole.
#include "net/peer_wire.h"

#include "core/frame.h"
#include "core/register.h"
#include "fuzz/input.h"
#include "fuzz/target.h"

namespace orchestra::fuzz {
namespace {

using namespace orchestra::net;

enum Kind : std::uint8_t { kHello, kWelcome, kRecord, kCount, kKinds };

const Secret& Key() {
  static const Secret key("sixteen bytes at the least");
  return key;
}

Nonce NonceOf(Input& in) {
  Nonce nonce{};
  for (unsigned char& byte : nonce) byte = in.Byte();
  return nonce;
}

// Changes one byte, perhaps into itself. Was it changed?
bool Meddle(Input& in, std::string& bytes) {
  const std::size_t at = in.Take<std::uint16_t>() % bytes.size();
  const char change = static_cast<char>(in.Byte());
  bytes[at] = static_cast<char>(bytes[at] ^ change);
  return change != 0;
}

void CheckHello(Input& in) {
  const std::string_view bytes = in.Rest();
  std::size_t size = 0;
  std::string name;
  if (ParseHello(bytes, &size, &name) != WireResult::kComplete) return;
  Require(size <= bytes.size() && name.size() <= kMaxNameBytes, "a HELLO is what was there");
  Nonce nonce{};
  constexpr std::size_t kNonceAt = 9;
  std::copy_n(bytes.begin() + kNonceAt, kNonceBytes, nonce.begin());
  Require(EncodeHello(nonce, name) == bytes.substr(0, size), "a HELLO has one image");
  for (std::size_t cut = 0; cut < size; cut++) {
    std::size_t unused = 0;
    Require(ParseHello(bytes.substr(0, cut), &unused, &name) == WireResult::kIncomplete,
            "a cut HELLO is incomplete");
  }
}

void CheckWelcome(Input& in) {
  std::size_t size = 0;
  Nonce heard{};
  const std::string hello = EncodeHello(NonceOf(in), "n1");
  const Nonce nonce = NonceOf(in);
  std::string welcome = EncodeWelcome(Key(), hello, nonce).value_or("");
  Require(!welcome.empty(), "a WELCOME can be made");
  const bool changed = Meddle(in, welcome);
  const std::string_view more = in.Rest();
  Require(ParseWelcome(more, Key(), hello, &size, &heard) != WireResult::kComplete,
          "nobody makes a WELCOME without the secret");
  const bool whole = ParseWelcome(welcome + std::string(more), Key(), hello, &size, &heard) ==
                     WireResult::kComplete;
  Require(whole == !changed, "a WELCOME is taken unchanged, and only so");
  Require(!whole || (heard == nonce && size == welcome.size()), "a WELCOME is what was there");
  welcome.pop_back();
  Require(ParseWelcome(welcome, Key(), hello, &size, &heard) != WireResult::kComplete,
          "a cut WELCOME is not taken");
}

void CheckRecord(Input& in) {
  const auto sequence = in.Take<std::uint64_t>();
  const auto expected = in.Byte() % 2 == 0 ? sequence : in.Take<std::uint64_t>();
  const auto most = in.Byte() % 2 == 0 ? kMaxFrameBytes : in.Take<std::uint16_t>();
  const std::string payload(in.Chunk());
  std::string record = EncodeRecord(Key(), sequence, payload).value_or("");
  Require(!record.empty(), "a record can be made");
  const bool changed = Meddle(in, record);
  const std::string_view more = in.Rest();
  std::size_t size = 0;
  std::string_view heard;
  Require(ParseRecord(more, Key(), expected, most, &size, &heard) != WireResult::kComplete,
          "nobody makes a record without the key");
  const std::string stream = record + std::string(more);
  const bool taken =
      ParseRecord(stream, Key(), expected, most, &size, &heard) == WireResult::kComplete;
  const bool good = !changed && sequence == expected && payload.size() <= most;
  Require(taken == good, "a record is taken unchanged, in its turn and within its bound only");
  Require(!taken || (heard == payload && size == record.size()), "a record is what was there");
}

void CheckCount(Input& in) {
  const std::string_view bytes = in.Rest();
  if (const auto count = DecodeCount(bytes))
    Require(EncodeCount(*count) == bytes, "a count has one image");
}

std::string Seed(Kind kind, std::string_view rest) {
  return std::string(1, static_cast<char>(kind)).append(rest);
}

}  // namespace

void Run(std::string_view input) {
  Input in(input);
  const std::size_t kind = in.Choose(kKinds);
  if (kind == kHello) CheckHello(in);
  if (kind == kWelcome) CheckWelcome(in);
  if (kind == kRecord) CheckRecord(in);
  if (kind == kCount) CheckCount(in);
}

std::vector<std::string> Seeds() {
  const std::string hello = EncodeHello(Nonce{1, 2, 3}, "n1");
  const std::string nonces(2 * kNonceBytes, 'n');
  Writer record;
  record(std::uint64_t{5});
  record(std::uint8_t{0});
  record(std::uint8_t{0});
  Chunk(record, "payload");
  Writer late;
  late(std::uint64_t{5});
  late(std::uint8_t{1});
  late(std::uint64_t{6});
  late(std::uint8_t{1});
  late(std::uint16_t{3});
  Chunk(late, "payload");
  return {Seed(kHello, hello),
          Seed(kHello, hello + "more"),
          Seed(kWelcome, nonces),
          Seed(kWelcome, nonces + std::string("\x05\0\x10", 3)),
          Seed(kWelcome, nonces + std::string(3, '\0') + *EncodeWelcome(Key(), hello, Nonce{})),
          Seed(kRecord, record.bytes()),
          Seed(kRecord, record.bytes() + std::string("\x05\0\x10more", 7)),
          Seed(kRecord, late.bytes()),
          Seed(kCount, EncodeCount(7))};
}

}  // namespace orchestra::fuzz
