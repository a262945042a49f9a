// The names of the register's choices: what is printed is what is taken.
#include "core/choices.h"

#include <gtest/gtest.h>

#include <string>

namespace orchestra {
namespace {

TEST(Choices, AreCalledAsTheReferenceSays) {
  EXPECT_STREQ(NameOf(Mode::kObserve), "observe");
  EXPECT_STREQ(NameOf(Mode::kManual), "manual");
  EXPECT_STREQ(NameOf(Mode::kAutomatic), "automatic");
  EXPECT_STREQ(NameOf(Durability::kQuorum), "quorum");
  EXPECT_STREQ(NameOf(Durability::kAsync), "async");
  EXPECT_STREQ(NameOf(OnNoSync::kRefuse), "refuse");
  EXPECT_STREQ(NameOf(OnNoSync::kDegrade), "degrade");
}

TEST(Choices, AreTakenByTheirNames) {
  EXPECT_EQ(ChoiceOf<Mode>("observe"), Mode::kObserve);
  EXPECT_EQ(ChoiceOf<Mode>("manual"), Mode::kManual);
  EXPECT_EQ(ChoiceOf<Mode>("automatic"), Mode::kAutomatic);
  EXPECT_EQ(ChoiceOf<Durability>("quorum"), Durability::kQuorum);
  EXPECT_EQ(ChoiceOf<Durability>("async"), Durability::kAsync);
  EXPECT_EQ(ChoiceOf<OnNoSync>("refuse"), OnNoSync::kRefuse);
  EXPECT_EQ(ChoiceOf<OnNoSync>("degrade"), OnNoSync::kDegrade);
}

TEST(Choices, OfAnotherNameThereAreNone) {
  for (const std::string name :
       {"", "Observe", "observe ", "auto", "automatical", "unknown", "0"}) {
    EXPECT_EQ(ChoiceOf<Mode>(name), std::nullopt) << name;
    EXPECT_EQ(ChoiceOf<Durability>(name), std::nullopt) << name;
    EXPECT_EQ(ChoiceOf<OnNoSync>(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace orchestra
