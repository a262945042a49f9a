// How a cluster comes to be, what a restart and a failed write leave behind.
#include <gtest/gtest.h>

#include <sstream>

#include "consensus_node.h"

namespace orchestra::hand {
namespace {

constexpr Ballot kCreation{1, NodeId{1}};

Introduced IntroductionOf(std::uint16_t id) {
  Introduced me;
  me.self = samples::Node(id);
  me.identity = IdentityOf(id);
  me.identity.node = kNoNode;
  return me;
}

Node Unconfigured(std::uint16_t id, DbState db) {
  Node node(BootDecision{}, id);
  node.Do(IntroductionOf(id));
  node.See(db);
  return node;
}

Node Restarted(const Durable& durable, std::uint16_t id, Phase phase) {
  BootDecision decision;
  decision.phase = phase;
  decision.durable = durable;
  Node node(decision, id);
  node.Do(IntroductionOf(id));
  node.See(DbState::kStandby);
  return node;
}

// ---------------------------------------------------------------- creation

TEST(Creation, IsPendingUntilCommitted) {
  Node node = Unconfigured(2, DbState::kStandby);
  node.Hear(1, Create{WriteOf(FirstValue(), kCreation)});
  EXPECT_TRUE(node.last.persist);
  EXPECT_FALSE(node.last.write_marker);
  EXPECT_TRUE(node.Sent<Accepted>(1));
  EXPECT_EQ(node.state.phase, Phase::kPending);
  EXPECT_FALSE(DutiesOf(node.state, node.now).gated);
  node.Hear(1, Commit{WriteOf(FirstValue(), kCreation), 1});
  EXPECT_TRUE(node.last.persist);
  EXPECT_TRUE(node.last.write_marker);
  EXPECT_EQ(node.state.phase, Phase::kConfigured);
  EXPECT_TRUE(DutiesOf(node.state, node.now).gated);
}

TEST(Creation, CreatorIsTheLastOfAllVoters) {
  Node node = Unconfigured(1, DbState::kPrimary);
  node.Do(CreateCluster{FirstValue(), IdentityOf(1)});
  EXPECT_TRUE(node.Sent<Create>(2));
  EXPECT_TRUE(node.Sent<Create>(3));
  node.Hear(2, Accepted{WriteId{kCreation, Version{1}}});
  EXPECT_EQ(node.state.phase, Phase::kUnconfigured);
  EXPECT_FALSE(node.last.persist);
  EXPECT_FALSE(DutiesOf(node.state, node.now).gated);
  node.Hear(3, Accepted{WriteId{kCreation, Version{1}}});
  EXPECT_EQ(node.state.phase, Phase::kConfigured);
  EXPECT_TRUE(node.last.persist && node.last.write_marker);
  EXPECT_TRUE(DutiesOf(node.state, node.now).gated);
  EXPECT_FALSE(DutiesOf(node.state, node.now).gate_open) << "no lease yet";
  EXPECT_TRUE(node.Sent<Commit>(2));
}

TEST(Creation, LateAnswersToAnAbandonedOneChangeNothing) {
  Node node = Unconfigured(1, DbState::kPrimary);
  node.Do(CreateCluster{FirstValue(), IdentityOf(1)});
  node.Hear(2, Accepted{WriteId{kCreation, Version{1}}});
  node.Do(AbandonCreation{});
  node.Hear(3, Accepted{WriteId{kCreation, Version{1}}});
  EXPECT_EQ(node.state.phase, Phase::kUnconfigured);
  EXPECT_FALSE(node.last.persist);
}

TEST(Creation, HalfMadeClusterGatesNobodyAndElectsNobody) {
  Node before = Unconfigured(2, DbState::kStandby);
  before.Hear(1, Create{WriteOf(FirstValue(), kCreation)});
  Node node = Restarted(before.state.durable, 2, Phase::kPending);
  for (int i = 0; i < 1000; i++) {
    node.Pass(milliseconds(25));
    node.Tick();
    ASSERT_EQ(node.state.role, Role::kFollower);
    ASSERT_FALSE(node.Sent<PreVote>(3));
  }
  const Duties duties = DutiesOf(node.state, node.now);
  EXPECT_FALSE(duties.gated);
  EXPECT_FALSE(duties.receiver_closed);
}

// The creator died right after its own write: whoever asks gets the votes, and all are configured.
TEST(Creation, PendingNodeVotes) {
  Node before = Unconfigured(2, DbState::kStandby);
  before.Hear(1, Create{WriteOf(FirstValue(), kCreation)});
  Node node = Restarted(before.state.durable, 2, Phase::kPending);
  const Ballot ballot{2, NodeId{1}};
  node.Hear(1, PreVote{ballot, false});
  EXPECT_TRUE(node.Sent<PreVoteOk>(1));
  node.Hear(1, Prepare{ballot});
  EXPECT_EQ(*node.Sent<Promise>(1).value().accepted->value, FirstValue());
  node.Hear(1, Accept{WriteOf(FirstValue(), ballot), 1});
  EXPECT_TRUE(node.Sent<Accepted>(1));
}

// The vote file was written, then the machine died before the marker was.
TEST(Creation, PendingNodeThatKnowsTheCommitIsConfiguredWhenToldAgain) {
  Node before = Unconfigured(2, DbState::kStandby);
  const Written first = WriteOf(FirstValue(), kCreation);
  before.Hear(1, Create{first});
  before.Hear(1, Commit{first, 1});
  Node node = Restarted(before.state.durable, 2, Phase::kPending);
  node.Hear(1, Commit{first, 2});
  EXPECT_EQ(node.state.phase, Phase::kConfigured);
  EXPECT_TRUE(node.last.write_marker);
}

TEST(Creation, VoterThatLostItsVoteFileStaysQuarantined) {
  BootDecision decision;
  decision.phase = Phase::kQuarantined;
  decision.marker = Marker{kCluster, kSystem, "main"};
  Node node(decision, 2);
  node.Do(IntroductionOf(2));
  node.See(DbState::kStandby);
  node.Hear(1, Commit{WriteOf(FirstValue(), kCreation), 1});
  EXPECT_EQ(node.state.phase, Phase::kQuarantined);
  node.Hear(1, PreVote{Ballot{2, NodeId{1}}, false});
  EXPECT_TRUE(node.last.send.empty());
  node.Hear(1, Accept{WriteOf(FirstValue(), kCreation), 2});
  EXPECT_TRUE(node.last.send.empty());
}

TEST(Creation, ClusterOfOneNeedsNobody) {
  Node node = Unconfigured(1, DbState::kPrimary);
  node.Do(CreateCluster{FirstValue(1), IdentityOf(1)});
  ASSERT_EQ(node.state.phase, Phase::kConfigured);
  node.view.status.flush_lsn = Lsn{100};
  for (int i = 0; i < 40; i++) {
    node.See(DbState::kPrimary);
    node.Enforce();
    node.Pass(milliseconds(25));
    node.Tick();
  }
  EXPECT_TRUE(GateOpen(node.state, node.now));
}

// ---------------------------------------------------------------- restarts and failed writes

TEST(Restart, RaisesTheBootCountAndForgetsNoPromise) {
  Durable durable = MemoryOf(2, FirstValue());
  durable.promised = Ballot{7, NodeId{3}};
  durable.fenced = kFirst;
  Node node(durable);
  EXPECT_EQ(node.state.durable.boot_count.value, durable.boot_count.value + 1);
  node.Hear(1, Prepare{Ballot{7, NodeId{1}}});
  EXPECT_EQ(node.Sent<Nack>(1), Nack{durable.promised});
  node.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{1}, 1, 0});
  EXPECT_FALSE(node.Sent<LeaseAck>(1));
}

TEST(Restart, NonceOfAnEarlierLifeIsNoEcho) {
  Node before(2);
  before.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{1}, 1, 0});
  const std::uint64_t nonce = before.Sent<LeaseAck>(1).value().nonce;
  Node node(before.state.durable);
  node.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{1}, 2, nonce});
  const LeaseAck answer = node.Sent<LeaseAck>(1).value();
  EXPECT_FALSE(answer.granted);
  EXPECT_NE(answer.nonce, nonce);
}

std::string TextOf(const Actions& actions) {
  std::ostringstream text;
  for (const Envelope& envelope : actions.send) {
    text << envelope.to.value << ' ';
    PrintTo(envelope.message, &text);
    text << '\n';
  }
  return text.str();
}

// The shell puts the state back when a step could not be made durable. Nothing of it may be left:
// the same message again has the same answer, and that is told only once it is durable.
TEST(Restart, PersistFailureIsALostMessage) {
  const Ballot ballot{5, NodeId{3}};
  const RegisterValue second = NextEpoch(FirstValue(), 3, ballot);
  struct Case {
    const char* name;
    Message message;
  };
  for (const Case& c :
       {Case{"prepare", Prepare{ballot}}, Case{"accept", Accept{WriteOf(second, ballot), 1}},
        Case{"commit", Commit{WriteOf(second, ballot), 1}},
        Case{"fence", Fence{ballot, Version{1}, kFirst, false}}}) {
    Node node(2);
    node.See(DbState::kStandby);
    const State before = node.state;
    node.Hear(3, c.message);
    ASSERT_TRUE(node.last.persist) << c.name;
    const std::string first = TextOf(node.last);
    const Durable durable = node.state.durable;
    node.state = before;
    node.Hear(3, c.message);
    EXPECT_TRUE(node.last.persist) << c.name;
    EXPECT_EQ(TextOf(node.last), first) << c.name;
    EXPECT_EQ(node.state.durable, durable) << c.name;
  }
}

}  // namespace
}  // namespace orchestra::hand
