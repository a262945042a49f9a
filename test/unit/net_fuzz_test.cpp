// Seeded random bytes into the peer port: nothing breaks, and good peers are served all the time.
#include <gtest/gtest.h>

#include <random>

#include "net/peer_wire.h"
#include "unit/net_testing.h"

namespace orchestra::net {
namespace {

using Random = std::mt19937_64;

std::string Noise(Random* random, std::size_t most) {
  std::string bytes((*random)() % (most + 1), '\0');
  for (char& byte : bytes) byte = static_cast<char>((*random)());
  return bytes;
}

// The right beginning with a few bytes changed, cut, doubled or added.
std::string Mutated(Random* random, std::string bytes) {
  const auto somewhere = [&] { return bytes.empty() ? 0 : (*random)() % bytes.size(); };
  for (std::uint64_t changes = 1 + (*random)() % 4; changes > 0; --changes)
    switch ((*random)() % 4) {
      case 0:
        if (!bytes.empty()) bytes[somewhere()] = static_cast<char>((*random)());
        break;
      case 1:
        bytes.resize(somewhere());
        break;
      case 2:
        bytes += bytes.substr(somewhere());
        break;
      default:
        bytes.insert(somewhere(), Noise(random, 16));
    }
  return bytes;
}

class Fuzz : public testing::TestWithParam<std::uint64_t> {};

TEST_P(Fuzz, StrangersNeverHarmGoodPeers) {
  Random random(GetParam());
  Loop loop;
  TestPeer victim(&loop, TestConfig("victim")), good(&loop, TestConfig("good"));
  const std::string session = EncodeHello(Nonce{}, "stranger") + *EncodeRecord(Secret("x"), 0, "") +
                              *EncodeRecord(Secret("x"), 1, SampleFrame(1));
  std::vector<std::unique_ptr<RawClient>> strangers;
  for (std::uint64_t round = 1; round <= 20; ++round) {
    for (int i = 0; i < 10; ++i) {
      strangers.push_back(std::make_unique<RawClient>(victim.address()));
      strangers.back()->Say(random() % 2 ? Noise(&random, 4096) : Mutated(&random, session));
    }
    // Some leave, in the middle of whatever they said.
    while (strangers.size() > 20) strangers.erase(strangers.begin() + random() % strangers.size());
    good.Send(victim.address(), round);
    ASSERT_TRUE(loop.Until([&] { return victim.Heard(round); }))
        << "seed " << GetParam() << " round " << round;
  }
  EXPECT_EQ(victim.heard.size(), 20u) << "a stranger's frame was taken";
  EXPECT_EQ(victim.net.stats().authenticated, 1u);
  EXPECT_EQ(good.net.stats().dialed, 1u) << "the good peer lost its connection";
}

// A man in the middle who changes, cuts and repeats what both sides say.
TEST_P(Fuzz, NothingAlteredIsEverTaken) {
  Random random(GetParam());
  Loop loop;
  PeerConfig hasty = TestConfig("a");
  hasty.connect_timeout = hasty.ack_timeout = std::chrono::milliseconds(50);
  hasty.backoff_min = hasty.backoff_max = std::chrono::milliseconds(5);
  TestPeer a(&loop, std::move(hasty)), b(&loop, TestConfig("b"));
  Relay relay(&loop, b.address());
  const auto meddle = [&](std::string bytes) {
    return random() % 3 == 0 ? Mutated(&random, std::move(bytes)) : bytes;
  };
  relay.to_acceptor = relay.to_dialer = meddle;
  std::uint64_t sent = 0;
  const auto say = [&] {
    a.Send(relay.address(), ++sent);
    return relay.dials() >= 20;
  };
  ASSERT_TRUE(loop.Until(say)) << "nobody noticed the man in the middle";
  relay.to_acceptor = relay.to_dialer = [](std::string bytes) { return bytes; };
  const std::uint64_t healed = sent;
  ASSERT_TRUE(loop.Until([&] {
    say();
    return !b.heard.empty() && b.rounds().back() > healed;
  }));
  // Lost some, but none twice, none out of order, none that was not sent.
  const auto rounds = b.rounds();
  for (std::size_t i = 1; i < rounds.size(); ++i) ASSERT_LT(rounds[i - 1], rounds[i]);
  EXPECT_LE(rounds.back(), sent);
  EXPECT_EQ(b.net.stats().refused_undecodable, 0u) << "altered bytes passed authentication";
}

INSTANTIATE_TEST_SUITE_P(Seeds, Fuzz, testing::Range<std::uint64_t>(1, 7));

}  // namespace
}  // namespace orchestra::net
