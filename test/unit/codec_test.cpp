#include "core/codec.h"

#include <limits>

#include "unit/printers.h"
#include "unit/samples.h"

namespace orchestra {
namespace {

TEST(Crc32c, KnownAnswers) {  // RFC 3720, B.4, and the usual check value
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283);
  EXPECT_EQ(Crc32c(""), 0U);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AA);
  EXPECT_EQ(Crc32c(std::string(32, '\xFF')), 0x62A8AB43);
}

TEST(Codec, NumbersAreLittleEndian) {
  Writer out;
  out(std::uint32_t{0x01020304});
  out(std::int64_t{-2});
  out(true);
  EXPECT_EQ(out.bytes(), std::string("\x04\x03\x02\x01\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 13));
  Reader in(out.bytes());
  std::uint32_t first = 0;
  std::int64_t second = 0;
  bool third = false;
  in(first);
  in(second);
  in(third);
  EXPECT_EQ(first, 0x01020304U);
  EXPECT_EQ(second, -2);
  EXPECT_TRUE(third);
  EXPECT_TRUE(in.Complete());
}

TEST(Codec, AFailureIsSticky) {
  Reader in(std::string_view("\x01\x02\x03", 3));
  std::uint16_t two = 0;
  in(two);
  EXPECT_EQ(two, 0x0201);
  std::uint32_t four = 7;
  in(four);
  EXPECT_EQ(four, 0U);
  EXPECT_FALSE(in.ok());
  std::uint8_t one = 7;
  in(one);  // there is a byte, but it means nothing any more
  EXPECT_EQ(one, 0U);
  EXPECT_FALSE(in.Complete());
}

TEST(Codec, TrailingBytesAreRefused) {
  const std::string image = Encode(samples::Node(1));
  EXPECT_EQ(Decode<Member>(image), samples::Node(1));
  EXPECT_EQ(Decode<Member>(image + '\0'), std::nullopt);
}

TEST(Codec, BoolsAndEnumsAreRangeChecked) {
  EXPECT_EQ(Decode<bool>(std::string_view("\x01", 1)), true);
  EXPECT_EQ(Decode<bool>(std::string_view("\x02", 1)), std::nullopt);
  std::string image = Encode(samples::FullStatus());
  image[0] = static_cast<char>(DbState::kNone);
  EXPECT_TRUE(Decode<NodeStatus>(image));
  image[0] = static_cast<char>(DbState::kNone) + 1;
  EXPECT_FALSE(Decode<NodeStatus>(image));
}

TEST(Codec, OverLongNamesAreRefused) {
  Member member = samples::Node(1);
  member.name.assign(kMaxNameBytes, 'n');
  member.peer.host.assign(kMaxAddressBytes, 'h');
  EXPECT_EQ(Decode<Member>(Encode(member)), member);
  member.name += 'n';
  EXPECT_EQ(Decode<Member>(Encode(member)), std::nullopt);
  member.name = "n1";
  member.peer.host += 'h';
  EXPECT_EQ(Decode<Member>(Encode(member)), std::nullopt);
  member.peer.host.assign(70'000, 'h');  // more than a length can say
  EXPECT_EQ(Decode<Member>(Encode(member)), std::nullopt);
}

TEST(Codec, OverLongListsAreRefused) {
  WalPosition position = samples::Position();
  position.history.assign(kMaxHistory, {TimelineId{1}, Lsn{2}});
  EXPECT_EQ(Decode<WalPosition>(Encode(position)), position);
  position.history.emplace_back();
  EXPECT_EQ(Decode<WalPosition>(Encode(position)), std::nullopt);
  SyncSet sync;
  sync.nodes.assign(kMaxMembers + 1, NodeId{1});
  EXPECT_EQ(Decode<SyncSet>(Encode(sync)), std::nullopt);
  sync.nodes.assign(0x10001, NodeId{1});  // would be 1 in 16 bits
  EXPECT_EQ(Decode<SyncSet>(Encode(sync)), std::nullopt);
}

TEST(Codec, OverLongTextsAreCut) {
  NodeStatus status = samples::FullStatus();
  status.problem.assign(1000, 'p');
  const auto decoded = Decode<NodeStatus>(Encode(status));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->problem, std::string(kMaxProblemBytes, 'p'));
}

TEST(Codec, ACutNeverSplitsACharacter) {
  EXPECT_EQ(Cut("abc", 3), "abc");
  EXPECT_EQ(Cut("abcd", 3), "abc");
  EXPECT_EQ(Cut("ab\xC3\xA9", 3), "ab");    // e acute: two bytes
  EXPECT_EQ(Cut("a\xE2\x82\xAC", 3), "a");  // euro sign: three
  EXPECT_EQ(Cut("a\xE2\x82\xAC"
                "b",
                4),
            "a\xE2\x82\xAC");
  EXPECT_EQ(Cut("\xF0\x9F\x98\x80z", 3), "");                // four
  EXPECT_EQ(Cut("\x80\x80\x80\x80\x80\x80", 5).size(), 5U);  // no UTF-8: cut anywhere
}

TEST(Codec, AnInvalidRegisterIsRefused) {
  RegisterValue value = samples::Value();
  EXPECT_EQ(Decode<RegisterValue>(Encode(value)), value);
  value.members[3].voter = true;
  ASSERT_NE(Validate(value), "");
  EXPECT_EQ(Decode<RegisterValue>(Encode(value)), std::nullopt);
}

TEST(Codec, ANullValueBecomesAnImageThatIsRefused) {
  const std::string image = Encode(Written{samples::Write().write, nullptr});
  EXPECT_FALSE(Decode<Written>(image));
}

TEST(Codec, Seals) {
  const std::string sealed = Seal("some bytes");
  EXPECT_EQ(Unseal(sealed), "some bytes");
  EXPECT_EQ(Unseal(sealed.substr(1)), std::nullopt);
  EXPECT_EQ(Unseal("abc"), std::nullopt);
  EXPECT_EQ(Unseal(""), std::nullopt);
}

}  // namespace
}  // namespace orchestra
