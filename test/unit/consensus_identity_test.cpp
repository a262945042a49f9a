// Rule 9: rolled-back and copied disks, and the forced recovery that ends a cluster.
#include "consensus_node.h"

namespace orchestra::hand {
namespace {

class Heard : public Node {
 public:
  explicit Heard(std::uint16_t id = 2) : Node(id) {}
  const Actions& From(std::uint16_t from, Message message, std::uint64_t boot,
                      std::uint64_t incarnation = 0) {
    return Do(Received{{NodeId{from}, NodeId{2}, std::move(message)},
                       kCluster,
                       Incarnation{incarnation == 0 ? from : incarnation},
                       BootCount{boot}});
  }
};

const Ballot kHigh{9, NodeId{3}};

TEST(Identity, AnOlderStartIsNotHeardAndIsToldSo) {
  Heard node;
  node.From(3, Status{}, 5);
  EXPECT_TRUE(node.last.persist);
  node.From(3, Prepare{kHigh}, 4);
  EXPECT_FALSE(node.Sent<Promise>(3));
  EXPECT_EQ(node.Sent<Recalled>(3).value().boot, BootCount{5});
  EXPECT_FALSE(node.last.persist);
  node.From(3, Prepare{kHigh}, 6);
  EXPECT_FALSE(node.Sent<Promise>(3)) << "a new start first says what it remembers";
  node.From(3, Status{}, 6);
  node.From(3, Prepare{kHigh}, 6);
  EXPECT_TRUE(node.Sent<Promise>(3));
}

TEST(Identity, MemoryIsWrittenOnlyWhenItChanges) {
  Heard node;
  node.From(3, Status{}, 5);
  for (int i = 0; i < 10; i++) {
    node.From(3, Status{}, 5);
    EXPECT_FALSE(node.last.persist);
  }
}

TEST(Identity, WhatAPeerVotedLastIsStoredThoughItFallsSilent) {
  Heard node;
  NodeStatus status;
  node.From(3, Status{status}, 5);
  node.Tick();
  status.promised = kHigh;
  node.From(3, Status{status}, 5);
  EXPECT_FALSE(node.last.persist) << "now and then is enough";
  node.Pass(seconds(1));
  node.Do(StorePeers{});
  EXPECT_TRUE(node.last.persist);
  ASSERT_EQ(node.state.durable.peers.size(), 1u);
  EXPECT_EQ(node.state.durable.peers[0].ballot, kHigh);
}

TEST(Identity, WhatACopyBeforeItVotedIsNotHeldAgainstANewOne) {
  Heard node;
  Written& known = *node.state.durable.committed;
  RegisterValue value = *known.value;
  value.members[2].incarnation = Incarnation{};  // it is not known yet which disk speaks for it
  known.value = std::make_shared<const RegisterValue>(value);
  NodeStatus status;
  status.promised = kHigh;
  node.From(3, Status{status}, 5, 3);
  node.From(3, HeartbeatAck{}, 1, 33);
  node.Pass(seconds(1));
  node.Do(StorePeers{});
  node.From(3, Status{}, 1, 33);
  EXPECT_FALSE(node.Sent<Recalled>(3));
}

TEST(Identity, ALowerBallotAfterARestartIsARollBack) {
  Heard node;
  NodeStatus status;
  status.promised = kHigh;
  node.From(3, Status{status}, 5);
  status.promised = Ballot{8, NodeId{3}};
  node.From(3, Status{status}, 6);
  EXPECT_EQ(node.Sent<Recalled>(3).value().ballot, kHigh);
  EXPECT_FALSE(node.last.persist);
  status.promised = kHigh;
  status.accepted = {kHigh, Version{4}};
  node.From(3, Status{status}, 6);
  node.Pass(seconds(2));
  status.accepted = {kHigh, Version{3}};
  node.From(3, Status{status}, 7);
  EXPECT_EQ(node.Sent<Recalled>(3).value().accepted, (WriteId{kHigh, Version{4}}));
}

TEST(Identity, AnotherDiskDoesNotSpeakForAMember) {
  Heard node;
  node.From(3, Prepare{kHigh}, 5, 77);
  EXPECT_FALSE(node.Sent<Promise>(3));
}

TEST(Identity, WhoIsOlderThanItsPeersRememberIsExpelled) {
  struct Case {
    const char* name;
    std::uint64_t incarnation, boot;
    Ballot ballot;
    WriteId accepted;
    bool expelled;
  };
  for (const Case& c :
       {Case{"as remembered", 2, 2, {}, {}, false}, Case{"newer start", 2, 3, {}, {}, true},
        Case{"higher ballot", 2, 2, kHigh, {}, true},
        Case{"newer write", 2, 2, {}, {kHigh, Version{2}}, true},
        Case{"another copy", 8, 9, kHigh, {}, false}, Case{"late news", 2, 1, {}, {}, false}}) {
    Heard node;
    node.From(3,
              Recalled{0, Incarnation{c.incarnation}, BootCount{c.boot}, c.ballot, c.accepted,
                       EpochId{}, true},
              1);
    EXPECT_EQ(node.state.phase == Phase::kQuarantined, c.expelled) << c.name;
    EXPECT_EQ(!node.state.durable.expelled.empty(), c.expelled) << c.name;
    if (!c.expelled) continue;
    EXPECT_TRUE(node.last.persist);
    node.From(3, Prepare{kHigh}, 1);
    EXPECT_FALSE(node.Sent<Promise>(3));
  }
}

// ---------------------------------------------------------------- suspects

BootDecision Moved() {
  BootDecision decision;
  decision.phase = Phase::kConfigured;
  decision.marker = Marker{kCluster, kSystem, "main"};
  decision.durable = MemoryOf(2, FirstValue());
  decision.suspect = decision.moved = true;
  return decision;
}

class Suspect : public Node {
 public:
  Suspect() : Node(Moved(), 2) {
    Introduced me;
    me.self = samples::Node(2);
    me.identity = IdentityOf(2);
    me.identity.machine = 42;
    Do(me);
    See(DbState::kStandby);
    Pass(seconds(10));
    Tick();
  }
  void Answers(std::uint16_t from, BootCount boot, bool alive) {
    Hear(from, Recalled{nonce(), Incarnation{2}, boot, Ballot{}, WriteId{}, EpochId{}, alive});
  }
  std::uint64_t nonce() const { return state.recall_nonce; }
};

TEST(Suspect, IsMuteUntilAMajorityOfTheOthersVouches) {
  Suspect node;
  EXPECT_TRUE(node.Sent<Recall>(1) && node.Sent<Recall>(3));
  EXPECT_EQ(node.last.send.size(), 2u) << "it says nothing else";
  node.Hear(3, Prepare{kHigh});
  node.Hear(3, PreVote{kHigh, false});
  node.Hear(3, Accept{WriteOf(FirstValue(), kHigh), 1});
  node.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{1}, 1, 0});
  EXPECT_TRUE(node.last.send.empty());
  EXPECT_TRUE(DutiesOf(node.state, node.now).receiver_closed) << "it must not confirm commits";
  node.Answers(1, BootCount{1}, false);
  EXPECT_TRUE(node.state.suspect) << "one of two";
  node.Answers(1, BootCount{1}, false);
  EXPECT_TRUE(node.state.suspect) << "the same one again";
  node.Answers(3, BootCount{1}, false);
  EXPECT_FALSE(node.state.suspect);
  EXPECT_TRUE(node.last.persist);
  EXPECT_EQ(node.state.durable.identity.machine, 42u);
  node.Hear(3, Prepare{kHigh});
  EXPECT_TRUE(node.Sent<Promise>(3));
}

// After a power cut every file system may have another number: they confirm each other. Not so on
// other machines, where the first ones may still be at work.
TEST(Suspect, AnswersAnotherOneOnlyOnItsOwnMachine) {
  for (const bool moved : {false, true}) {
    Suspect node;
    node.state.moved = moved;
    node.Pass(seconds(10));
    node.Hear(3, Recall{17});
    EXPECT_EQ(node.Sent<Recalled>(3).has_value(), !moved);
  }
}

TEST(Suspect, StaysSoWhileAnotherSpeaksInItsName) {
  Suspect node;
  for (const std::uint16_t from : {1, 3}) node.Answers(from, BootCount{1}, true);
  EXPECT_TRUE(node.state.suspect);
  EXPECT_NE(node.state.suspect_problem.find("another node that speaks"), std::string::npos);
}

TEST(Suspect, TheOlderCopyIsExpelled) {
  Suspect node;
  node.Answers(1, BootCount{9}, true);
  EXPECT_EQ(node.state.phase, Phase::kQuarantined);
}

TEST(Suspect, AnOperatorMayVouch) {
  Suspect node;
  node.Do(ConfirmIdentity{5});
  EXPECT_FALSE(node.state.suspect);
  EXPECT_EQ(node.state.answer.value().id, 5u);
}

TEST(Suspect, IsFarAheadOfTheOtherCopyOnceConfirmed) {
  Suspect node;
  const BootCount before = node.state.durable.boot_count;
  for (const std::uint16_t from : {1, 3}) node.Answers(from, BootCount{1}, false);
  EXPECT_GT(node.state.durable.boot_count.value, before.value + 1000);
}

TEST(Suspect, IsNotBelievedAndNoNewsAboutTheOneItNames) {
  Heard node;
  node.From(3, Status{}, 5);
  node.From(3, Recall{17}, 6);
  const Recalled answer = node.Sent<Recalled>(3).value();
  EXPECT_EQ(answer.boot, BootCount{5}) << "what was known before it asked";
  EXPECT_EQ(answer.nonce, 17u);
  EXPECT_TRUE(answer.alive);
  node.Pass(seconds(6));
  node.From(3, Recall{17}, 6);
  EXPECT_FALSE(node.Sent<Recalled>(3).value().alive);
}

// ---------------------------------------------------------------- forced recovery

const ClusterId kNewCluster{0xF00D};

TEST(Forced, TheSurvivorBecomesTheOnlyVoterOfANewCluster) {
  Node node(2);
  node.See(DbState::kStandby);
  node.Do(ForceRecovery{4, kNewCluster, "dba: n1 and n3 burned"});
  ASSERT_TRUE(node.state.answer.value().done) << node.state.answer->text;
  const RegisterValue& value = *CommittedValue(node.state);
  EXPECT_EQ(Validate(value), "");
  EXPECT_EQ(value.cluster_id, kNewCluster);
  EXPECT_EQ(value.former_clusters, std::vector{kCluster});
  EXPECT_EQ(value.primary, NodeId{2});
  EXPECT_EQ(VoterCount(value), 1u);
  EXPECT_TRUE(node.last.persist && node.last.write_marker);
  EXPECT_EQ(node.state.marker->cluster_id, kNewCluster);
  node.Tick();
  EXPECT_EQ(DutiesOf(node.state, node.now).promote, value.epoch);
}

// The requests of the former primary were numbered too, and higher.
TEST(Forced, TheSurvivorGrantsItselfTheLeaseAtOnce) {
  Node node(2);
  node.See(DbState::kStandby);
  node.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{9}, 1000, 0});
  node.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{9}, 1001,
                            node.Sent<LeaseAck>(1).value().nonce});
  ASSERT_TRUE(node.Sent<LeaseAck>(1).value().granted);
  node.Pass(seconds(10));
  node.Do(ForceRecovery{4, kNewCluster, "dba"});
  ASSERT_TRUE(node.state.answer.value().done) << node.state.answer->text;
  for (int i = 0; i < 4; i++) {
    node.Pass(milliseconds(250));
    node.Tick();
  }
  EXPECT_TRUE(HoldsLease(node.state, node.now));
}

TEST(Forced, IsRefusedWhileItMayNotBeNeeded) {
  struct Case {
    const char* name;
    std::function<void(Node&)> make;
    const char* why;
  };
  for (const Case& c :
       {Case{"a coordinator is heard",
             [](Node& n) {
               n.Hear(3, Commit{WriteOf(FirstValue(), Ballot{5, NodeId{3}}), 1});
             },
             "a coordinator is heard"},
        Case{"a lease was granted",
             [](Node& n) {
               n.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{1}, 1, 0});
               n.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{1}, 2,
                                      n.Sent<LeaseAck>(1).value().nonce});
             },
             "a lease may still"},
        Case{"its server is not up", [](Node& n) { n.See(DbState::kStarting); }, "does not run"}}) {
    Node node(2);
    node.See(DbState::kStandby);
    c.make(node);
    node.Do(ForceRecovery{4, kNewCluster, "dba"});
    EXPECT_FALSE(node.state.answer.value().done) << c.name;
    EXPECT_NE(node.state.answer->text.find(c.why), std::string::npos) << node.state.answer->text;
    EXPECT_EQ(CommittedValue(node.state)->cluster_id, kCluster);
    EXPECT_FALSE(node.last.persist);
  }
}

TEST(Forced, TheOtherSideIsExpelledWhenItHearsOfIt) {
  Node forced(2);
  forced.See(DbState::kStandby);
  forced.Do(ForceRecovery{4, kNewCluster, "dba"});
  const auto news = forced.Sent<Commit>(1);
  ASSERT_TRUE(news);
  Node old(1);
  old.See(DbState::kPrimary);
  old.Do(Received{{NodeId{2}, NodeId{1}, *news}, kNewCluster, Incarnation{2}, BootCount{2}});
  EXPECT_EQ(old.state.phase, Phase::kQuarantined);
  EXPECT_NE(old.state.durable.expelled.find("forced recovery on n2"), std::string::npos);
  EXPECT_FALSE(GateOpen(old.state, old.now));
  Node stranger(1);
  RegisterValue other = *news->written.value;
  other.former_clusters = {ClusterId{1}};
  stranger.Do(Received{{NodeId{2}, NodeId{1}, Commit{WriteOf(other, Ballot{9, NodeId{2}}), 1}},
                       kNewCluster,
                       Incarnation{2},
                       BootCount{2}});
  EXPECT_EQ(stranger.state.phase, Phase::kConfigured) << "another cluster altogether";
}

}  // namespace
}  // namespace orchestra::hand
