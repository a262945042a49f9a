#include "chaos.h"

#include <iterator>
#include <utility>

namespace orchestra::sim {
namespace {

constexpr Micros kChaosFor = Seconds(30);
constexpr const char* kCoordinatorWithin = "12s";  // L2
constexpr const char* kWritableWithin = "35s";     // L1
constexpr const char* kNoise = "noise lose=20 dup=60 delay=30 disk=5 crash=5 rejoin=150 epochs=250";

// The design's table, as acts: what is done to a steady cluster that must be writable afterwards.
constexpr const char* kCases[][4] = {
    {},                                    // nothing
    {"kill any"},                          // one node dead
    {"deafen primary"},                    // it hears nobody
    {"mute primary"},                      // nobody hears it
    {"cut primary other"},                 // a standby, or the witness
    {"cut primary coordinator"},           // no failover
    {"cut primary coordinator", "fence"},  // a FENCE that it does not hear
    {"kill primary", "try chosen 10s", "kill named", "try nothing 200ms"},  // two die in turn
    {"deafen coordinator"},                                                 // it must step down
    {"isolate coordinator"},          // another one is elected
    {"isolate primary"},              // failover
    {"fence"},                        // ends in a writable cluster
    {"lose-vote any 1s"},             // it does not vote any more
    {"noise fastest=60 slowest=95"},  // a slow network
};
constexpr std::int64_t kTwoInTurn = 7, kSlowNetwork = 13;

class Drawing {
 public:
  Drawing(std::uint64_t seed, const std::string& mutant) : seed_(seed), random_(~seed) {
    Config& config = plan_.config;
    config.seed = seed;
    config.plain = false;
    config.clocks_drift = true;
    config.frames = seed % 4 == 0;
    config.extra_members = seed % 8 == 7 ? 1 : 0;
    config.ttl_ms = seed % 5 == 4 ? 500 : 2000;
    plan_.mutant = mutant;
  }

  Plan All() {
    Creation();
    Add(kNoise);
    for (Micros passed{0}; passed < kChaosFor;) {
      Strike();
      const Micros wait = Between(50, 900);
      Add("run " + TextOf(wait));
      passed += wait;
    }
    Add("calm");
    Add("noise rejoin=300");
    ExpectWell(!vote_lost_);
    Add("try steady 10s");
    Case();
    return std::move(plan_);
  }

 private:
  void Add(const std::string& command) { plan_.acts.push_back(WordsOf(command)); }
  Micros Between(std::int64_t a, std::int64_t b) { return Ms(random_.Between(a, b)); }
  std::string Time(std::int64_t a, std::int64_t b) { return " " + TextOf(Between(a, b)); }
  std::string Any() {
    const auto last = static_cast<std::int64_t>(plan_.config.nodes);
    return "n" + std::to_string(random_.Between(1, last));
  }

  void Creation() {
    if (seed_ % 3 == 0) Add(kNoise);
    Add("create");
    if (seed_ % 3 == 0) {  // a creation that suffered must still end
      Add("try created 20s");
      Add("calm");
    }
    Add("expect created 20s");
    for (std::size_t i = 0; i < plan_.config.extra_members; i++) {
      Add("join n" + std::to_string(plan_.config.nodes + i + 1));
    }
  }

  void Strike() {
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
        return LoseVote(a);
      default:
        return Add("fence");
    }
  }

  void CutOff(const std::string& node, bool inwards, bool outwards) {
    if (!inwards && !outwards) return;
    Add((inwards && outwards ? "isolate " : inwards ? "deafen " : "mute ") + node);
  }

  void KillAll() {
    if (!random_.Chance(150)) return;
    const std::size_t all = plan_.config.nodes + plan_.config.extra_members;
    for (std::size_t i = 1; i <= all; i++) Add("kill n" + std::to_string(i) + Time(1, 3000));
  }

  // Once in a run at most: a majority of voters must keep its memory.
  void LoseVote(const std::string& node) {
    if (seed_ % 10 != 3 || std::exchange(vote_lost_, true)) return;
    Add("lose-vote " + node + Time(100, 2000));
  }

  // Where a node is missing for good, a second fault may rightly stop the writes.
  void ExpectWell(bool writable) {
    Add(std::string("expect coordinator ") + kCoordinatorWithin);
    Add(std::string(writable ? "expect" : "try") + " writable " + kWritableWithin);
  }

  void Case() {
    // Only one node may be missing at a time. Without feeding (rule 5 iv) a member outside of S
    // that is ahead of all of S stops a failover until the old primary is back.
    const bool spare = !vote_lost_ && plan_.config.extra_members == 0;
    std::int64_t which = random_.Between(0, static_cast<std::int64_t>(std::size(kCases)) - 1);
    if (!spare && which != kSlowNetwork) which = 0;
    Add(spare && which != kSlowNetwork && which != 0 ? "end unless steady" : "end unless writable");
    for (const char* command : kCases[which]) {
      if (!command) continue;
      Act act = WordsOf(command);
      for (std::string& word : act)
        if (word == "any") word = Any();
      plan_.acts.push_back(act);
    }
    if (which == kTwoInTurn) Add("start dead");
    Add("run 5s");
    ExpectWell(!vote_lost_);
  }

  const std::uint64_t seed_;
  Random random_;
  Plan plan_;
  bool vote_lost_ = false;
};

}  // namespace

Plan PlanOf(std::uint64_t seed, const std::string& mutant) { return Drawing(seed, mutant).All(); }

std::optional<Violation> RunSeed(std::uint64_t seed, const std::string& mutant, Coverage& coverage,
                                 TraceSink trace) {
  coverage.seeds++;
  return RunPlan(PlanOf(seed, mutant), coverage, std::move(trace));
}

}  // namespace orchestra::sim
