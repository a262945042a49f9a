// The bytes of the peer port: every cut, every changed bit, every wrong key.
#include <gtest/gtest.h>

#include "core/register.h"
#include "net/peer_wire.h"

namespace orchestra::net {

void PrintTo(WireResult result, std::ostream* os) {
  constexpr const char* kNames[] = {"complete",    "incomplete", "garbage",
                                    "bad version", "oversized",  "bad MAC",
                                    "replayed",    "unreadable", "failed"};
  *os << kNames[static_cast<int>(result)];
}

namespace {

const Secret kKey("a key of enough bytes"), kOther("another one of as many");
const Nonce kNonce{1, 2, 3}, kAnotherNonce{1, 2, 4};

TEST(PeerWire, HelloComesBackAndEveryCutIsIncomplete) {
  const std::string hello = EncodeHello(kNonce, "n1");
  std::size_t size = 0;
  std::string name;
  EXPECT_EQ(ParseHello(hello + "more", &size, &name), WireResult::kComplete);
  EXPECT_EQ(size, hello.size());
  EXPECT_EQ(name, "n1");
  for (std::size_t cut = 0; cut < hello.size(); ++cut)
    EXPECT_EQ(ParseHello(hello.substr(0, cut), &size, &name), WireResult::kIncomplete) << cut;
}

TEST(PeerWire, AHelloIsNeverLongerThanAStrangerMaySay) {
  const std::string hello = EncodeHello(kNonce, std::string(1000, 'n'));
  std::size_t size = 0;
  std::string name;
  EXPECT_EQ(ParseHello(hello, &size, &name), WireResult::kComplete);
  EXPECT_EQ(name, std::string(kMaxNameBytes, 'n'));
  EXPECT_LE(hello.size() + EncodeRecord(kKey, 0, "")->size(), 256u);
}

TEST(PeerWire, WelcomeProvesTheSecretForThisHelloOnly) {
  const std::string hello = EncodeHello(kNonce, "n1");
  const std::string welcome = *EncodeWelcome(kKey, hello, kAnotherNonce);
  std::size_t size = 0;
  Nonce nonce{};
  EXPECT_EQ(ParseWelcome(welcome, kKey, hello, &size, &nonce), WireResult::kComplete);
  EXPECT_EQ(nonce, kAnotherNonce);
  EXPECT_EQ(size, welcome.size());
  EXPECT_EQ(ParseWelcome(welcome, kOther, hello, &size, &nonce), WireResult::kBadMac);
  EXPECT_EQ(ParseWelcome(welcome, kKey, EncodeHello(kAnotherNonce, "n1"), &size, &nonce),
            WireResult::kBadMac);
  EXPECT_EQ(ParseWelcome(welcome, kKey, EncodeHello(kNonce, "n2"), &size, &nonce),
            WireResult::kBadMac);
  for (std::size_t cut = 0; cut < welcome.size(); ++cut)
    EXPECT_EQ(ParseWelcome(welcome.substr(0, cut), kKey, hello, &size, &nonce),
              WireResult::kIncomplete);
  for (std::size_t at = 0; at < welcome.size(); ++at) {
    std::string bad = welcome;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    EXPECT_EQ(ParseWelcome(bad, kKey, hello, &size, &nonce), at < 8    ? WireResult::kGarbage
                                                             : at == 8 ? WireResult::kBadVersion
                                                                       : WireResult::kBadMac)
        << at;
  }
}

TEST(PeerWire, KeysDifferByDirectionSessionAndSecret) {
  const std::string hello = EncodeHello(kNonce, "n1");
  const auto keys = DeriveKeys(kKey, hello, kNonce);
  const auto other_nonce = DeriveKeys(kKey, hello, kAnotherNonce);
  const auto other_hello = DeriveKeys(kKey, EncodeHello(kAnotherNonce, "n1"), kNonce);
  const auto other_secret = DeriveKeys(kOther, hello, kNonce);
  EXPECT_EQ(keys->to_acceptor.bytes().size(), kMacBytes);
  EXPECT_NE(keys->to_acceptor.bytes(), keys->to_dialer.bytes());
  for (const auto* other : {&other_nonce, &other_hello, &other_secret}) {
    EXPECT_NE(keys->to_acceptor.bytes(), (*other)->to_acceptor.bytes());
    EXPECT_NE(keys->to_dialer.bytes(), (*other)->to_dialer.bytes());
  }
}

WireResult RecordOf(std::string_view bytes, const Secret& key, std::uint64_t expected,
                    std::string* payload = nullptr) {
  std::size_t size = 0;
  std::string_view view;
  const WireResult result = ParseRecord(bytes, key, expected, 100, &size, &view);
  if (payload) *payload = view;
  return result;
}

TEST(PeerWire, RecordIsCheckedInEveryBit) {
  const std::string record = *EncodeRecord(kKey, 5, "payload");
  std::string payload;
  EXPECT_EQ(RecordOf(record + "next", kKey, 5, &payload), WireResult::kComplete);
  EXPECT_EQ(payload, "payload");
  EXPECT_EQ(RecordOf(record, kOther, 5), WireResult::kBadMac);
  EXPECT_EQ(RecordOf(record, kKey, 4), WireResult::kReplayed);
  EXPECT_EQ(RecordOf(record, kKey, 6), WireResult::kReplayed);
  for (std::size_t cut = 0; cut < record.size(); ++cut)
    EXPECT_EQ(RecordOf(record.substr(0, cut), kKey, 5), WireResult::kIncomplete) << cut;
  for (std::size_t bit = 0; bit < 8 * record.size(); ++bit) {
    std::string bad = record;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_NE(RecordOf(bad, kKey, 5), WireResult::kComplete) << bit;
  }
}

TEST(PeerWire, RecordLengthIsJudgedBeforeItsBytesCome) {
  const std::string record = *EncodeRecord(kKey, 0, std::string(101, 'x'));
  EXPECT_EQ(RecordOf(record.substr(0, 4), kKey, 0), WireResult::kOversized);
  EXPECT_EQ(RecordOf(*EncodeRecord(kKey, 0, std::string(100, 'x')), kKey, 0),
            WireResult::kComplete);
  EXPECT_EQ(RecordOf("\xff\xff\xff\xff", kKey, 0), WireResult::kOversized);
}

TEST(PeerWire, CountComesBack) {
  EXPECT_EQ(DecodeCount(EncodeCount(0x0102030405060708)), 0x0102030405060708u);
  EXPECT_EQ(DecodeCount(EncodeCount(0) + "x"), std::nullopt);
  EXPECT_EQ(DecodeCount(""), std::nullopt);
}

TEST(Mac, IsHmacSha256) {  // RFC 4231, test case 2
  Mac mac{};
  ASSERT_TRUE(ComputeMac("Jefe", "what do ya want for nothing?", &mac));
  const Mac expected{0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
                     0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
                     0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
  EXPECT_EQ(mac, expected);
}

}  // namespace
}  // namespace orchestra::net
