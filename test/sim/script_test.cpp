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
  const Told told = RunScript(golden.str());
  EXPECT_TRUE(told.passed) << told.text;
  if (std::getenv("UPDATE_GOLDEN")) {
    std::ofstream(file) << told.text;
    return;
  }
  EXPECT_EQ(golden.str(), told.text) << file << ": run with UPDATE_GOLDEN=1 to rewrite";
}

INSTANTIATE_TEST_SUITE_P(Sim, Golden, testing::ValuesIn(GoldenNames()),
                         [](const auto& each) { return each.param; });

TEST(GoldenFolder, IsNotEmpty) { EXPECT_GE(GoldenNames().size(), 8u); }

TEST(Script, SaysWhatItDoesNotUnderstand) {
  const Told told = RunScript("> dance\n");
  EXPECT_EQ(told.text, "> dance\ndoes not understand or did not happen\n");
  EXPECT_FALSE(told.passed);
}

TEST(Script, DropsOldOutputAndKeepsComments) {
  EXPECT_EQ(RunScript("# why\n> messages\nold\n").text, "# why\n> messages\n");
}

TEST(Script, PassesOnlyWithTheViolationThatItExpects) {
  EXPECT_FALSE(RunScript("> form\n> kill n1\n> kill n2\n> expect writable 10s\n").passed);
  EXPECT_TRUE(
      RunScript("> form\n> kill n1\n> kill n2\n> expect writable 10s\n> expect L1\n").passed);
  EXPECT_FALSE(
      RunScript("> form\n> kill n1\n> kill n2\n> expect writable 10s\n> expect I1\n").passed);
  EXPECT_FALSE(RunScript("> form\n> expect I1\n").passed);
}

}  // namespace
}  // namespace orchestra::sim
