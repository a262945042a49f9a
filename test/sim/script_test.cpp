// Golden tests: test/sim/golden/*.txt are scripts with their transcripts. UPDATE_GOLDEN=1 rewrites
// the transcripts; review what changed as carefully as code.
#include "script.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace orchestra::sim {
namespace {

std::filesystem::path GoldenFolder() {
  return std::filesystem::path(ORCHESTRA_SOURCE_DIR) / "test" / "sim" / "golden";
}

std::vector<std::string> GoldenNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(GoldenFolder())) {
    if (entry.path().extension() == ".txt") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, TranscriptIsTheSame) {
  const std::filesystem::path file = GoldenFolder() / (GetParam() + ".txt");
  std::stringstream golden;
  golden << std::ifstream(file).rdbuf();
  const std::string now = RunScript(golden.str());
  EXPECT_EQ(now.find("does not understand or did not happen"), std::string::npos);
  EXPECT_EQ(now.find("is violated"), std::string::npos);
  if (std::getenv("UPDATE_GOLDEN")) {
    std::ofstream(file) << now;
    return;
  }
  EXPECT_EQ(golden.str(), now) << file << ": run with UPDATE_GOLDEN=1 to rewrite";
}

INSTANTIATE_TEST_SUITE_P(Sim, Golden, testing::ValuesIn(GoldenNames()),
                         [](const auto& each) { return each.param; });

TEST(GoldenFolder, IsNotEmpty) { EXPECT_GE(GoldenNames().size(), 8u); }

TEST(Script, SaysWhatItDoesNotUnderstand) {
  EXPECT_EQ(RunScript("> dance\n"), "> dance\ndoes not understand or did not happen\n");
}

TEST(Script, DropsOldOutputAndKeepsComments) {
  EXPECT_EQ(RunScript("# why\n> messages\nold\n"), "# why\n> messages\n");
}

}  // namespace
}  // namespace orchestra::sim
