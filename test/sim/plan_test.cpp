// Plans and their text, and that the shrinker keeps what matters.
#include "plan.h"

#include <gtest/gtest.h>

#include "chaos.h"
#include "script.h"
#include "shrink.h"

namespace orchestra::sim {
namespace {

class PlanOfSeed : public testing::TestWithParam<std::uint64_t> {};

TEST_P(PlanOfSeed, IsTheSameAfterPrintingAndParsing) {
  const Plan plan = PlanOf(GetParam(), "any_target");
  const std::string text = ToText(plan);
  const std::optional<Plan> read = ParsePlan(text);
  ASSERT_TRUE(read);
  EXPECT_EQ(ToText(*read), text);
  EXPECT_EQ(read->acts, plan.acts);
  EXPECT_EQ(SettingsOf(*read), SettingsOf(plan));
}

// Nothing of the run is drawn outside of its plan.
TEST_P(PlanOfSeed, RunsTheSameAfterPrintingAndParsing) {
  const Plan plan = PlanOf(GetParam());
  Coverage first;
  Coverage second;
  EXPECT_EQ(RunPlan(plan, first).has_value(),
            RunPlan(*ParsePlan(ToText(plan)), second).has_value());
  EXPECT_EQ(first.steps, second.steps);
  EXPECT_EQ(first.acknowledged, second.acknowledged);
}

INSTANTIATE_TEST_SUITE_P(Seeds, PlanOfSeed, testing::Range<std::uint64_t>(1, 25));

struct TimeCase {
  const char* word;
  std::optional<Micros> time;
};
void PrintTo(const TimeCase& each, std::ostream* out) { *out << '"' << each.word << '"'; }

class Times : public testing::TestWithParam<TimeCase> {};

TEST_P(Times, AreReadAndWritten) {
  const auto& [word, time] = GetParam();
  EXPECT_EQ(ParseTime(word), time);
  if (time) {
    EXPECT_EQ(TextOf(*time), word);
  }
}

INSTANTIATE_TEST_SUITE_P(Words, Times,
                         testing::Values(TimeCase{"350ms", Ms(350)}, TimeCase{"2s", Seconds(2)},
                                         TimeCase{"0s", Micros{0}}, TimeCase{"", {}},
                                         TimeCase{"ms", {}}, TimeCase{"12", {}},
                                         TimeCase{"-1s", {}}, TimeCase{"1 s", {}},
                                         TimeCase{"5m", {}}));

TEST(Settings, AreRefusedWithoutAGoodValue) {
  for (const char* line :
       {"seed", "seed x", "seed 1 2", "frames on", "mutant nobody", "dance", ""}) {
    Plan plan;
    EXPECT_FALSE(sim::SetUp(plan, WordsOf(line))) << line;
  }
}

TEST(Shrink, KeepsTheInvariantAndDropsTheRest) {
  std::uint64_t seed = 1;
  std::optional<Violation> violation;
  for (; !violation && seed <= 100; seed++) {
    Coverage coverage;
    violation = RunPlan(PlanOf(seed, "any_target"), coverage);
  }
  ASSERT_TRUE(violation);
  const Plan plan = PlanOf(seed - 1, "any_target");
  const Shrunk shrunk = Shrink(plan, *violation, std::chrono::seconds(8));
  EXPECT_EQ(shrunk.violation.invariant, violation->invariant);
  EXPECT_LT(shrunk.plan.acts.size(), plan.acts.size() / 2);
  Coverage coverage;
  const auto again = RunPlan(shrunk.plan, coverage);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->invariant, violation->invariant);
}

}  // namespace
}  // namespace orchestra::sim
