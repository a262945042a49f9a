#include "core/forming.h"

#include "unit/printers.h"
#include "unit/samples.h"

namespace orchestra {
namespace {

using Names = std::vector<std::string>;

TEST(Forming, AcceptsAnOddNumberOfDistinctNamesWithThisNode) {
  for (const Names& names : {Names{"n1"}, Names{"n2", "n1", "n3"}, Names{"a", "b", "c", "d", "n1"},
                             Names{"127.0.0.1:5432", "n1", "x-y_z"}}) {
    EXPECT_FALSE(CheckVoterNames(names, "n1").has_value()) << names.front();
  }
}

TEST(Forming, SaysWhatIsWrongWithTheNames) {
  struct Case {
    Names names;
    std::string message;
  };
  const std::string too_long(kMaxNameBytes + 1, 'x');
  for (const Case& c :
       {Case{{}, "a cluster cannot have 0 voters"},
        Case{{"n1", "n2"}, "a cluster cannot have 2 voters"},
        Case{{"n1", "2", "3", "4", "5", "6", "7", "8", "9"}, "a cluster cannot have 9 voters"},
        Case{{"n2", "n3", "n4"}, "this node is not among the nodes"},
        Case{{"n1", "n2", "n2"}, "a node is named twice"},
        Case{{""}, "\"\" is not a valid node name"},
        Case{{"n1", "n 2", "n3"}, "\"n 2\" is not a valid node name"},
        Case{{"n1", "n\"2", "n3"}, "\"n\"2\" is not a valid node name"},
        Case{{"n1", "n\n2", "n3"}, "\"n\n2\" is not a valid node name"},
        Case{{"n1", "\xc3\xa4", "n3"}, "\"\xc3\xa4\" is not a valid node name"},
        Case{{too_long}, "\"" + too_long + "\" is not a valid node name"}}) {
    const auto complaint = CheckVoterNames(c.names, "n1");
    ASSERT_TRUE(complaint.has_value()) << c.message;
    EXPECT_EQ(complaint->message, c.message);
    EXPECT_FALSE(complaint->hint.empty());
  }
}

constexpr Micros kNow = std::chrono::seconds(100);

BoardNode Hello(const std::string& name, Micros seen_at) {
  BoardNode node;
  node.member.name = name;
  node.seen_at = seen_at;
  return node;
}

Board BoardWith(std::vector<BoardNode> hellos) {
  Board board;
  board.node_name = "n1";
  board.nodes = std::move(hellos);
  BoardNode self = Hello("n1", kNow);
  self.self = true;
  board.nodes.push_back(self);
  return board;
}

TEST(Forming, NothingIsMissingOnceAllSaidHelloAndStream) {
  const Board board = BoardWith({Hello("n2", kNow), Hello("n3", kNow - kHelloFreshFor)});
  EXPECT_FALSE(FindMissing({"n1", "n2", "n3"}, board, {"n3", "other", "n2"}, kNow).has_value());
  EXPECT_FALSE(FindMissing({"n1"}, BoardWith({}), {}, kNow).has_value());
}

TEST(Forming, NamesWhoIsMissingAndWhat) {
  BoardNode troubled = Hello("n3", kNow - kHelloFreshFor - Micros{1});
  troubled.status = NodeStatus{};
  troubled.status->problem = "vote file unreadable";
  struct Case {
    const char* what;
    Board board;
    Names streaming;
    const char* message;
    const char* detail;
  };
  const Case cases[] = {
      {"silent",
       BoardWith({Hello("n2", kNow)}),
       {"n2", "n3"},
       "node \"n3\" is missing",
       "\"n3\": it has not said hello to this node's peer port.\n"
       "Streaming from here: \"n2\", \"n3\"."},
      {"not streaming",
       BoardWith({Hello("n2", kNow), Hello("n3", kNow)}),
       {"n2"},
       "node \"n3\" is missing",
       "\"n3\": no standby streams from here with application_name \"n3\".\n"
       "Streaming from here: \"n2\"."},
      {"another application_name",
       BoardWith({Hello("n2", kNow), Hello("n3", kNow)}),
       {"n2", "walreceiver"},
       "node \"n3\" is missing",
       "\"n3\": no standby streams from here with application_name \"n3\".\n"
       "Streaming from here: \"n2\", \"walreceiver\"."},
      {"all",
       BoardWith({}),
       {},
       "nodes \"n2\", \"n3\" are missing",
       "\"n2\": it has not said hello to this node's peer port, and no standby streams from here "
       "with application_name \"n2\".\n"
       "\"n3\": it has not said hello to this node's peer port, and no standby streams from here "
       "with application_name \"n3\".\n"
       "Streaming from here: nobody."},
      {"an old hello with a problem",
       BoardWith({Hello("n2", kNow), troubled}),
       {"n2", "n3"},
       "node \"n3\" is missing",
       "\"n3\": it has not said hello to this node's peer port (it says: vote file unreadable).\n"
       "Streaming from here: \"n2\", \"n3\"."},
  };
  for (const Case& c : cases) {
    const auto complaint = FindMissing({"n1", "n2", "n3"}, c.board, c.streaming, kNow);
    ASSERT_TRUE(complaint.has_value()) << c.what;
    EXPECT_EQ(complaint->message, c.message) << c.what;
    EXPECT_EQ(complaint->detail, c.detail) << c.what;
    EXPECT_EQ(complaint->hint.substr(0, 20), "Nothing was changed.") << c.what;
  }
}

}  // namespace
}  // namespace orchestra
