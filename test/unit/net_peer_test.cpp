// The peer port between honest nodes: delivery, reconnection, bounds.
#include <gtest/gtest.h>

#include "unit/net_testing.h"
#include "unit/samples.h"

namespace orchestra::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(PeerNet, FramesArriveOnceInOrderBothWays) {
  Loop loop;
  TestPeer a(&loop, TestConfig("a")), b(&loop, TestConfig("b"));
  std::vector<std::uint64_t> expected;
  for (std::uint64_t round = 1; round <= 100; ++round) {
    a.Send(b.address(), round);
    b.Send(a.address(), round);
    expected.push_back(round);
  }
  ASSERT_TRUE(loop.Until([&] { return a.heard.size() >= 100 && b.heard.size() >= 100; }));
  EXPECT_EQ(a.rounds(), expected);
  EXPECT_EQ(b.rounds(), expected);
  EXPECT_EQ(a.heard[0].name, "b");
  EXPECT_EQ(b.heard[0].name, "a");
  EXPECT_EQ(b.heard[0].frame.header.cluster, ClusterId{7});
  EXPECT_EQ(a.net.stats().dropped, 0u);
  ASSERT_EQ(a.net.Links().size(), 1u);
  EXPECT_TRUE(a.net.Links()[0].established);
  EXPECT_EQ(a.net.Links()[0].error, "");
}

TEST(PeerNet, ALargeFrameArrivesWhole) {
  Loop loop;
  TestPeer a(&loop, TestConfig("a")), b(&loop, TestConfig("b"));
  Frame frame;
  frame.message = Commit{samples::Write(samples::LargestValue()), 5};
  const std::string bytes = EncodeFrame(frame);
  ASSERT_GT(bytes.size(), 16u * 1024);
  for (int i = 0; i < 8; ++i) a.net.Send(loop.Now(), b.address(), bytes);
  ASSERT_TRUE(loop.Until([&] { return b.heard.size() == 8; }));
  for (const Incoming& each : b.heard) EXPECT_EQ(EncodeFrame(each.frame), bytes);
}

TEST(PeerNet, WorksOnIpV6) {
  Loop loop;
  PeerConfig config = TestConfig("b");
  config.bind.host = "::1";
  {
    Fd probe;
    std::uint16_t port = 0;
    if (!Listen(config.bind, &probe, &port).ok()) GTEST_SKIP() << "no IPv6 on this machine";
  }
  TestPeer a(&loop, TestConfig("a")), b(&loop, std::move(config));
  a.Send({"::1", b.net.port()}, 1);
  EXPECT_TRUE(loop.Until([&] { return b.Heard(1); }));
}

TEST(PeerNet, TrafficResumesAfterThePeerRestarts) {
  Loop loop;
  TestPeer a(&loop, TestConfig("a"));
  auto b = std::make_unique<TestPeer>(&loop, TestConfig("b"));
  const Address address = b->address();
  a.Send(address, 1);
  ASSERT_TRUE(loop.Until([&] { return b->Heard(1); }));
  b.reset();
  ASSERT_TRUE(loop.Until([&] { return !a.net.Links()[0].established; }));
  EXPECT_NE(a.net.Links()[0].error, "");
  PeerConfig again = TestConfig("b");
  again.bind = address;
  b = std::make_unique<TestPeer>(&loop, std::move(again));
  const Micros start = loop.Now();
  a.Send(address, 2);
  ASSERT_TRUE(loop.Until([&] { return b->Heard(2); }));
  EXPECT_LT(loop.Now() - start, seconds(3));
  EXPECT_FALSE(b->Heard(1));
}

TEST(PeerNet, QueueIsBoundedAndDropsTheNewest) {
  Loop loop;
  PeerConfig config = TestConfig("a");
  config.queue_frames = 5;
  TestPeer a(&loop, std::move(config)), b(&loop, TestConfig("b"));
  for (std::uint64_t round = 1; round <= 8; ++round) a.Send(b.address(), round);
  EXPECT_EQ(a.net.stats().dropped, 3u);
  EXPECT_EQ(a.net.Links()[0].queued, 5u);
  ASSERT_TRUE(loop.Until([&] { return b.heard.size() >= 5; }));
  EXPECT_EQ(b.rounds(), (std::vector<std::uint64_t>{1, 2, 3, 4, 5}));
}

TEST(PeerNet, QueueIsBoundedInBytes) {
  Loop loop;
  PeerConfig config = TestConfig("a");
  config.queue_bytes = 3 * SampleFrame(1).size();
  TestPeer a(&loop, std::move(config)), b(&loop, TestConfig("b"));
  for (std::uint64_t round = 1; round <= 8; ++round) a.Send(b.address(), round);
  EXPECT_EQ(a.net.Links()[0].queued, 3u);
  a.net.Send(loop.Now(), {"127.0.0.1", 1}, std::string(kMaxFrameBytes + 1, 'x'));
  EXPECT_EQ(a.net.stats().dropped, 6u);
}

TEST(PeerNet, AFrameThatWaitedTooLongIsNotSent) {
  Loop loop;
  TestPeer a(&loop, TestConfig("a")), b(&loop, TestConfig("b"));
  a.Send(b.address(), 1);
  loop.Advance(milliseconds(1500));
  a.Send(b.address(), 2);
  ASSERT_TRUE(loop.Until([&] { return b.Heard(2); }));
  EXPECT_EQ(b.rounds(), (std::vector<std::uint64_t>{2}));
  EXPECT_EQ(a.net.stats().dropped, 1u);
}

TEST(PeerNet, NobodyThereIsToldAndRetriedEverMoreRarely) {
  Loop loop;
  TestPeer a(&loop, TestConfig("a"));
  Address nobody;
  {
    TestPeer gone(&loop, TestConfig("gone"));
    nobody = gone.address();
  }
  a.Send(nobody, 1);
  ASSERT_TRUE(loop.Until([&] { return !a.net.Links()[0].error.empty(); }));
  EXPECT_EQ(a.net.Links()[0].error, ErrnoText(ECONNREFUSED));
  EXPECT_EQ(a.net.stats().dialed, 1u);
  std::vector<Micros> dials{loop.Now()};
  ASSERT_TRUE(loop.Until([&] {
    a.Send(nobody, 2);
    if (a.net.stats().dialed > dials.size()) dials.push_back(loop.Now());
    return dials.size() == 4;
  }));
  EXPECT_GE(dials[1] - dials[0], milliseconds(80));
  EXPECT_GE(dials[2] - dials[1], milliseconds(180));
  EXPECT_GE(dials[3] - dials[2], milliseconds(380));
  EXPECT_LE(dials[3] - dials[2], seconds(3));
}

struct Cut {
  const char* name;
  bool to_acceptor, to_dialer;
};
void PrintTo(const Cut& cut, std::ostream* os) { *os << cut.name; }
class OneWay : public testing::TestWithParam<Cut> {};
TEST_P(OneWay, AConnectionThatSwallowsBytesIsReplaced) {
  Loop loop;
  TestPeer a(&loop, TestConfig("a")), b(&loop, TestConfig("b"));
  Relay relay(&loop, b.address());
  a.Send(relay.address(), 1);
  ASSERT_TRUE(loop.Until([&] { return b.Heard(1); }));
  // The old connection stays cut for ever; only a new one can work.
  const std::size_t old = relay.dials();
  const auto swallow = [](std::string) { return std::string(); };
  if (GetParam().to_acceptor) relay.to_acceptor = swallow;
  if (GetParam().to_dialer) relay.to_dialer = swallow;
  const Micros cut = loop.Now();
  std::uint64_t round = 2;
  ASSERT_TRUE(loop.Until([&] {
    a.Send(relay.address(), round++);
    return relay.dials() > old;
  }));
  EXPECT_GE(loop.Now() - cut, milliseconds(900));
  EXPECT_LE(loop.Now() - cut, seconds(3));
  EXPECT_EQ(a.net.stats().unacknowledged, 1u);
  relay.to_acceptor = relay.to_dialer = [](std::string bytes) { return bytes; };
  const Micros healed = loop.Now();
  const std::uint64_t first = round;
  ASSERT_TRUE(loop.Until([&] {
    a.Send(relay.address(), round++);
    return !b.heard.empty() && b.rounds().back() >= first;
  }));
  EXPECT_LE(loop.Now() - healed, seconds(3));
}
INSTANTIATE_TEST_SUITE_P(Cut, OneWay,
                         testing::Values(Cut{"ToAcceptor", true, false},
                                         Cut{"ToDialer", false, true}, Cut{"Both", true, true}),
                         [](const auto& info) { return info.param.name; });

TEST(PeerNet, AFrozenProcessDoesNotTakeWaitingAcknowledgementsForMissingOnes) {
  Loop loop;
  TestPeer a(&loop, TestConfig("a")), b(&loop, TestConfig("b"));
  a.Send(b.address(), 1);
  ASSERT_TRUE(loop.Until([&] { return b.Heard(1); }));
  a.Send(b.address(), 2);
  // b answers while a sleeps for ten seconds.
  std::vector<Incoming> heard;
  for (int i = 0; i < 1000 && heard.empty(); ++i) b.net.Poll(loop.Now(), &heard);
  ASSERT_EQ(heard.size(), 1u);
  loop.Advance(seconds(10));
  a.net.Poll(loop.Now(), &a.heard);
  EXPECT_TRUE(a.net.Links()[0].established);
  EXPECT_EQ(a.net.stats().unacknowledged, 0u);
}

TEST(PeerNet, RetainForgetsPeers) {
  Loop loop;
  TestPeer a(&loop, TestConfig("a")), b(&loop, TestConfig("b")), c(&loop, TestConfig("c"));
  a.Send(b.address(), 1);
  a.Send(c.address(), 1);
  ASSERT_TRUE(loop.Until([&] { return b.Heard(1) && c.Heard(1); }));
  a.net.Retain({c.address()});
  ASSERT_EQ(a.net.Links().size(), 1u);
  EXPECT_EQ(a.net.Links()[0].to, c.address());
  a.Send(c.address(), 2);
  EXPECT_TRUE(loop.Until([&] { return c.Heard(2); }));
}

TEST(PeerNet, PortInUseIsReportedAndTakenWhenFree) {
  Loop loop;
  auto first = std::make_unique<TestPeer>(&loop, TestConfig("first"));
  PeerConfig config = TestConfig("second");
  config.bind = first->address();
  PeerNet second(std::move(config));
  const NetError error = second.Start();
  EXPECT_EQ(error.code, EADDRINUSE);
  EXPECT_NE(error.text.find(ToText(first->address())), std::string::npos) << error.text;
  EXPECT_FALSE(second.listening());
  first.reset();
  EXPECT_TRUE(second.Start().ok());
  EXPECT_TRUE(second.listening());
  EXPECT_TRUE(second.Start().ok()) << "once more is no error";
}

struct BadBind {
  const char* name;
  const char* host;
  const char* secret;
  const char* expected;
};
void PrintTo(const BadBind& bad, std::ostream* os) { *os << bad.host; }
class Refused : public testing::TestWithParam<BadBind> {};
TEST_P(Refused, IsNotOpened) {
  PeerConfig config = TestConfig("a", GetParam().secret);
  config.bind.host = GetParam().host;
  PeerNet net(std::move(config));
  const NetError error = net.Start();
  EXPECT_NE(error.code, 0);
  EXPECT_NE(error.text.find(GetParam().expected), std::string::npos) << error.text;
  EXPECT_FALSE(net.listening());
}
INSTANTIATE_TEST_SUITE_P(Configs, Refused,
                         testing::Values(BadBind{"AnyV4", "0.0.0.0", kSecret, "loopback"},
                                         BadBind{"AnyV6", "::", kSecret, "loopback"},
                                         BadBind{"Public", "192.0.2.1", kSecret, "loopback"},
                                         BadBind{"Mapped", "::ffff:192.0.2.1", kSecret, "loopback"},
                                         BadBind{"Name", "localhost", kSecret, "not an IP address"},
                                         BadBind{"Empty", "", kSecret, "not an IP address"},
                                         BadBind{"NoSecret", "127.0.0.1", "", "secret"}),
                         [](const auto& info) { return info.param.name; });

TEST(PeerNet, NothingIsSentOffLoopback) {
  Loop loop;
  TestPeer a(&loop, TestConfig("a"));
  a.Send({"192.0.2.1", 5434}, 1);
  ASSERT_EQ(a.net.Links().size(), 1u);
  EXPECT_NE(a.net.Links()[0].error.find("loopback"), std::string::npos);
  EXPECT_EQ(a.net.stats().dialed, 0u);
}

}  // namespace
}  // namespace orchestra::net
