#include "core/durable.h"

#include <random>

#include "unit/printers.h"
#include "unit/samples.h"

namespace orchestra {
namespace {

std::string WhatIsWrong(std::string_view bytes) {
  const auto decoded = DecodeDurable(bytes);
  const auto* wrong = std::get_if<std::string>(&decoded);
  return wrong != nullptr ? *wrong : "";
}

TEST(VoteFile, ComesBack) {
  const Durable durable = samples::FullDurable();
  const auto decoded = DecodeDurable(EncodeDurable(durable));
  ASSERT_TRUE(std::holds_alternative<Durable>(decoded)) << std::get<std::string>(decoded);
  EXPECT_EQ(std::get<Durable>(decoded), durable);
  EXPECT_EQ(std::get<Durable>(DecodeDurable(EncodeDurable(Durable{}))), Durable{});
}

TEST(VoteFile, EveryTruncationIsRefused) {
  const std::string image = EncodeDurable(samples::FullDurable());
  for (std::size_t size = 0; size < image.size(); size++)
    ASSERT_NE(WhatIsWrong(image.substr(0, size)), "") << size;
}

TEST(VoteFile, EveryCorruptByteIsRefused) {
  const std::string image = EncodeDurable(samples::FullDurable());
  for (std::size_t at = 0; at < image.size(); at++)
    for (const int flip : {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF}) {
      std::string corrupt = image;
      corrupt[at] = static_cast<char>(corrupt[at] ^ flip);
      ASSERT_NE(WhatIsWrong(corrupt), "") << "byte " << at;
    }
}

TEST(VoteFile, WhatIsWrongIsTold) {
  const std::string image = EncodeDurable(samples::FullDurable());
  EXPECT_NE(WhatIsWrong("").find("does not begin with ORCHVOTE"), std::string::npos);
  EXPECT_NE(WhatIsWrong(EncodeMarker(samples::FullMarker())).find("ORCHVOTE"), std::string::npos);
  EXPECT_NE(WhatIsWrong(image + "x").find("checksum"), std::string::npos);
  std::string bytes = image.substr(0, image.size() - 4);
  EXPECT_NE(WhatIsWrong(Seal(bytes + "x")).find("malformed"), std::string::npos);
  bytes[8] = 9;
  EXPECT_NE(WhatIsWrong(Seal(bytes)).find("format 9 is unknown"), std::string::npos);
}

TEST(VoteFile, RandomBytesAreSafe) {
  std::mt19937 random(7);
  const std::string image = EncodeDurable(samples::FullDurable());
  std::size_t understood = 0;
  for (int i = 0; i < 100'000; i++) {
    std::string bytes = image.substr(0, image.size() - 4);
    if (i % 4 == 0) {
      bytes.resize(12 + random() % 200);
      for (std::size_t at = 12; at < bytes.size(); at++) bytes[at] = static_cast<char>(random());
    } else {
      bytes[12 + random() % (bytes.size() - 12)] = static_cast<char>(random());
    }
    bytes = Seal(bytes);
    const auto decoded = DecodeDurable(bytes);
    if (const auto* durable = std::get_if<Durable>(&decoded)) {
      understood++;
      ASSERT_EQ(EncodeDurable(*durable), bytes);
    }
  }
  EXPECT_GT(understood, 10'000U);
}

TEST(MarkerFile, ComesBackOrIsRefused) {
  const Marker marker = samples::FullMarker();
  const std::string image = EncodeMarker(marker);
  const auto decoded = DecodeMarker(image);
  ASSERT_TRUE(std::holds_alternative<Marker>(decoded)) << std::get<std::string>(decoded);
  EXPECT_EQ(std::get<Marker>(decoded), marker);
  for (std::size_t at = 0; at < image.size(); at++) {
    std::string corrupt = image;
    corrupt[at] = static_cast<char>(corrupt[at] ^ 0x10);
    EXPECT_TRUE(std::holds_alternative<std::string>(DecodeMarker(corrupt))) << at;
    EXPECT_TRUE(std::holds_alternative<std::string>(DecodeMarker(image.substr(0, at)))) << at;
  }
}

}  // namespace
}  // namespace orchestra
