// Rules 1 to 3, one sentence a test: election, lease, hold-off.
#include <gtest/gtest.h>

#include "consensus_node.h"

namespace orchestra::hand {
namespace {

constexpr Micros kTtl = milliseconds(2000);
constexpr Micros kLease = milliseconds(1600);    // TTL(1-2 rho)
constexpr Micros kHoldOff = milliseconds(2400);  // TTL(1+2 rho)

// A moment before and a moment after `time`.
constexpr Micros kMoment = milliseconds(1);

Ballot BallotOf(std::uint64_t round, std::uint16_t node) { return {round, NodeId{node}}; }

// The voter n2 grants n1 the lease of the first epoch now.
LeaseAck Grant(Node& voter, std::uint64_t seq) {
  voter.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{1}, seq, 0});
  const std::uint64_t nonce = voter.Sent<LeaseAck>(1).value().nonce;
  voter.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{1}, seq + 1, nonce});
  return voter.Sent<LeaseAck>(1).value();
}

Accept SecondEpoch(std::uint64_t seq = 1) {
  const Ballot ballot = BallotOf(5, 3);
  return {WriteOf(NextEpoch(FirstValue(), 2, ballot), ballot), seq};
}

// ---------------------------------------------------------------- rule 1

TEST(Election, BallotIsLedOnce) {
  Node node(2);
  MakeCoordinator(node, {3});
  ASSERT_TRUE(IsCoordinator(node.state));
  const Ballot old = node.state.ballot;
  node.Hear(3, Prepare{BallotOf(old.round + 1, 3)});
  ASSERT_EQ(node.state.role, Role::kFollower);
  for (const std::uint16_t voter : {1, 3})
    node.Hear(voter, Promise{old, node.state.durable.accepted});
  EXPECT_EQ(node.state.role, Role::kFollower) << "late promises of an old ballot";
}

TEST(Election, WinnerAdoptsTheHighestAcceptedValue) {
  Node node(2);
  node.Pass(seconds(5));
  node.Tick();
  const Ballot ballot = node.Sent<PreVote>(3).value().ballot;
  node.Hear(3, PreVoteOk{ballot});
  const Written accepted = WriteOf(NextEpoch(FirstValue(), 3, BallotOf(1, 3)), BallotOf(1, 3));
  node.Hear(3, Promise{ballot, accepted});
  const Accept proposed = node.Sent<Accept>(3).value();
  EXPECT_EQ(*proposed.written.value, *accepted.value);
  EXPECT_EQ(proposed.written.write, (WriteId{ballot, accepted.value->version}));
}

TEST(Election, DeafCoordinatorStepsDown) {
  Node node(2);
  MakeCoordinator(node, {3});
  ASSERT_TRUE(IsCoordinator(node.state));
  auto ticks = [&](int count) {
    for (int i = 0; i < count; i++) {
      node.Pass(milliseconds(100));
      node.Tick();
    }
  };
  ticks(10);
  AnswerHeartbeat(node, 3, true);
  ticks(11);
  EXPECT_EQ(node.state.role, Role::kCoordinator);
  ticks(2);
  EXPECT_EQ(node.state.role, Role::kFollower) << "it hears only itself";
}

TEST(Election, HeartbeatCountsOnceHoweverOftenItIsRelayed) {
  Node node(3);
  const Commit commit{WriteOf(FirstValue(), BallotOf(5, 1)), 1};
  node.Hear(1, commit);
  ASSERT_TRUE(node.Sent<HeartbeatAck>(1));
  const Instant timer = node.state.election_at;
  node.Pass(milliseconds(500));
  node.Hear(2, commit);
  EXPECT_FALSE(node.Sent<HeartbeatAck>(1));
  EXPECT_EQ(node.state.election_at, timer);
}

TEST(Election, PreVoteIsRefusedByAVoterThatHearsACoordinator) {
  struct Case {
    const char* name;
    std::uint16_t from;
    bool as_holder;
    bool granted;
    bool votes;
  };
  for (const Case& c :
       {Case{"another voter", 3, false, false, false}, Case{"the holder", 1, true, true, true},
        Case{"no holder any more", 1, true, false, false},
        Case{"another voter that says it holds", 3, true, true, false}}) {
    Node node(2);
    if (c.granted) Grant(node, 1);
    node.Hear(3, Commit{WriteOf(FirstValue(), BallotOf(5, 3)), 1});
    node.Hear(c.from, PreVote{BallotOf(6, c.from), c.as_holder});
    EXPECT_EQ(node.Sent<PreVoteOk>(c.from).has_value(), c.votes) << c.name;
  }
}

// The coordinator hears nothing from the primary, but is heard by it: its heartbeats keep the
// primary from ordinary elections for ever, and one campaign may well be lost on the way.
TEST(Election, HolderCampaignsUntilItIsHeard) {
  const Ballot ballot = BallotOf(5, 3);
  const RegisterValue second = NextEpoch(FirstValue(), 2, ballot);
  Node node(2);
  node.See(DbState::kStandby);
  std::uint64_t seq = 0;
  node.Hear(3, Commit{WriteOf(second, ballot), ++seq});
  node.view.status.flush_lsn = Lsn{100};
  node.view.standby_flushed = {{NodeId{3}, Lsn{100}}};
  node.See(DbState::kPrimary, 2);
  node.Enforce();
  int campaigns = 0;
  for (int i = 0; i < 1000; i++) {
    node.Pass(milliseconds(25));
    if (i % 6 == 0) node.Hear(3, Commit{WriteOf(second, ballot), ++seq});
    node.Tick();
    const auto asked = node.Sent<LeaseRequest>(3);
    const auto campaign = node.Sent<PreVote>(3);
    if (campaign && campaign->as_holder) campaigns++;
    if (asked) {
      const LeaseAck ack{second.epoch, asked->boot, asked->seq, 1, true, 2000};
      node.Hear(3, ack);
    }
  }
  ASSERT_TRUE(HoldsLease(node.state, node.now));
  EXPECT_GE(campaigns, 10);
}

// ---------------------------------------------------------------- rule 2

TEST(Lease, CountsFromTheSendingOfTheRequest) {
  Node node(1);
  node.See(DbState::kPrimary);
  node.Pass(seconds(1));
  node.Tick();
  const Instant sent = node.now;
  const LeaseRequest request = node.Sent<LeaseRequest>(2).value();
  node.Pass(milliseconds(700));
  // Its own vote and that of n2, which arrives late.
  const LeaseAck ack{kFirst, request.boot, request.seq, 1, true, 2000};
  node.Hear(1, ack);
  node.Hear(2, ack);
  ASSERT_TRUE(HoldsLease(node.state, node.now));
  EXPECT_EQ(node.state.lease_until, sent + kLease);
}

TEST(Lease, IsOverWithEitherClock) {
  for (const bool raw : {false, true}) {
    Node node(1);
    node.See(DbState::kPrimary);
    const LeaseRequest request{kFirst, Version{1}, node.state.durable.boot_count,
                               node.state.request_seq, 0};
    for (const std::uint16_t voter : {2, 3})
      node.Hear(voter, LeaseAck{kFirst, request.boot, request.seq, 1, true, 2000});
    ASSERT_TRUE(HoldsLease(node.state, node.now));
    Instant later = node.now;
    (raw ? later.monotonic_raw : later.boottime) += kLease;
    EXPECT_FALSE(HoldsLease(node.state, later)) << raw;
  }
}

TEST(Lease, LateAcknowledgementAfterARestartIsIgnored) {
  Node node(1);
  node.See(DbState::kPrimary);
  const BootCount before{node.state.durable.boot_count.value - 1};
  for (const std::uint16_t voter : {2, 3})
    node.Hear(voter, LeaseAck{kFirst, before, node.state.request_seq, 1, true, 2000});
  EXPECT_FALSE(HoldsLease(node.state, node.now));
}

TEST(Lease, GrantNeedsAnEchoOfTheLastTtl) {
  struct Case {
    const char* name;
    Micros age;
    std::uint64_t off;
    bool granted;
  };
  for (const Case& c :
       {Case{"at once", Micros{0}, 0, true}, Case{"within the TTL", kTtl, 0, true},
        Case{"too old", kTtl + kMoment, 0, false}, Case{"not issued", Micros{0}, 9, false}}) {
    Node node(2);
    node.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{1}, 1, 0});
    const LeaseAck nonce = node.Sent<LeaseAck>(1).value();
    ASSERT_FALSE(nonce.granted) << c.name;
    node.Pass(c.age);
    node.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{1}, 2, nonce.nonce + c.off});
    EXPECT_EQ(node.Sent<LeaseAck>(1).value().granted, c.granted) << c.name;
    node.Hear(3, SecondEpoch());
    EXPECT_EQ(node.Sent<Accepted>(3).has_value(), !c.granted) << c.name;
  }
}

TEST(Lease, PromiseRefusesEveryOtherEpochUntilTheLastClockSaysSo) {
  Node node(2);
  ASSERT_TRUE(Grant(node, 1).granted);
  const Instant granted = node.now;
  node.now = granted + (kTtl - kMoment);
  node.Hear(3, SecondEpoch(1));
  EXPECT_FALSE(node.Sent<Accepted>(3));
  node.now = {granted.boottime + 2 * kTtl, granted.monotonic_raw + kTtl - kMoment};
  node.Hear(3, SecondEpoch(2));
  EXPECT_FALSE(node.Sent<Accepted>(3)) << "one clock stood still";
  node.now = granted + kTtl;
  node.Hear(3, SecondEpoch(3));
  EXPECT_TRUE(node.Sent<Accepted>(3));
}

TEST(Lease, CommitIsAcceptedUnderTheSamePromise) {
  Node node(2);
  ASSERT_TRUE(Grant(node, 1).granted);
  const Accept second = SecondEpoch();
  node.Hear(3, Commit{second.written, 1});
  EXPECT_EQ(CommittedValue(node.state)->epoch, second.written.value->epoch);
  EXPECT_EQ(node.state.durable.accepted->value->epoch, kFirst);
  node.Pass(kTtl);
  node.Hear(3, Commit{second.written, 2});
  EXPECT_EQ(node.state.durable.accepted->value->epoch, second.written.value->epoch);
}

TEST(Lease, OldPrimaryThatReturnsIsNotGranted) {
  Node node(2);
  const std::uint64_t nonce = Grant(node, 1).nonce;
  node.Hear(3, SecondEpoch());
  ASSERT_EQ(node.state.durable.accepted->value->epoch, kFirst);
  node.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{1}, 9, nonce});
  EXPECT_FALSE(node.Sent<LeaseAck>(1));
}

TEST(Lease, OldRequestExtendsNothing) {
  Node node(2);
  const std::uint64_t nonce = Grant(node, 5).nonce;
  node.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{1}, 6, nonce});
  EXPECT_FALSE(node.Sent<LeaseAck>(1)) << "the same request again";
  node.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{2}, 1, nonce});
  EXPECT_TRUE(node.Sent<LeaseAck>(1)) << "a request after a restart of the primary";
}

TEST(Lease, ReleaseEndsThePromiseButNotALaterOne) {
  for (const std::uint64_t seq : {5, 6}) {
    Node node(2);
    ASSERT_TRUE(Grant(node, 5).granted);  // by request 6
    node.Hear(1, Release{kFirst, BootCount{1}, seq});
    node.Hear(3, SecondEpoch());
    EXPECT_EQ(node.Sent<Accepted>(3).has_value(), seq == 6) << seq;
  }
}

TEST(Lease, SteadyStateTouchesNoDisk) {
  Node voter(2);
  std::uint64_t nonce = Grant(voter, 1).nonce;
  voter.Hear(3, Commit{WriteOf(FirstValue(), BallotOf(1, 1)), 1});
  for (std::uint64_t i = 3; i < 50; i++) {
    voter.Pass(milliseconds(150));
    voter.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{1}, i, nonce});
    EXPECT_FALSE(voter.last.persist);
    ASSERT_TRUE(voter.Sent<LeaseAck>(1).value().granted);
    nonce = voter.Sent<LeaseAck>(1)->nonce;
    voter.Hear(1, Commit{WriteOf(FirstValue(), BallotOf(1, 1)), i});
    EXPECT_FALSE(voter.last.persist);
    EXPECT_FALSE(voter.SeeReceiverObey().persist);
    EXPECT_FALSE(voter.Tick().persist);
  }
}

RegisterValue WithTtl(std::uint32_t ttl_ms, std::uint64_t version) {
  RegisterValue value = FirstValue();
  value.version = Version{version};
  value.lease_ttl_ms = ttl_ms;
  value.longest_ttl_ms = std::max(value.longest_ttl_ms, ttl_ms);
  return value;
}

// A change of the TTL reaches nodes one by one: the holder counts with what the voter told it, and
// the voter keeps what it told.
TEST(Lease, IsAsLongAsTheVotersPromised) {
  struct Case {
    const char* name;
    std::uint32_t told_ms;
    Micros lease;
  };
  for (const Case& c : {Case{"they know the longer one", 8000, milliseconds(6400)},
                        Case{"they still go by the shorter one", 2000, milliseconds(1600)}}) {
    Node node(1, WithTtl(8000, 2));
    node.See(DbState::kPrimary);
    const std::uint64_t seq = node.state.request_seq;
    const BootCount boot = node.state.durable.boot_count;
    for (const std::uint16_t voter : {2, 3})
      node.Hear(voter, LeaseAck{kFirst, boot, seq, 1, true, c.told_ms});
    node.Pass(c.lease - kMoment);
    EXPECT_TRUE(HoldsLease(node.state, node.now)) << c.name;
    node.Pass(kMoment);
    EXPECT_FALSE(HoldsLease(node.state, node.now)) << c.name;
  }
}

TEST(Lease, AVoterPromisesWhatItTellsThoughItHasNotLearnedItYet) {
  Node node(2);
  node.Hear(3, Accept{WriteOf(WithTtl(8000, 2), BallotOf(5, 3)), 1});
  const LeaseAck ack = Grant(node, 1);
  ASSERT_TRUE(ack.granted);
  EXPECT_EQ(ack.ttl_ms, 8000u);
  node.Pass(milliseconds(8000) - kMoment);
  node.Hear(3, SecondEpoch(2));
  EXPECT_FALSE(node.Sent<Accepted>(3));
  node.Pass(kMoment);
  node.Hear(3, SecondEpoch(3));
  EXPECT_TRUE(node.Sent<Accepted>(3));
}

// ---------------------------------------------------------------- rule 3

TEST(HoldOff, LastsForTheLongestLeaseEverGranted) {
  Durable durable = MemoryOf(2, WithTtl(500, 2));
  durable.max_ttl_granted_ms = 4000;
  Node node(durable);
  node.Pass(milliseconds(4800) - kMoment);
  node.Hear(3, SecondEpoch(1));
  EXPECT_FALSE(node.Sent<Accepted>(3));
  node.Pass(kMoment);
  node.Hear(3, SecondEpoch(2));
  EXPECT_TRUE(node.Sent<Accepted>(3));
}

TEST(HoldOff, BlocksAnEpochChangeAfterEveryStart) {
  Node node(MemoryOf(2, FirstValue()));
  ASSERT_EQ(node.state.durable.boot_count, BootCount{2});
  node.Pass(kHoldOff - kMoment);
  node.Hear(3, SecondEpoch(1));
  EXPECT_FALSE(node.Sent<Accepted>(3));
  node.Pass(kMoment);
  node.Hear(3, SecondEpoch(2));
  EXPECT_TRUE(node.Sent<Accepted>(3));
}

TEST(HoldOff, LetsTheSameEpochBeWrittenAndLeased) {
  Node node(MemoryOf(2, FirstValue()));
  EXPECT_TRUE(Grant(node, 1).granted);
  node.Hear(3, Accept{WriteOf(FirstValue(), BallotOf(5, 3)), 1});
  EXPECT_TRUE(node.Sent<Accepted>(3));
}

TEST(HoldOff, CountsAsALivePromise) {
  Node node(MemoryOf(2, FirstValue()));
  const Written same = WriteOf(FirstValue(), BallotOf(5, 3));
  node.Hear(3, Commit{same, 1});
  EXPECT_TRUE(node.Sent<HeartbeatAck>(3).value().promise_live);
  node.Pass(kHoldOff);
  node.Hear(3, Commit{same, 2});
  EXPECT_FALSE(node.Sent<HeartbeatAck>(3).value().promise_live);
}

}  // namespace
}  // namespace orchestra::hand
