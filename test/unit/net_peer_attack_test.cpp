// The peer port against strangers, men in the middle and other secrets.
#include <gtest/gtest.h>

#include <cstring>

#include "net/peer_wire.h"
#include "unit/net_testing.h"

namespace orchestra::net {
namespace {

using std::chrono::seconds;

// Speaks the protocol rightly up to the point where a test wants it wrong.
class Impostor {
 public:
  Impostor(Loop* loop, const Address& to, const std::string& secret)
      : loop_(*loop), secret_(secret), client_(to) {
    hello_ = EncodeHello(Nonce{1, 2, 3}, "impostor");
    client_.Say(hello_);
  }
  // Waits for WELCOME; what it says about the acceptor.
  WireResult Meet() {
    std::size_t size = 0;
    WireResult result = WireResult::kIncomplete;
    loop_.Until([&] {
      client_.Listen();
      Nonce nonce{};
      result = ParseWelcome(client_.heard(), secret_, hello_, &size, &nonce);
      if (result == WireResult::kIncomplete) return client_.Closed();
      keys_ = std::move(*DeriveKeys(secret_, hello_, nonce));
      return true;
    });
    return result;
  }
  // The next records, as the right session would write them.
  std::string Records(const std::vector<std::string>& payloads) {
    std::string all;
    for (const std::string& payload : payloads)
      all += *EncodeRecord(keys_.to_acceptor, sequence_++, payload);
    return all;
  }
  RawClient& client() { return client_; }
  void Skip() { ++sequence_; }

 private:
  Loop& loop_;
  Secret secret_;
  RawClient client_;
  std::string hello_;
  SessionKeys keys_;
  std::uint64_t sequence_ = 0;
};

class Attack : public testing::Test {
 protected:
  // A good peer, new to the victim, gets through.
  void ExpectGoodPeersServed() {
    TestPeer good(&loop, TestConfig("good"));
    good.Send(victim.address(), 4711);
    EXPECT_TRUE(loop.Until([&] { return victim.Heard(4711); }));
  }
  void ExpectClosed(RawClient* client) {
    EXPECT_TRUE(loop.Until([&] { return client->Closed(); }));
  }
  Loop loop;
  TestPeer victim{&loop, TestConfig("victim")};
};

TEST_F(Attack, TheImpostorIsAGoodPeerWhenItKnowsTheSecret) {
  Impostor impostor(&loop, victim.address(), kSecret);
  ASSERT_EQ(impostor.Meet(), WireResult::kComplete);
  impostor.client().Say(impostor.Records({"", SampleFrame(1)}));
  EXPECT_TRUE(loop.Until([&] { return victim.Heard(1); }));
  ASSERT_FALSE(victim.heard.empty());
  EXPECT_EQ(victim.heard[0].name, "impostor");
}

TEST_F(Attack, DialerWithAnotherSecret) {
  TestPeer wrong(&loop, TestConfig("wrong", "another secret of some length"));
  wrong.Send(victim.address(), 1);
  // The dialer finds out first: the acceptor cannot prove the dialer's secret.
  ASSERT_TRUE(loop.Until([&] { return wrong.net.stats().refused_bad_mac > 0; }));
  EXPECT_NE(wrong.net.last_incident().text.find(ToText(victim.address())), std::string::npos);
  EXPECT_NE(wrong.net.Links()[0].error.find("secret"), std::string::npos);
  EXPECT_FALSE(wrong.net.Links()[0].established);
  EXPECT_EQ(victim.net.stats().authenticated, 0u);
  ExpectGoodPeersServed();
  EXPECT_FALSE(victim.Heard(1));
}

TEST_F(Attack, DialerThatIgnoresThatTheSecretsDiffer) {
  Impostor impostor(&loop, victim.address(), "another secret of some length");
  ASSERT_EQ(impostor.Meet(), WireResult::kBadMac);
  impostor.client().Say(impostor.Records({"", SampleFrame(1)}));
  ExpectClosed(&impostor.client());
  EXPECT_EQ(victim.net.stats().refused_bad_mac, 1u);
  EXPECT_NE(victim.net.last_incident().text.find("127.0.0.1:"), std::string::npos);
  EXPECT_EQ(victim.net.last_incident().text.find(kSecret), std::string::npos);
  ExpectGoodPeersServed();
  EXPECT_FALSE(victim.Heard(1));
}

TEST_F(Attack, FrameBeforeTheProof) {
  Impostor impostor(&loop, victim.address(), kSecret);
  ASSERT_EQ(impostor.Meet(), WireResult::kComplete);
  impostor.client().Say(impostor.Records({SampleFrame(1)}));
  ExpectClosed(&impostor.client());
  EXPECT_EQ(victim.net.stats().refused_oversized, 1u);
  EXPECT_TRUE(victim.heard.empty());
}

TEST_F(Attack, SequenceNumberLeftOut) {
  Impostor impostor(&loop, victim.address(), kSecret);
  ASSERT_EQ(impostor.Meet(), WireResult::kComplete);
  impostor.client().Say(impostor.Records({""}));
  impostor.Skip();
  impostor.client().Say(impostor.Records({SampleFrame(1)}));
  ExpectClosed(&impostor.client());
  EXPECT_EQ(victim.net.stats().refused_replayed, 1u);
  EXPECT_TRUE(victim.heard.empty());
}

TEST_F(Attack, AuthenticGarbageInsteadOfAFrame) {
  Impostor impostor(&loop, victim.address(), kSecret);
  ASSERT_EQ(impostor.Meet(), WireResult::kComplete);
  impostor.client().Say(impostor.Records({"", "this is no frame at all"}));
  ExpectClosed(&impostor.client());
  EXPECT_EQ(victim.net.stats().refused_undecodable, 1u);
  ExpectGoodPeersServed();
}

TEST_F(Attack, OversizedLength) {
  Impostor impostor(&loop, victim.address(), kSecret);
  ASSERT_EQ(impostor.Meet(), WireResult::kComplete);
  impostor.client().Say(impostor.Records({""}) + std::string("\x01\x00\x01\x00", 4));  // 64 KiB + 1
  ExpectClosed(&impostor.client());
  EXPECT_EQ(victim.net.stats().refused_oversized, 1u);
  ExpectGoodPeersServed();
}

TEST_F(Attack, FrameReplayedInItsSession) {
  TestPeer good(&loop, TestConfig("good"));
  Relay relay(&loop, victim.address());
  good.Send(relay.address(), 1);
  ASSERT_TRUE(loop.Until([&] { return victim.Heard(1); }));
  relay.to_acceptor = [&](std::string bytes) {
    relay.to_acceptor = [](std::string later) { return later; };
    return bytes + bytes;
  };
  good.Send(relay.address(), 2);
  ASSERT_TRUE(loop.Until([&] { return victim.net.stats().refused_replayed > 0; }));
  EXPECT_EQ(victim.rounds(), (std::vector<std::uint64_t>{1, 2}));
  EXPECT_TRUE(loop.Until([&] {
    good.Send(relay.address(), 3);
    return victim.Heard(3);
  })) << "the good peer did not come back";
}

TEST_F(Attack, BitChangedOnTheWay) {
  TestPeer good(&loop, TestConfig("good"));
  Relay relay(&loop, victim.address());
  good.Send(relay.address(), 1);
  ASSERT_TRUE(loop.Until([&] { return victim.Heard(1); }));
  relay.to_acceptor = [&](std::string bytes) {
    relay.to_acceptor = [](std::string later) { return later; };
    bytes[20] = static_cast<char>(bytes[20] ^ 1);
    return bytes;
  };
  good.Send(relay.address(), 2);
  ASSERT_TRUE(loop.Until([&] { return victim.net.stats().refused_bad_mac > 0; }));
  EXPECT_FALSE(victim.Heard(2));
}

TEST_F(Attack, AcknowledgementReplayed) {
  TestPeer good(&loop, TestConfig("good"));
  Relay relay(&loop, victim.address());
  good.Send(relay.address(), 1);
  ASSERT_TRUE(loop.Until([&] { return victim.Heard(1); }));
  relay.to_dialer = [&](std::string bytes) {
    relay.to_dialer = [](std::string later) { return later; };
    return bytes + bytes;
  };
  good.Send(relay.address(), 2);
  EXPECT_TRUE(loop.Until([&] { return good.net.stats().refused_replayed > 0; }));
}

TEST_F(Attack, SessionRecordedAndPlayedAgain) {
  std::string recorded;
  {
    TestPeer good(&loop, TestConfig("good"));
    Relay relay(&loop, victim.address());
    good.Send(relay.address(), 1);
    ASSERT_TRUE(loop.Until([&] { return victim.Heard(1); }));
    recorded = relay.said();
  }
  ASSERT_GT(recorded.size(), SampleFrame(1).size());
  const std::size_t before = victim.heard.size();
  RawClient replay(victim.address());
  replay.Say(recorded);
  ExpectClosed(&replay);
  EXPECT_EQ(victim.net.stats().refused_bad_mac, 1u);
  EXPECT_EQ(victim.heard.size(), before);
}

TEST_F(Attack, FrameOfAnotherSessionOfTheSamePeers) {
  std::string of_first;
  TestPeer good(&loop, TestConfig("good"));
  Relay first(&loop, victim.address()), second(&loop, victim.address());
  good.Send(first.address(), 1);
  good.Send(second.address(), 1);
  ASSERT_TRUE(loop.Until([&] { return victim.heard.size() == 2; }));
  // The same sequence number, direction and secret; only the session differs.
  first.to_acceptor = [&](std::string bytes) { return of_first = bytes; };
  good.Send(first.address(), 2);
  ASSERT_TRUE(loop.Until([&] { return victim.Heard(2); }));
  second.to_acceptor = [&](std::string) { return of_first; };
  good.Send(second.address(), 3);
  ASSERT_TRUE(loop.Until([&] { return victim.net.stats().refused_bad_mac > 0; }));
  EXPECT_EQ(victim.rounds(), (std::vector<std::uint64_t>{1, 1, 2}));
}

TEST_F(Attack, OwnBytesReflected) {
  // A dialer whose bytes come straight back must not take them for an answer.
  TestPeer good(&loop, TestConfig("good"));
  Fd listener;
  std::uint16_t port = 0;
  ASSERT_TRUE(Listen({"127.0.0.1", 0}, &listener, &port).ok());
  good.Send({"127.0.0.1", port}, 1);
  std::unique_ptr<RawClient> mirror;
  EXPECT_TRUE(loop.Until([&] {
    bool exhausted = false;
    if (auto socket = Accept(listener, nullptr, &exhausted))
      mirror = std::make_unique<RawClient>(std::move(*socket));
    if (mirror) mirror->Say(mirror->Listen());
    return good.net.stats().refused_garbage > 0;
  }));
  EXPECT_EQ(good.net.stats().established, 0u);
}

struct Greeting {
  const char* name;
  std::string bytes;
};
void PrintTo(const Greeting& greeting, std::ostream* os) { *os << greeting.name; }
class Garbage : public Attack, public testing::WithParamInterface<Greeting> {};
TEST_P(Garbage, IsRefusedAtOnce) {
  RawClient stranger(victim.address());
  stranger.Say(GetParam().bytes);
  ExpectClosed(&stranger);
  EXPECT_EQ(stranger.heard(), "");
  EXPECT_EQ(victim.net.stats().refused_garbage, 1u);
  ExpectGoodPeersServed();
}
std::string WithByte(std::string hello, std::size_t at, char byte) {
  hello[at] = byte;
  return hello;
}
INSTANTIATE_TEST_SUITE_P(
    Greetings, Garbage,
    testing::Values(Greeting{"Http", "GET / HTTP/1.0\r\n\r\n"}, Greeting{"OneByte", "x"},
                    Greeting{"PostgresStartup", std::string("\0\0\0\x08\x04\xd2\x16\x2f", 8)},
                    Greeting{"OtherVersion", WithByte(EncodeHello(Nonce{}, "n"), 8, 2)},
                    Greeting{"NameTooLong", WithByte(EncodeHello(Nonce{}, "n"), 41, 64)}),
    [](const auto& info) { return info.param.name; });

TEST_F(Attack, SilentStrangersAreClosedAfterAWhile) {
  RawClient silent(victim.address());
  RawClient slow(victim.address());
  slow.Say("orchp");
  ASSERT_TRUE(loop.Until([&] { return victim.net.stats().accepted == 2; }));
  loop.Advance(seconds(1));
  victim.net.Poll(loop.Now(), &victim.heard);
  EXPECT_FALSE(silent.Closed() || slow.Closed());
  loop.Advance(seconds(1));
  ExpectClosed(&silent);
  ExpectClosed(&slow);
  EXPECT_EQ(victim.net.stats().refused_timeout, 2u);
}

TEST_F(Attack, FloodOfHalfOpenConnectionsStopsNobody) {
  TestPeer known(&loop, TestConfig("known"));
  known.Send(victim.address(), 1);
  ASSERT_TRUE(loop.Until([&] { return victim.Heard(1); }));
  const std::uint64_t dialed = known.net.stats().dialed;
  std::vector<std::unique_ptr<RawClient>> flood;
  for (int i = 0; i < 400; ++i) flood.push_back(std::make_unique<RawClient>(victim.address()));
  TestPeer late(&loop, TestConfig("late"));
  late.Send(victim.address(), 2);
  for (int i = 0; i < 400; ++i) flood.push_back(std::make_unique<RawClient>(victim.address()));
  known.Send(victim.address(), 3);
  ASSERT_TRUE(loop.Until([&] { return victim.Heard(2) && victim.Heard(3); }));
  ASSERT_TRUE(loop.Until([&] { return victim.net.stats().accepted >= 802; }));
  EXPECT_EQ(known.net.stats().dialed, dialed) << "a known peer lost its connection";
  const auto open = std::count_if(flood.begin(), flood.end(),
                                  [](const auto& client) { return !client->Closed(); });
  EXPECT_LE(open, 32);
  EXPECT_GE(open, 30) << "room for the good ones, no more";
  EXPECT_FALSE(flood.back()->Closed()) << "the oldest go first";
  EXPECT_GE(victim.net.stats().refused_crowded, 768u);
}

TEST_F(Attack, WhatAGoodPeerSaidBehindAFloodIsHeardBeforeItIsClosed) {
  RawClient good(victim.address());
  ASSERT_TRUE(loop.Until([&] { return victim.net.stats().accepted == 1; }));
  std::vector<std::unique_ptr<RawClient>> flood;
  for (int i = 0; i < 40; ++i) flood.push_back(std::make_unique<RawClient>(victim.address()));
  good.Say(EncodeHello(Nonce{}, "good"));  // after the flood, before the victim looks
  ASSERT_TRUE(loop.Until([&] { return victim.net.stats().accepted == 41; }));
  EXPECT_TRUE(loop.Until([&] { return !good.Listen().empty(); })) << "no WELCOME";
}

TEST_F(Attack, ConnectionsThatKnowTheSecretAreBoundedToo) {
  std::vector<std::unique_ptr<Impostor>> many;
  for (int i = 0; i < 70; ++i) {
    many.push_back(std::make_unique<Impostor>(&loop, victim.address(), kSecret));
    ASSERT_EQ(many.back()->Meet(), WireResult::kComplete);
    many.back()->client().Say(many.back()->Records({""}));
    ASSERT_TRUE(loop.Until([&] { return victim.net.stats().authenticated == many.size(); }));
  }
  EXPECT_EQ(victim.net.stats().refused_crowded, 6u);
  for (std::size_t i = 0; i < many.size(); ++i) EXPECT_EQ(many[i]->client().Closed(), i < 6) << i;
}

TEST_F(Attack, IdleConnectionIsClosedAndComesBack) {
  TestPeer good(&loop, TestConfig("good"));
  good.Send(victim.address(), 1);
  ASSERT_TRUE(loop.Until([&] { return victim.Heard(1); }));
  loop.Advance(seconds(31));
  ASSERT_TRUE(loop.Until([&] { return !good.net.Links()[0].established; }));
  good.Send(victim.address(), 2);
  EXPECT_TRUE(loop.Until([&] { return victim.Heard(2); }));
}

TEST_F(Attack, IncidentsAreRememberedAtMostOnceASecond) {
  const auto refuse = [&](const std::string& bytes) {
    RawClient stranger(victim.address());
    stranger.Say(bytes);
    ExpectClosed(&stranger);
    return victim.net.last_incident().text;
  };
  const std::string first = refuse("x");
  EXPECT_NE(first, "");
  EXPECT_EQ(refuse("x"), first);
  loop.Advance(seconds(1));
  EXPECT_NE(refuse("x"), first) << "another port, another time";
}

}  // namespace
}  // namespace orchestra::net
