#include "directed.h"

#include <utility>

#include "chaos.h"

namespace orchestra::sim {
namespace {

constexpr NodeId kPrimary{1};

struct Cast {
  Node& primary;
  Node& coordinator;
  Node& other;
};

Cast CastOf(World& w) {
  const NodeId leads = w.Coordinator()->id;
  return {w.node(kPrimary), w.node(leads),
          w.node(NodeId{static_cast<std::uint16_t>(5 - leads.value)})};
}

void Isolate(World& w, const Node& node) {
  for (const Node& n : w.nodes)
    if (n.id != node.id) w.network.CutBoth(n.id, node.id);
}

void ExpectSuccessor(World& w, EpochId old) {
  const auto done = [&] {
    for (const Node& n : w.nodes)
      if (w.GateOpen(n) && n.server.gate_epoch > old) return Well(w);
    return false;
  };
  if (!w.RunUntil(done, Seconds(20))) w.observer.Fail("L1", "no successor writes after 20 s");
}

EpochId EpochNow(const World& w) { return w.observer.Newest()->epoch; }

void IsolateAndFence(World& w) {
  const EpochId old = EpochNow(w);
  Isolate(w, w.node(kPrimary));
  w.ForceFence();
  ExpectSuccessor(w, old);
}

void LateAcknowledgements(World& w) {
  for (const Node& n : w.nodes)
    if (n.id != kPrimary) w.network.DelayLink(n.id, kPrimary, Ms(1100));
  w.Run(Seconds(4));
  IsolateAndFence(w);
}

void DriftingClocks(World& w) {
  constexpr double kDrift = 0.095;  // a bit less than the bound
  for (Node& n : w.nodes) {
    const double rate = n.id == kPrimary ? 1 - kDrift : 1 + kDrift;
    n.clock = MachineClock(w.scheduler.now(), w.ClockOf(n), rate, rate);
  }
  w.Run(Seconds(2));
  IsolateAndFence(w);
}

void VotersRestart(World& w) {
  const EpochId old = EpochNow(w);
  const Cast cast = CastOf(w);
  Isolate(w, cast.primary);
  for (Node* n : {&cast.coordinator, &cast.other}) {
    w.Crash(*n);
    w.Start(*n);
  }
  w.Run(Ms(60));
  w.ForceElection(cast.other);
  w.RunUntil([&] { return w.Coordinator() != nullptr; }, Seconds(1));
  w.ForceFence();
  ExpectSuccessor(w, old);
}

void FencedStandbyRestarts(World& w) {
  const EpochId old = EpochNow(w);
  const Cast cast = CastOf(w);
  w.network.CutBoth(cast.primary.id, cast.coordinator.id);
  w.ForceFence();
  w.RunUntil([&] { return cast.coordinator.state.failover.stage == Failover::Stage::kNone; },
             Seconds(1));
  w.RestartWorker(cast.other);
  ExpectSuccessor(w, old);
}

void FenceBesideThePrimary(World& w) {
  const EpochId old = EpochNow(w);
  const Cast cast = CastOf(w);
  w.network.CutBoth(cast.primary.id, cast.coordinator.id);
  w.ForceFence();
  ExpectSuccessor(w, old);
}

const Schedule kSchedules[] = {
    {"lease-race", IsolateAndFence},           {"late-acks", LateAcknowledgements},
    {"drifting-clocks", DriftingClocks},       {"voters-restart", VotersRestart},
    {"fenced-restart", FencedStandbyRestarts}, {"fence-beside-primary", FenceBesideThePrimary},
};

}  // namespace

const Schedule* FindSchedule(const std::string& name) {
  for (const Schedule& schedule : kSchedules)
    if (name == schedule.name) return &schedule;
  return nullptr;
}

std::optional<Violation> RunSchedule(const Schedule& schedule, std::uint64_t seed,
                                     const Policy& policy, Coverage& coverage, TraceSink trace) {
  Config config;
  config.seed = seed;
  config.plain = true;
  config.clocks_drift = false;
  config.policy = policy;
  World world(config, coverage, std::move(trace));
  bool ready = FormCluster(world);
  // The creator leads at first; the schedules want the primary not to.
  const auto aside = [&] { return world.Coordinator() && world.Coordinator()->id != kPrimary; };
  if (ready && !aside()) world.RestartWorker(world.node(kPrimary));
  ready = ready && world.RunUntil([&] { return aside() && Well(world); }, Seconds(20));
  if (ready) ready = world.Run(Seconds(1)) && aside() && Well(world);
  if (ready) {
    schedule.run(world);
  } else {
    world.observer.Fail("L1", "no healthy cluster to begin with");
  }
  return world.observer.violation();
}

}  // namespace orchestra::sim
