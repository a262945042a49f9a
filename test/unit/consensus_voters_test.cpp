// Rule 7: a change of voters, as the coordinator, a voter and the primary see it.
#include "consensus_node.h"

namespace orchestra::hand {
namespace {

constexpr Micros kHoldOff = milliseconds(2400);
using Ids = std::vector<NodeId>;

// Members 1 to 5; 1 to 3 vote.
RegisterValue FiveMembers() {
  RegisterValue value = FirstValue(5);
  for (Member& member : value.members)
    if (member.id > NodeId{3}) member.voter = member.sync_candidate = false;
  value.sync = SyncSet{};
  return value;
}

RegisterValue JointTo(RegisterValue value, const Ids& voters) {
  value.version.value++;
  value.voters_since = value.version;
  value.voters_prev.clear();
  for (Member& member : value.members) {
    if (member.voter) value.voters_prev.push_back(member.id);
    member.voter = std::find(voters.begin(), voters.end(), member.id) != voters.end();
  }
  return value;
}

const Ids kNew{NodeId{1}, NodeId{4}, NodeId{5}};

class Leader : public Coordinator {
 public:
  Leader() : Coordinator(FiveMembers()) {}
  void Everybody(std::initializer_list<std::uint16_t> ids) {
    for (const std::uint16_t id : ids) {
      AnswerHeartbeat(*this, id, true);
      NodeStatus status;
      status.db = id == 1 ? DbState::kPrimary : DbState::kStandby;
      status.receiver = id == 1 ? ReceiverState::kStopped : ReceiverState::kStreaming;
      status.flush_lsn = Lsn{1000};
      Hear(id, Status{status});
    }
  }
  void Ask(const Ids& voters) {
    Hear(1, Request{7, kFirst, value().version, BootCount{1}, ChangeVoters{voters}, state.ballot,
                    state.heartbeat_seq});
  }
  void Accepts(std::initializer_list<std::uint16_t> ids) {
    const WriteId write = state.proposal->write;
    for (const std::uint16_t id : ids) Hear(id, Accepted{write});
  }
};

TEST(Voters, AChangeNeedsMajoritiesOfBothAndIsFinalAfterTheLongestLease) {
  Leader node;
  node.Everybody({1, 3, 4, 5});
  node.Ask(kNew);
  ASSERT_EQ(node.value().voters_prev, (Ids{NodeId{1}, NodeId{2}, NodeId{3}}));
  node.Accepts({3});
  EXPECT_FALSE(node.state.proposal_committed) << "itself and n3: the old majority alone";
  node.Accepts({4});
  EXPECT_FALSE(node.state.proposal_committed);
  node.Accepts({5});
  ASSERT_TRUE(node.state.proposal_committed);
  EXPECT_EQ(node.Sent<Reply>(1).value().verdict, Verdict::kDone);
  const Version joint = node.value().version;
  node.Everybody({1, 3, 4, 5});
  node.Tick();
  for (Micros passed{}; passed < kHoldOff; passed += milliseconds(100)) {
    EXPECT_EQ(node.value().version, joint) << passed.count();
    node.Pass(milliseconds(100));
    node.Tick();
    node.Everybody({1, 3, 4, 5});
  }
  node.Pass(milliseconds(100));
  node.Tick();
  EXPECT_TRUE(node.value().voters_prev.empty());
  EXPECT_EQ(node.value().version.value, joint.value + 1);
}

TEST(Voters, AChangeIsNotFinalWhileAMajorityDoesNotKnowOfIt) {
  Leader node;
  node.Everybody({1, 3, 4, 5});
  node.Ask(kNew);
  node.Accepts({3, 4, 5});
  ASSERT_TRUE(node.state.proposal_committed);
  for (int i = 0; i < 100; i++) {
    node.Pass(milliseconds(100));
    node.Tick();
    // They answer, but only a heartbeat of before the commit.
    for (const std::uint16_t id : {1, 3, 4, 5})
      node.Hear(id, HeartbeatAck{node.state.ballot, 1, true, EpochId{}});
  }
  EXPECT_FALSE(node.value().voters_prev.empty());
}

TEST(Voters, ANewVoterMustBeHeardAndCaughtUp) {
  struct Case {
    const char* name;
    std::function<void(Leader&)> make;
    const char* reason;
  };
  for (const Case& c : {Case{"not heard",
                             [](Leader& n) {
                               n.Everybody({1, 3, 4});
                             },
                             "n5 is not heard"},
                        Case{"does not stream",
                             [](Leader& n) {
                               n.Everybody({1, 3, 4, 5});
                               n.Hear(5, Status{});
                             },
                             "n5 does not stream"},
                        Case{"far behind",
                             [](Leader& n) {
                               n.Everybody({1, 3, 4, 5});
                               NodeStatus primary;
                               primary.flush_lsn = Lsn{100u << 20};
                               n.Hear(1, Status{primary});
                             },
                             "n4 is not caught up"}}) {
    Leader node;
    c.make(node);
    node.Ask(kNew);
    const Reply reply = node.Sent<Reply>(1).value();
    EXPECT_EQ(reply.verdict, Verdict::kMoved) << c.name;
    EXPECT_EQ(reply.reason, c.reason) << c.name;
    EXPECT_EQ(node.value().version, Version{1});
  }
}

TEST(Voters, ACandidateAsksTheVotersOfTheValueThatItAdopts) {
  const RegisterValue old = FiveMembers();
  const RegisterValue joint = JointTo(old, kNew);
  Node node(2, old);
  node.Pass(seconds(5));
  node.Tick();
  const Ballot ballot = node.Sent<PreVote>(1).value().ballot;
  for (const std::uint16_t voter : {1, 3}) node.Hear(voter, PreVoteOk{ballot});
  EXPECT_FALSE(node.Sent<Prepare>(4)) << "not a voter, for all that it knows";
  node.Hear(3, Promise{ballot, WriteOf(joint, Ballot{2, NodeId{1}})});
  EXPECT_EQ(node.state.role, Role::kCandidate) << "no majority of the new voters yet";
  EXPECT_TRUE(node.Sent<Prepare>(4) && node.Sent<Prepare>(5));
  node.Hear(4, Promise{ballot, std::nullopt});
  EXPECT_EQ(node.state.role, Role::kCandidate);
  node.Hear(5, Promise{ballot, WriteOf(joint, Ballot{2, NodeId{1}})});
  EXPECT_EQ(node.state.role, Role::kCoordinator);
  EXPECT_EQ(node.state.proposal->value->voters_prev, joint.voters_prev);
}

TEST(Voters, AVoterThatKnowsOfTheChangeGrantsOnlyToWhoKnowsItToo) {
  const RegisterValue joint = JointTo(FiveMembers(), kNew);
  Node node(2, FiveMembers());
  node.Hear(3, Accept{WriteOf(joint, Ballot{5, NodeId{3}}), 1});
  node.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{1}, 1, 0});
  EXPECT_TRUE(node.Sent<LeaseAck>(1)) << "accepted, not committed: it may never be";
  node.Hear(3, Commit{WriteOf(joint, Ballot{5, NodeId{3}}), 2});
  node.Hear(1, LeaseRequest{kFirst, Version{1}, BootCount{1}, 2, 0});
  EXPECT_FALSE(node.Sent<LeaseAck>(1));
  node.Hear(1, LeaseRequest{kFirst, Version{2}, BootCount{1}, 3, 0});
  EXPECT_TRUE(node.Sent<LeaseAck>(1));
}

TEST(Voters, ALeaseNeedsGrantsOfBothMajorities) {
  Node node(1, JointTo(FiveMembers(), kNew));
  node.See(DbState::kPrimary);
  const std::uint64_t seq = node.state.request_seq;
  const BootCount boot = node.state.durable.boot_count;
  const LeaseAck ack{kFirst, boot, seq, 1, true, 2000};
  for (const std::uint16_t voter : {2, 3}) node.Hear(voter, ack);
  EXPECT_FALSE(HoldsLease(node.state, node.now)) << "with its own: all of the old voters";
  node.Hear(4, ack);
  EXPECT_FALSE(HoldsLease(node.state, node.now));
  node.Hear(5, ack);
  EXPECT_TRUE(HoldsLease(node.state, node.now));
}

TEST(Voters, ARemovedMemberIsToldAndTakesNoPartAnyMore) {
  RegisterValue value = FiveMembers();
  Node node(5, value);
  value.version.value++;
  value.members.pop_back();
  node.Hear(3, Commit{WriteOf(value, Ballot{5, NodeId{3}}), 1});
  EXPECT_EQ(node.state.phase, Phase::kQuarantined);
  EXPECT_TRUE(node.last.persist);
  EXPECT_NE(node.state.durable.expelled.find("removed"), std::string::npos);
  EXPECT_TRUE(DutiesOf(node.state, node.now).receiver_closed);
  node.Hear(3, Commit{WriteOf(FiveMembers(), Ballot{5, NodeId{3}}), 2});
  EXPECT_EQ(node.state.phase, Phase::kQuarantined);
}

TEST(Failover, ByCallGoesToTheOneThatWasNamedIfItHoldsEverything) {
  for (const bool behind : {false, true}) {
    Coordinator node;
    AnswerHeartbeat(node, 3, true);
    node.Hear(3, Request{8, kFirst, Version{1}, BootCount{1}, StartFailover{NodeId{3}, false},
                         node.state.ballot, node.state.heartbeat_seq});
    EXPECT_EQ(node.Sent<Reply>(3).value().verdict, Verdict::kDone);
    node.Tick();
    node.FencedVoter(3);
    node.Pass(milliseconds(200));
    node.Tick();
    node.OwnPosition(End(100));
    node.Position(3, End(behind ? 90 : 100));
    node.WaitNoLonger();
    if (behind) {
      EXPECT_FALSE(node.Decided()) << "the one that was named is waited for";
      for (int i = 0; i < 60 && !node.Decided(); i++) {  // it cannot be fed either
        node.OwnPosition(End(100));
        node.Position(3, End(90));
        node.WaitNoLonger();
      }
    }
    ASSERT_TRUE(node.Decided());
    EXPECT_EQ(node.value().primary, NodeId{static_cast<std::uint16_t>(behind ? 2 : 3)});
  }
}

TEST(Failover, NotByItselfWhilePausedOrManual) {
  for (const bool paused : {false, true}) {
    RegisterValue value = FirstValue();
    if (paused)
      value.paused = true;
    else
      value.mode = Mode::kManual;
    Coordinator node(value);
    for (int i = 0; i < 100; i++) {
      node.Pass(milliseconds(100));
      AnswerHeartbeat(node, 3, false);
      node.Tick();
      ASSERT_TRUE(node.Decided());
    }
    AnswerHeartbeat(node, 3, false, kFirst);
    node.Tick();
    EXPECT_FALSE(node.Decided()) << "a fence that was begun is completed all the same";
  }
}

}  // namespace
}  // namespace orchestra::hand
