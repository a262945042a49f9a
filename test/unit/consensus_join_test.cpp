// Who asks to become a member: taken without a vote, or told by the register why not.
#include "consensus_node.h"

namespace orchestra::hand {
namespace {

// What a node at n9's addresses asks for.
Join Asks(const std::string& name, std::uint64_t system = kSystem) {
  Join join;
  join.wanted = samples::Node(9);
  join.wanted.id = kNoNode;
  join.wanted.name = name;
  join.system_identifier = system;
  join.incarnation = Incarnation{99};
  return join;
}

Introduced Introduction(const Join& join) {
  Introduced me;
  me.self = join.wanted;
  me.identity.incarnation = join.incarnation;
  me.identity.system_identifier = join.system_identifier;
  return me;
}

struct Asker {
  const char* what;
  Join join;
  ClusterId from;       // of its marker; zero: none
  const char* problem;  // what the register tells it; empty: it becomes a member
};
void PrintTo(const Asker& asker, std::ostream* os) { *os << asker.what; }

class Joining : public testing::TestWithParam<Asker> {};

// The asker as it waits for an answer.
Node Waiting(const Asker& asker) {
  BootDecision decision;
  if (asker.from != ClusterId{}) {
    decision.phase = Phase::kQuarantined;
    decision.marker = Marker{asker.from, asker.join.system_identifier, "main"};
  }
  Node node(decision);
  node.Do(Introduction(asker.join));
  node.See(DbState::kStandby);
  return node;
}

TEST_P(Joining, IsAnswered) {
  const Asker& asker = GetParam();
  Coordinator coordinator;
  const std::size_t members = coordinator.value().members.size();
  coordinator.Do(Received{{kNoNode, kNoNode, asker.join}, asker.from, Incarnation{}, BootCount{}});
  const bool taken = *asker.problem == '\0';
  EXPECT_EQ(coordinator.value().members.size(), members + (taken ? 1 : 0));
  std::optional<Commit> answer;
  for (const Envelope& envelope : coordinator.last.send)
    if (envelope.to == kNoNode && envelope.at == asker.join.wanted.peer)
      if (const Commit* commit = std::get_if<Commit>(&envelope.message)) answer = *commit;
  EXPECT_EQ(answer.has_value(), !taken);
  Node node = Waiting(asker);
  if (taken) {
    EXPECT_FALSE(coordinator.value().members.back().voter);
    node.Do(Received{{NodeId{2}, kNoNode, Commit{*coordinator.state.proposal, 1}},
                     kCluster,
                     Incarnation{},
                     BootCount{}});
    EXPECT_EQ(node.state.phase, Phase::kConfigured);
    EXPECT_TRUE(node.last.write_marker);
    ASSERT_TRUE(node.state.marker);
    EXPECT_EQ(node.state.marker->cluster_id, kCluster);
    return;
  }
  const Phase before = node.state.phase;
  node.Do(Received{{NodeId{2}, kNoNode, *answer}, kCluster, Incarnation{}, BootCount{}});
  EXPECT_NE(node.state.join_problem.find(asker.problem), std::string::npos)
      << node.state.join_problem;
  EXPECT_EQ(node.state.phase, before);
  EXPECT_FALSE(node.last.persist);
  EXPECT_TRUE(node.last.send.empty());
  node.Pass(seconds(6));
  node.Tick();
  EXPECT_EQ(node.state.join_problem, "") << "an answer of long ago";
}

INSTANTIATE_TEST_SUITE_P(
    Askers, Joining,
    testing::Values(
        Asker{"a standby", Asks("n9"), {}, ""}, Asker{"a clone", Asks("n9"), kCluster, ""},
        Asker{"a name that is taken", Asks("n3"), {}, "has a member named n3 already, at db3"},
        Asker{"a clone with a name that is taken", Asks("n3"), kCluster, "set another"},
        Asker{"another database system", Asks("n9", kSystem + 1), {}, "another database system"},
        Asker{"a clone of another cluster", Asks("n9"), ClusterId{7}, "another one than that"}));

TEST(Declining, AFollowerAnswersNobody) {
  Node node(2);
  node.Do(Received{{kNoNode, kNoNode, Asks("n3")}, ClusterId{}, Incarnation{}, BootCount{}});
  EXPECT_TRUE(node.last.send.empty());
}

// Named as a voter, with its file gone: it must not vote again.
TEST(Declining, AVoterThatLostItsVoteFileIsToldSo) {
  Join join = Asks("n3");
  join.wanted = samples::Node(3);
  Node node = Waiting({"", join, kCluster, ""});
  node.Do(Received{{NodeId{2}, kNoNode, Commit{WriteOf(FirstValue(), Ballot{1, NodeId{1}}), 1}},
                   kCluster,
                   Incarnation{},
                   BootCount{}});
  EXPECT_EQ(node.state.phase, Phase::kQuarantined);
  EXPECT_NE(node.state.join_problem.find("counts on the vote of n3, which is lost"),
            std::string::npos);
}

}  // namespace
}  // namespace orchestra::hand
