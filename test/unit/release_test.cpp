// Which releases of the server are refused.
#include <gtest/gtest.h>

#include "core/preflight.h"

namespace orchestra {
namespace {

TEST(Release, ThoseThatDoNotWaitRightAfterTheirStart) {
  const struct {
    int server, needed;
  } rows[] = {{140000, 140018}, {140017, 140018}, {140018, 0}, {140023, 0},      {150000, 150013},
              {150012, 150013}, {150013, 0},      {150018, 0}, {160008, 160009}, {160009, 0},
              {170000, 170005}, {170004, 170005}, {170005, 0}, {180000, 0},      {180001, 0}};
  for (const auto& row : rows) EXPECT_EQ(NeededRelease(row.server), row.needed) << row.server;
  static_assert(NeededRelease(150012) == 150013, "known without a server");
}

}  // namespace
}  // namespace orchestra
