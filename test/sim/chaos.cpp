#include "chaos.h"

#include <string>

namespace orchestra::sim {
namespace {

constexpr Micros kChaosFor = Seconds(30);
constexpr Micros kWritableWithin = Seconds(35);     // L1
constexpr Micros kCoordinatorWithin = Seconds(12);  // L2

constexpr const char* kCases[] = {
    "healthy",
    "one node dead",
    "primary hears nobody",
    "nobody hears the primary",
    "primary-standby link cut",
    "primary-coordinator link cut and FENCE",
    "two primaries die in turn",
    "slow network",
    "coordinator hears nobody",
    "primary isolated",
    "healthy and FENCE",
    "vote file of one node lost",
};
constexpr int kCaseCount = static_cast<int>(std::size(kCases));

class Run {
 public:
  Run(World& world, std::uint64_t seed) : w_(world), seed_(seed) {}

  void All() {
    w_.BeginCreation();
    if (seed_ % 3 == 0) SetFaults();
    if (!w_.RunUntil([this] { return w_.Created(); }, Seconds(20))) {
      Heal();  // a creation that suffered must still end
      if (!w_.RunUntil([this] { return w_.Created(); }, Seconds(20))) {
        return w_.observer.Fail("L1", "the cluster was not formed");
      }
    }
    w_.coverage.clusters_created++;
    AddMembers();
    SetFaults();
    Nemesis();
    Operator();
    WatchEpochs();
    w_.Run(kChaosFor);
    Heal();
    ExpectWell("after the faults stopped");
    w_.RunUntil([this] { return w_.EveryStandbyStreams() && Well(w_); }, Seconds(10));
    if (Well(w_)) RunCase();
  }

 private:
  NodeId Any() { return w_.nodes[Pick(w_.config.nodes)].id; }
  std::size_t Pick(std::size_t below) {
    return static_cast<std::size_t>(w_.random.Between(0, static_cast<std::int64_t>(below) - 1));
  }
  Micros Between(Micros a, Micros b) { return Micros{w_.random.Between(a.count(), b.count())}; }

  void SetFaults() {
    Faults& f = w_.network.faults;
    f.lose = 20;
    f.duplicate = 60;
    f.delay = 30;
    f.disk_fails = 5;
    f.crash_after_persist = 5;
    f.operator_rejoin = 150;
  }

  // Clones of the primary: the marker is copied, the vote file is not.
  void AddMembers() {
    for (std::size_t i = w_.config.nodes; i < w_.nodes.size(); i++) {
      Node& n = w_.nodes[i];
      w_.Crash(n);
      n.marker = w_.nodes[0].marker;
      w_.Start(n);
    }
  }

  void CrashFor(Node& n, Micros time) {
    if (!n.up) return;
    w_.coverage.crashes++;
    w_.Crash(n);
    w_.scheduler.After(time, [this, id = n.id] { w_.Start(w_.node(id)); });
  }

  NodeId PrimaryNow() {
    for (const Node& n : w_.nodes)
      if (w_.Holds(n)) return n.id;
    return w_.nodes[0].id;
  }

  void CutOff(NodeId id, bool inwards, bool outwards) {
    for (const Node& n : w_.nodes) {
      if (n.id == id) continue;
      if (inwards) w_.network.Cut(n.id, id);
      if (outwards) w_.network.Cut(id, n.id);
    }
  }

  void Nemesis() {
    if (!chaos_) return;
    Strike();
    w_.scheduler.After(Between(Ms(50), Ms(900)), [this] { Nemesis(); });
  }

  void Strike() {
    Node& a = w_.node(Any());
    switch (w_.random.Between(0, 14)) {
      case 0:
        return w_.network.Cut(a.id, Any());
      case 1:
        return CutOff(a.id, true, true);
      case 2:
      case 3:
      case 4:
        return w_.network.HealAll();
      case 5:
        return CrashFor(
            a, w_.random.Chance(700) ? Between(Ms(1), Ms(200)) : Between(Ms(1), Seconds(4)));
      case 6:
        w_.coverage.freezes++;
        return w_.Freeze(a, Between(Ms(50), Seconds(5)), false);
      case 7:
        w_.coverage.suspends++;
        return w_.Freeze(a, Between(Ms(50), Seconds(4)), true);
      case 8:
        return RestartAll();
      case 9:
        w_.network.HealAll();
        return CutOff(a.id, w_.random.Chance(700), w_.random.Chance(700));
      case 10:
        return w_.network.CutBoth(PrimaryNow(), a.id);
      case 11:
        return CutOff(PrimaryNow(), true, w_.random.Chance(300));
      case 12:
        w_.coverage.worker_restarts++;
        return w_.RestartWorker(a);
      case 13:
        if (seed_ % 10 == 3) LoseVote(a);
        return;
      default:
        w_.ForceFence();
    }
  }

  void RestartAll() {
    if (!w_.random.Chance(150)) return;
    w_.coverage.total_restarts++;
    for (Node& n : w_.nodes) CrashFor(n, Between(Ms(1), Seconds(3)));
  }

  // Once in a run at most: a majority of voters must keep its memory.
  void LoseVote(Node& n) {
    if (vote_lost_ || !n.up) return;
    vote_lost_ = true;
    w_.coverage.votes_lost++;
    CrashFor(n, Between(Ms(100), Seconds(2)));
    w_.LoseVote(n);
  }

  void Operator() {
    for (Node& n : w_.nodes) {
      if (n.up && w_.MayRejoin(n) && w_.random.Chance(w_.network.faults.operator_rejoin)) {
        w_.Rejoin(n);
        break;
      }
    }
    w_.scheduler.After(Ms(200), [this] { Operator(); });
  }

  // An adversary: the primary of a new epoch dies before it is active, somebody else freezes.
  void WatchEpochs() {
    if (!chaos_) return;
    const RegisterValue* value = w_.observer.Newest();
    if (value && value->epoch != seen_) {
      seen_ = value->epoch;
      if (w_.random.Chance(250)) {
        CrashFor(w_.node(value->primary), Between(Ms(500), Seconds(6)));
        w_.Freeze(w_.node(Any()), Between(Ms(50), Seconds(4)), false);
      }
    }
    w_.scheduler.After(Ms(20), [this] { WatchEpochs(); });
  }

  void Heal() {
    w_.Trace(nullptr, "faults stop");
    chaos_ = false;
    w_.network.HealAll();
    w_.network.faults = Faults{};
    w_.network.faults.operator_rejoin = 300;
    for (Node& n : w_.nodes) {
      n.frozen_until = Micros{0};
      if (!n.up) w_.scheduler.After(Ms(1), [this, id = n.id] { w_.Start(w_.node(id)); });
    }
  }

  void ExpectWell(const std::string& when) {
    const Micros start = w_.scheduler.now();
    w_.RunUntil([this] { return w_.Coordinator() != nullptr; }, kCoordinatorWithin);
    if (!w_.Coordinator()) return w_.observer.Fail("L2", "no coordinator " + when);
    const Micros passed = w_.scheduler.now() - start;
    // Without its vote file one node is missing for good: a second fault may rightly stop
    // everything.
    if (vote_lost_ && !spare_) return;
    if (w_.RunUntil([this] { return Well(w_); }, kWritableWithin - passed)) return;
    w_.observer.Fail("L1", "not writable in time " + when);
  }

  void RunCase() {
    Node& primary = *w_.Writable();
    Node& coordinator = *w_.Coordinator();
    int which = static_cast<int>(w_.random.Between(0, kCaseCount - 1));
    // Only one node may be missing at a time. Without feeding (rule 5 iv) a member outside of S
    // that is ahead of all of S stops a failover until the old primary is back.
    spare_ = !vote_lost_ && w_.EveryStandbyStreams() && w_.config.extra_members == 0;
    if (!spare_ && which != 7) which = 0;
    const NodeId other = w_.nodes[primary.id.value % w_.config.nodes].id;
    w_.Trace(nullptr, std::string("case: ") + kCases[which]);
    switch (which) {
      case 1:
        w_.Crash(w_.node(Any()));
        break;
      case 2:
        CutOff(primary.id, true, false);
        break;
      case 3:
        CutOff(primary.id, false, true);
        break;
      case 4:
        w_.network.CutBoth(primary.id, other);
        break;
      case 5:
        w_.network.CutBoth(primary.id, coordinator.id == primary.id ? other : coordinator.id);
        w_.ForceFence();
        break;
      case 6:
        KillTwoInTurn(primary);
        break;
      case 7:
        w_.network.faults.fastest = Ms(60) * w_.config.ttl_ms / 1000;
        w_.network.faults.slowest = Ms(95) * w_.config.ttl_ms / 1000;
        break;
      case 8:
        CutOff(coordinator.id, true, false);
        break;
      case 9:
        CutOff(primary.id, true, true);
        break;
      case 10:
        w_.ForceFence();
        break;
      case 11:
        LoseVote(w_.node(Any()));
        break;
      default:
        break;
    }
    w_.Run(Seconds(5));
    ExpectWell(std::string("in the case: ") + kCases[which]);
  }

  void KillTwoInTurn(Node& first) {
    const RegisterValue* before = w_.observer.Newest();
    w_.Crash(first);
    w_.RunUntil([&] { return w_.observer.Newest()->epoch != before->epoch; }, Seconds(10));
    Node& second = w_.node(w_.observer.Newest()->primary);
    if (second.id == first.id) return;
    w_.Crash(second);
    w_.Run(Ms(200));
    w_.Start(first);
  }

  World& w_;
  const std::uint64_t seed_;
  bool chaos_ = true;
  bool vote_lost_ = false;
  bool spare_ = false;  // one more node may fail
  EpochId seen_;
};

}  // namespace

bool Well(World& world) {
  return world.Writable() && world.Coordinator() &&
         world.scheduler.now() - world.last_acknowledged < Seconds(1);
}

bool FormCluster(World& world) {
  world.BeginCreation();
  return world.RunUntil(
      [&] { return world.Created() && Well(world) && world.EveryStandbyStreams(); }, Seconds(20));
}

std::optional<Violation> RunSeed(std::uint64_t seed, const Policy& policy, Coverage& coverage,
                                 TraceSink trace) {
  Config config;
  config.seed = seed;
  config.policy = policy;
  config.frames = seed % 4 == 0;
  config.extra_members = seed % 8 == 7 ? 1 : 0;
  config.ttl_ms = seed % 5 == 4 ? 500 : 2000;
  World world(config, coverage, std::move(trace));
  Run(world, seed).All();
  coverage.seeds++;
  return world.observer.violation();
}

}  // namespace orchestra::sim
