#include "core/types.h"

#include "core/message.h"
#include "unit/printers.h"
#include "unit/samples.h"

namespace orchestra {
namespace {

TEST(Types, LsnLooksAsInPostgreSQL) {
  EXPECT_EQ(ToText(Lsn{}), "0/0");
  EXPECT_EQ(ToText(Lsn{0x1A2B3C}), "0/1A2B3C");
  EXPECT_EQ(ToText(Lsn{0x16'B374D848}), "16/B374D848");
  EXPECT_EQ(ToText(Lsn{0xFFFFFFFF'00000001}), "FFFFFFFF/1");
}

TEST(Types, BallotsAndWritesHaveATextAndAnOrder) {
  EXPECT_EQ(ToText(Ballot{4, NodeId{2}}), "4.2");
  EXPECT_EQ(ToText(WriteId{Ballot{4, NodeId{2}}, Version{17}}), "4.2/17");
  EXPECT_EQ(ToText(samples::Epoch(4, 2, 17)), "4.2/17");
  const std::vector<EpochId> ascending = {EpochId{}, samples::Epoch(1, 2, 9),
                                          samples::Epoch(1, 3, 1), samples::Epoch(2, 1, 1),
                                          samples::Epoch(2, 1, 2)};
  for (std::size_t i = 1; i < ascending.size(); i++) EXPECT_LT(ascending[i - 1], ascending[i]);
}

TEST(Types, AHolderTrustsTheFirstClockAndAVoterTheLast) {
  const Instant now{Micros{100}, Micros{200}};
  const Instant both{Micros{101}, Micros{201}};
  const Instant one{Micros{100}, Micros{201}};
  EXPECT_TRUE(BeforeOnEveryClock(now, both));
  EXPECT_FALSE(BeforeOnEveryClock(now, one));
  EXPECT_TRUE(BeforeOnSomeClock(now, one));
  EXPECT_FALSE(BeforeOnSomeClock(now, now));
  EXPECT_EQ(Latest(Instant{Micros{5}, Micros{1}}, Instant{Micros{4}, Micros{2}}),
            (Instant{Micros{5}, Micros{2}}));
  EXPECT_EQ(Since(now, both), Micros{0});
  EXPECT_EQ(Since(both, Instant{Micros{100}, Micros{195}}), Micros{6});
}

TEST(Types, EveryMessageHasAName) {
  std::set<std::string> names;
  for (const Message& message : samples::Messages()) names.insert(NameOf(message));
  EXPECT_EQ(names.size(), std::variant_size_v<Message>);
  EXPECT_STREQ(NameOf(Message{PreVote{}}), "PREVOTE");
  EXPECT_STREQ(NameOf(Message{Commit{}}), "COMMIT");
  EXPECT_STREQ(NameOf(Message{HeartbeatAck{}}), "HEARTBEAT_ACK");
  EXPECT_STREQ(NameOf(Message{LeaseRequest{}}), "LEASE_REQ");
  EXPECT_STREQ(NameOf(Message{LeaseAck{}}), "LEASE_ACK");
  EXPECT_STREQ(NameOf(Message{Fence{}}), "FENCE");
  EXPECT_STREQ(NameOf(Message{Fenced{}}), "FENCED");
  EXPECT_STREQ(NameOf(Message{Status{}}), "STATUS");
  EXPECT_STREQ(NameOf(Message{Join{}}), "JOIN");
  EXPECT_STREQ(MessageName(std::variant_size_v<Message>), "UNKNOWN");
}

}  // namespace
}  // namespace orchestra
