// Frames: what decodes is the one image of what was decoded.
#include "fuzz/frames.h"
#include "fuzz/target.h"

namespace orchestra::fuzz {
namespace {

void Check(const std::string& image) {
  const auto decoded = DecodeFrame(image);
  if (const auto* error = std::get_if<FrameError>(&decoded))
    Require(*NameOf(*error) != '\0', "a refusal has a name");
  else
    Require(EncodeFrame(std::get<Frame>(decoded)) == image, "a frame has one image");
}

}  // namespace

void Run(std::string_view input) {
  Check(std::string(input));
  Check(Framed(input));
}

std::vector<std::string> Seeds() {
  std::vector<std::string> seeds = SampleBodies();
  seeds.push_back(Framed(seeds.front()));
  return seeds;
}

}  // namespace orchestra::fuzz
