#include "chaos.h"

#include <iterator>
#include <utility>

namespace orchestra::sim {
namespace {

constexpr Micros kChaosFor = Seconds(25);
constexpr const char* kCoordinatorWithin = "12s";  // L2
constexpr const char* kWritableWithin = "35s";     // L1

// Noise as it always is, and kinds that only some runs have.
constexpr const char* kNoise =
    "noise lose=20 dup=60 delay=30 disk=5 scan=5 crash=5 rejoin=150 epochs=250";
constexpr const char* kSomeNoise[] = {"torn=10", "fsync=20", "held=3", "pause=50", "reload=100"};

struct Shape {
  std::size_t nodes, witnesses, members, spares;
};
constexpr Shape kShapes[] = {
    {3, 0, 0, 0}, {3, 0, 0, 0}, {3, 0, 0, 0}, {3, 0, 2, 0}, {3, 0, 0, 1},
    {2, 1, 0, 0}, {2, 1, 0, 0}, {2, 1, 1, 1}, {5, 0, 0, 0}, {5, 0, 1, 0},
    {4, 1, 0, 0}, {7, 0, 0, 0}, {1, 0, 2, 0},
};

// The design's table, as acts: what is done to a steady cluster that must be writable afterwards.
constexpr const char* kCases[][4] = {
    {},                           // nothing
    {"kill any"},                 // one node dead
    {"deafen primary"},           // it hears nobody
    {"mute primary"},             // nobody hears it
    {"cut primary other"},        // a standby, or the witness
    {"cut primary coordinator"},  // the lease holder may campaign; S shrinks
    {"cut primary coordinator", "fence"},
    {"kill primary", "try chosen 10s", "kill named", "start dead"},  // two die in turn
    {"deafen coordinator"},                                          // it must step down
    {"isolate coordinator"},                                         // another one is elected
    {"isolate primary"},                                             // failover
    {"fence"},                                                       // ends in a writable cluster
    {"lose-vote any 1s"},                                            // it does not vote any more
    {"release primary"},  // failover, or the same once more
    {"ask any failover"},
    {"roll-back any 3s"},
    {"ask any voters 1 any", "run 1s", "ask any voters 3 n1 n2 n3"},
    {"noise fastest=60 slowest=95"},  // a slow network
};
constexpr std::int64_t kSlowNetwork = static_cast<std::int64_t>(std::size(kCases)) - 1;

template <typename T, std::size_t N>
const T& OneOf(Random& random, const T (&all)[N]) {
  return all[static_cast<std::size_t>(random.Between(0, static_cast<std::int64_t>(N) - 1))];
}

class Drawing {
 public:
  Drawing(std::uint64_t seed, const std::string& mutant) : seed_(seed), random_(~seed) {
    Config& config = plan_.config;
    const Shape& shape = OneOf(random_, kShapes);
    config.seed = seed;
    config.plain = false;
    config.clocks_drift = true;
    config.frames = seed % 4 == 0;
    config.nodes = shape.nodes;
    config.witnesses = shape.witnesses;
    config.extra_members = shape.members;
    config.spares = shape.spares;
    config.ttl_ms = random_.Chance(250) ? 500 : 2000;
    if (random_.Chance(120)) config.durability = Durability::kAsync;
    if (random_.Chance(350)) config.on_no_sync = OnNoSync::kDegrade;
    if (shape.nodes >= 4 && random_.Chance(400)) config.sync_copies = 2;
    if (config.sync_copies > 1 && random_.Chance(300)) config.min_sync_copies = 2;
    config.auto_voters = shape.members >= 2 && random_.Chance(300);
    plan_.mutant = mutant;
    noise_ = kNoise;
    for (const char* kind : kSomeNoise)
      if (random_.Chance(300)) noise_ += std::string(" ") + kind;
  }

  Plan All() {
    Creation();
    Add(noise_);
    for (Micros passed{0}; passed < kChaosFor;) {
      Strike();
      const Micros wait = Between(50, 900);
      Add("run " + TextOf(wait));
      passed += wait;
    }
    Add("calm");
    Add("noise rejoin=300");
    Add("restore");
    ExpectWell();
    Add("try whole 15s");
    Case();
    return std::move(plan_);
  }

 private:
  void Add(const std::string& command) { plan_.acts.push_back(WordsOf(command)); }
  Micros Between(std::int64_t a, std::int64_t b) { return Ms(random_.Between(a, b)); }
  std::string Time(std::int64_t a, std::int64_t b) { return " " + TextOf(Between(a, b)); }
  std::size_t Voters() const { return plan_.config.nodes + plan_.config.witnesses; }
  std::size_t Everybody() const { return Voters() + plan_.config.extra_members; }
  std::string Any() {
    return "n" + std::to_string(random_.Between(1, static_cast<std::int64_t>(Everybody())));
  }

  void Creation() {
    const bool suffers = seed_ % 3 == 0;
    if (suffers) Add(noise_);
    Add("create");
    if (suffers) {  // it must still end
      Add("try created 20s");
      Add("calm");
    }
    Add("expect created 20s");
    for (std::size_t i = Voters() + 1; i <= Everybody(); i++) Add("join n" + std::to_string(i));
  }

  void Strike() {
    if (random_.Chance(150)) return Command();
    if (random_.Chance(6)) return LoseMemory();
    if (random_.Chance(10)) return Add("move " + Any());
    if (plan_.config.extra_members > 0 && random_.Chance(20))
      return Add("renew n" + std::to_string(Everybody()) + " voteless");
    const std::string a = Any();
    switch (random_.Between(0, 14)) {
      case 0:
        return Add("cut " + a + " -> " + Any());
      case 1:
        return Add("isolate " + a);
      case 2:
      case 3:
      case 4:
        return Add("heal");
      case 5:
        return Add("kill " + a + (random_.Chance(700) ? Time(1, 200) : Time(1, 4000)));
      case 6:
        return Add("freeze " + a + Time(50, 5000));
      case 7:
        return Add("suspend " + a + Time(50, 4000));
      case 8:
        return KillAll();
      case 9:
        Add("heal");
        return CutOff(a, random_.Chance(700), random_.Chance(700));
      case 10:
        return Add("cut primary " + a);
      case 11:
        return CutOff("primary", true, random_.Chance(300));
      case 12:
        return Add("restart " + a);
      case 13:
        return Add("fill " + a + Time(50, 2000));
      default:
        return Add("fence");
    }
  }

  // An operator who does not care whether this is a good moment.
  void Command() {
    const std::string ask = "ask " + Any() + " ";
    switch (random_.Between(0, 12)) {
      case 0:
      case 1:
      case 2:
        return Add(ask + "voters " + std::to_string(random_.Between(0, 3) * 2 + 1) + " " + Any() +
                   " " + Any() + " " + Any() + " " + Any() + " " + Any() + " " + Any());
      case 3:
        return Add(ask + "ttl " + (random_.Chance(500) ? "500" : "2000"));
      case 4:
        return Add(ask + "drift " + (random_.Chance(500) ? "100" : "150"));
      case 5:
        return Add(ask + (random_.Chance(500) ? "count " : "uncount ") + Any());
      case 6:
        return Add(ask + "mode " +
                   (random_.Chance(500)   ? "automatic"
                    : random_.Chance(500) ? "manual"
                                          : "observe"));
      case 7:
        return Add(ask + "paused " + (random_.Chance(400) ? "on" : "off"));
      case 8:
        return Add(ask + "failover" + (random_.Chance(500) ? " " + Any() : ""));
      case 9:
        return Add("release primary");
      case 11:
        return Add(ask + (random_.Chance(700) ? "copies " : "min-copies ") +
                   std::to_string(random_.Between(1, 3)));
      case 10:
        return Add(ask + "no-sync " + (random_.Chance(500) ? "refuse" : "degrade"));
      default:
        return Add(ask + "remove " + Any());
    }
  }

  void CutOff(const std::string& node, bool inwards, bool outwards) {
    if (!inwards && !outwards) return;
    Add((inwards && outwards ? "isolate " : inwards ? "deafen " : "mute ") + node);
  }

  void KillAll() {
    if (!random_.Chance(150)) return;
    for (std::size_t i = 1; i <= Everybody(); i++) {
      Add("kill n" + std::to_string(i) + Time(1, 3000));
    }
  }

  // Once in a run at most: a majority of voters must keep its memory.
  void LoseMemory() {
    if (std::exchange(lost_, true)) return;
    const std::string a = Any();
    switch (random_.Between(0, plan_.config.spares > 0 ? 2 : 1)) {
      case 0:
        return Add("lose-vote " + a + Time(100, 2000));
      case 1:
        return Add("roll-back " + a + Time(3000, 30000) + (random_.Chance(300) ? " wal" : ""));
      default:
        return Add("clone " + a + " n" + std::to_string(Everybody() + 1) +
                   (random_.Chance(500) ? " snapshot" : ""));
    }
  }

  // Where a node is missing for good, a second fault may rightly stop the writes.
  void ExpectWell() {
    Add(std::string(lost_ ? "try" : "expect") + " coordinator " + kCoordinatorWithin);
    Add(std::string(lost_ ? "try" : "expect") + " writable " + kWritableWithin);
  }

  // Only one node may be missing at a time. Without feeding (rule 5 iv) a member outside of S that
  // is ahead of all of S stops a failover until the old primary is back; and where commits have
  // only one copy, or may not have, the loss of a node stops them.
  bool Spare() const {
    const Config& c = plan_.config;
    return !lost_ && c.extra_members == 0 && Voters() >= 3 && c.durability == Durability::kQuorum &&
           (c.nodes >= 3 || c.on_no_sync == OnNoSync::kDegrade);
  }

  void Case() {
    std::int64_t which = random_.Between(0, kSlowNetwork);
    const bool force = Voters() >= 3 && !lost_ && random_.Chance(60);
    if ((!Spare() && which != kSlowNetwork) || force) which = 0;
    Add(which == 0 || which == kSlowNetwork ? "end unless writable" : "end unless whole");
    if (force) LoseMajority();
    for (const char* command : kCases[which]) {
      if (!command) continue;
      Act act = WordsOf(command);
      for (std::string& word : act)
        if (word == "any") word = Any();
      plan_.acts.push_back(act);
    }
    Add("run 5s");
    ExpectWell();
  }

  // All voters but one die for ever, says an operator, and makes that one primary by force. Then
  // the others come back.
  void LoseMajority() {
    const auto last = static_cast<std::int64_t>(plan_.config.nodes);
    const std::string left = "n" + std::to_string(random_.Between(1, last));
    Add("run 5s");  // nobody is about to return any more
    Add("end unless standby=" + left);
    Add("freeze " + left + Time(50, 400));
    Add("run" + Time(1, 400));
    for (std::size_t i = 1; i <= Everybody(); i++)
      if (const std::string name = "n" + std::to_string(i); name != left) Add("kill " + name);
    Add("run 8s");
    Add("force " + left);
    ExpectWell();
    for (std::size_t i = 1; i <= Everybody(); i++) Add("start n" + std::to_string(i));
  }

  const std::uint64_t seed_;
  Random random_;
  Plan plan_;
  std::string noise_;
  bool lost_ = false;  // a disk
};

}  // namespace

Plan PlanOf(std::uint64_t seed, const std::string& mutant) { return Drawing(seed, mutant).All(); }

std::optional<Violation> RunSeed(std::uint64_t seed, const std::string& mutant, Coverage& coverage,
                                 TraceSink trace) {
  coverage.seeds++;
  return RunPlan(PlanOf(seed, mutant), coverage, std::move(trace));
}

}  // namespace orchestra::sim
