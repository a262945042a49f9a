#include "core/frame.h"

#include <random>

#include "unit/printers.h"
#include "unit/samples.h"

namespace orchestra {
namespace {

std::optional<FrameError> ErrorOf(std::string_view bytes) {
  const auto decoded = DecodeFrame(bytes);
  const auto* error = std::get_if<FrameError>(&decoded);
  return error != nullptr ? std::optional(*error) : std::nullopt;
}

std::vector<std::string> Images() {
  std::vector<std::string> images;
  for (const Message& message : samples::Messages())
    images.push_back(EncodeFrame({samples::Header(), message}));
  return images;
}

// The same frame with other bytes before its checksum, which is made to match again.
std::string Resealed(const std::string& image, std::size_t at, char byte) {
  std::string bytes = image.substr(0, image.size() - 4);
  bytes[at] = byte;
  return Seal(bytes);
}

TEST(Frame, EveryMessageComesBack) {
  for (const Message& message : samples::Messages()) {
    const std::string image = EncodeFrame({samples::Header(), message});
    const auto decoded = DecodeFrame(image);
    const auto* frame = std::get_if<Frame>(&decoded);
    ASSERT_NE(frame, nullptr) << NameOf(message) << ": " << NameOf(std::get<FrameError>(decoded));
    EXPECT_EQ(frame->header, samples::Header());
    EXPECT_EQ(frame->message, message);
    EXPECT_EQ(EncodeFrame(*frame), image);
  }
}

TEST(Frame, TheLargestRegisterFits) {
  const std::string image =
      EncodeFrame({samples::Header(), Commit{samples::Write(samples::LargestValue()), 1}});
  EXPECT_LE(image.size(), kMaxFrameBytes);
  EXPECT_EQ(ErrorOf(image), std::nullopt);
}

TEST(Frame, EveryTruncationIsRefused) {
  for (const std::string& image : Images())
    for (std::size_t size = 0; size < image.size(); size++)
      ASSERT_EQ(ErrorOf(image.substr(0, size)), FrameError::kTooShort) << size;
}

TEST(Frame, EveryCorruptByteIsRefused) {
  for (const std::string& image : Images())
    for (std::size_t at = 0; at < image.size(); at++)
      for (const int flip : {0x01, 0x80, 0xFF}) {
        std::string corrupt = image;
        corrupt[at] = static_cast<char>(corrupt[at] ^ flip);
        ASSERT_NE(ErrorOf(corrupt), std::nullopt) << "byte " << at;
      }
}

TEST(Frame, ErrorsAreTold) {
  const std::string image = Images().front();
  std::string other = image;
  other[0] = 'X';
  EXPECT_EQ(ErrorOf(other), FrameError::kBadMagic);
  EXPECT_EQ(ErrorOf(image + "x"), FrameError::kTooLong);
  EXPECT_EQ(ErrorOf(std::string(kMaxFrameBytes + 1, 'x')), FrameError::kTooLong);
  other = image;
  other.back() = static_cast<char>(other.back() ^ 1);
  EXPECT_EQ(ErrorOf(other), FrameError::kBadCrc);
}

TEST(Frame, OnlyAnUnderstoodProtocolIsRead) {
  struct Case {
    std::uint16_t min, max;
    std::optional<FrameError> error;
  };
  constexpr std::uint16_t kOurs = kProtocolMax;
  for (const Case& c : {Case{kOurs, kOurs, std::nullopt}, Case{kOurs, 9, std::nullopt},
                        Case{0, kOurs, std::nullopt}, Case{kOurs + 1, 9, FrameError::kBadVersion},
                        Case{0, 0, FrameError::kBadVersion},
                        Case{kProtocolMin - 1, kProtocolMin - 1, FrameError::kBadVersion},
                        Case{9, 1, FrameError::kBadVersion}}) {
    FrameHeader header = samples::Header();
    header.protocol_min = c.min;
    header.protocol_max = c.max;
    EXPECT_EQ(ErrorOf(EncodeFrame({header, Prepare{}})), c.error) << c.min << " to " << c.max;
  }
}

TEST(Frame, APayloadOfTheWrongShapeIsRefused) {
  const std::string image = EncodeFrame({samples::Header(), Prepare{}});
  const std::size_t index_at = image.size() - 4 - 10 - 1;  // before a ballot and the checksum
  ASSERT_EQ(ErrorOf(Resealed(image, index_at, 2)), std::nullopt);
  EXPECT_EQ(ErrorOf(Resealed(image, index_at, 0)), FrameError::kBadPayload);   // too little
  EXPECT_EQ(ErrorOf(Resealed(image, index_at, 19)), FrameError::kBadPayload);  // no such message
  // Trailing bytes under a matching length and checksum.
  std::string longer = image.substr(0, image.size() - 4) + '\0';
  longer[4] = static_cast<char>(longer.size() + 4);
  EXPECT_EQ(ErrorOf(Seal(longer)), FrameError::kBadPayload);
}

// What passes the checksum is either refused, or is the one image of what was decoded.
void ExpectCanonical(const std::string& image) {
  const auto decoded = DecodeFrame(image);
  if (const auto* frame = std::get_if<Frame>(&decoded)) {
    ASSERT_EQ(EncodeFrame(*frame), image);
  }
}

TEST(Frame, EveryWrongByteUnderAMatchingChecksumIsSafe) {
  for (const std::string& image : Images())
    for (std::size_t at = 8; at + 4 < image.size(); at++)
      for (const int byte : {0x00, 0x01, 0x7F, 0xFF}) {
        ExpectCanonical(Resealed(image, at, static_cast<char>(byte)));
      }
}

TEST(Frame, RandomBytesAreSafe) {
  std::mt19937 random(20240);
  const std::vector<std::string> images = Images();
  std::size_t understood = 0;
  for (int i = 0; i < 100'000; i++) {
    std::string bytes = images[random() % images.size()];
    if (i % 2 == 0) {
      bytes.resize(random() % 300);
      for (char& byte : bytes) byte = static_cast<char>(random());
    } else {
      bytes.resize(bytes.size() - 4);
      for (int changes = 1 + static_cast<int>(random() % 4); changes > 0; changes--)
        bytes[8 + random() % (bytes.size() - 8)] = static_cast<char>(random());
      bytes = Seal(bytes);
    }
    ExpectCanonical(bytes);
    understood += ErrorOf(bytes) ? 0 : 1;
  }
  EXPECT_GT(understood, 10'000U);  // else the loop above proves little
}

}  // namespace
}  // namespace orchestra
