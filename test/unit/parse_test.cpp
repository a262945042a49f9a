#include "core/parse.h"

#include "unit/printers.h"
#include "unit/samples.h"

namespace orchestra {
namespace {

TEST(Parse, ReadsBackWhatToTextPrints) {
  for (const EpochId& epoch :
       {EpochId{}, samples::Epoch(4, 3, 12), samples::Epoch(UINT64_MAX, UINT16_MAX, UINT64_MAX)}) {
    EXPECT_EQ(EpochFromText(ToText(epoch)), epoch);
  }
}

TEST(Parse, RefusesEverythingElse) {
  for (const char* text :
       {"", "4", "4.3", "4.3/", "4/12", ".3/12", "4.3/12 ", " 4.3/12", "4.3/12x", "4.3/12/1",
        "+4.3/12", "-4.3/12", "4.65536/12", "18446744073709551616.1/1", "4.n3/12", "0x4.3/12"}) {
    EXPECT_EQ(EpochFromText(text), std::nullopt) << '"' << text << '"';
  }
}

}  // namespace
}  // namespace orchestra
