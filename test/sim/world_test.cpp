// The simulator itself: a control that must be noticed, and what it must not take for a fault.
#include "world.h"

#include <gtest/gtest.h>

#include <string>

namespace orchestra::sim {
namespace {

// Both standbys freeze while the primary goes on asking for its lease, and right after they go on
// another primary is chosen. A shell that reads the clock before it receives takes those requests
// for requests of before: its promises are over when it makes them.
std::string ViolatedAfterFreeze(bool stale_clock) {
  Config config;
  config.plain = true;
  config.clocks_drift = false;
  Coverage coverage;
  World world(config, coverage);
  world.BeginCreation();
  EXPECT_TRUE(world.RunUntil([&] { return world.EveryStandbyStreams(); }, Seconds(20)));
  EXPECT_TRUE(world.Run(Seconds(1)));
  world.network.faults.stale_clock = stale_clock;
  const NodeId primary = world.Writable()->id;
  for (Node& node : world.nodes)
    if (node.id != primary) world.Freeze(node, Seconds(4), false);
  world.Run(Seconds(4) + Ms(10));
  for (Node& node : world.nodes)
    if (node.id != primary) world.network.CutBoth(primary, node.id);
  Node& next = world.nodes[primary.value % world.nodes.size()];
  world.ForceElection(next);
  world.RunUntil([&] { return world.Coordinator() == &next; }, Seconds(1));
  world.ForceFence();
  world.Run(Seconds(2));
  return world.observer.violation() ? world.observer.violation()->invariant : "";
}

TEST(Shell, AClockReadBeforeReceivingIsNoticed) { EXPECT_EQ(ViolatedAfterFreeze(true), "I1"); }

TEST(Shell, TheShippedOrderHoldsItsPromises) { EXPECT_EQ(ViolatedAfterFreeze(false), ""); }

}  // namespace
}  // namespace orchestra::sim
