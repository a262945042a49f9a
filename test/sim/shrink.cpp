#include "shrink.h"

#include <algorithm>
#include <set>
#include <utility>

#include "script.h"

namespace orchestra::sim {
namespace {

using SteadyClock = std::chrono::steady_clock;

class Shrinker {
 public:
  Shrinker(const Plan& plan, Violation violation, std::chrono::seconds limit)
      : best_{plan, std::move(violation)}, until_(SteadyClock::now() + limit) {}

  Shrunk Run() {
    CutTail();
    for (seeds_ = 1; seeds_ <= kMostSeeds && !Late(); seeds_ *= 4) {
      while (Round() && !Late()) {
      }
    }
    return best_;
  }

 private:
  // A shorter plan may need other luck than the one that it came from.
  static constexpr std::uint64_t kMostSeeds = 256;

  // Everything once; false: nothing of it made the plan shorter.
  bool Round() {
    CutTail();
    bool shorter = DropActs();
    shorter |= Quieter();
    shorter |= Formed();
    shorter |= SimplerActs();
    shorter |= MergeWaits();
    shorter |= ShorterTimes();
    return shorter;
  }

  bool Late() const { return SteadyClock::now() >= until_; }

  // Is it as good? Then it is the best.
  bool Try(Plan plan) {
    for (std::uint64_t i = 0; i < seeds_ && !Late(); i++) {
      if (i > 0) plan.config.seed = i;
      best_.tried++;
      Coverage coverage;
      const auto violation = RunPlan(plan, coverage);
      if (!violation || violation->invariant != best_.violation.invariant) continue;
      if (!Innocent(plan)) continue;
      best_.plan = std::move(plan);
      best_.violation = *violation;
      return true;
    }
    return false;
  }

  static bool Innocent(Plan plan) {
    if (plan.mutant.empty()) return true;
    plan.mutant.clear();
    Coverage coverage;
    return !RunPlan(plan, coverage);
  }

  // What makes the cluster able to write again may not go where that it does not is the complaint.
  bool Needed(const Act& act) const {
    static const std::set<std::string> kNeeded = {"calm", "heal",   "start",
                                                  "end",  "expect", "restore"};
    return best_.violation.invariant.starts_with('L') && kNeeded.contains(act[0]);
  }

  // What comes after the violation.
  void CutTail() {
    std::size_t least = 1;
    std::size_t most = best_.plan.acts.size();
    while (least < most) {
      Plan plan = best_.plan;
      const std::size_t middle = (least + most) / 2;
      plan.acts.resize(middle);
      Coverage coverage;
      best_.tried++;
      if (RunPlan(plan, coverage)) {
        most = middle;
      } else {
        least = middle + 1;
      }
    }
    best_.plan.acts.resize(most);
  }

  bool DropActs() {
    bool dropped = false;
    for (std::size_t chunk = best_.plan.acts.size() / 2; chunk > 0; chunk /= 2) {
      for (std::size_t end = best_.plan.acts.size(); end > 0 && !Late();) {
        const std::size_t begin = end - std::min(chunk, end);
        Plan plan = best_.plan;
        const auto first = plan.acts.begin() + static_cast<std::ptrdiff_t>(begin);
        const auto last = plan.acts.begin() + static_cast<std::ptrdiff_t>(end);
        plan.acts.erase(
            std::remove_if(first, last, [this](const Act& act) { return !Needed(act); }), last);
        if (plan.acts.size() < best_.plan.acts.size()) dropped |= Try(plan);
        end = begin;
      }
    }
    return dropped;
  }

  // Settings as in a script without any.
  bool Quieter() {
    const Config usual = Plan{}.config;
    bool quieter = false;
    const auto reset = [&](auto field) {
      if (best_.plan.config.*field == usual.*field) return;
      Plan plan = best_.plan;
      plan.config.*field = usual.*field;
      quieter |= Try(plan);
    };
    reset(&Config::extra_members);
    reset(&Config::spares);
    reset(&Config::witnesses);
    reset(&Config::nodes);
    reset(&Config::auto_voters);
    reset(&Config::on_no_sync);
    reset(&Config::min_sync_copies);
    reset(&Config::sync_copies);
    reset(&Config::durability);
    reset(&Config::frames);
    reset(&Config::ttl_ms);
    reset(&Config::clocks_drift);
    reset(&Config::plain);
    if (best_.plan.config.plain) reset(&Config::seed);
    return quieter;
  }

  // A creation without troubles, which ends with a steady cluster.
  bool Formed() {
    std::vector<Act>& acts = best_.plan.acts;
    const auto created =
        std::find_if(acts.begin(), acts.end(), [](const Act& act) { return act[0] == "create"; });
    if (created == acts.end()) return false;
    const auto chaos = std::find_if(created, acts.end(), [](const Act& act) {
      return act[0] != "create" && act.back() != "20s" && act[0] != "calm" && act[0] != "join";
    });
    Plan plan = best_.plan;
    plan.acts = {{"form"}};
    plan.acts.insert(plan.acts.end(), chaos, acts.end());
    return Try(plan);
  }

  // Fewer words: one kind of noise less, a node that stays dead.
  bool SimplerActs() {
    static const std::set<std::string> kOptional = {"noise", "kill"};
    bool simpler = false;
    for (std::size_t i = 0; i < best_.plan.acts.size(); i++) {
      for (std::size_t word = best_.plan.acts[i].size() - 1; word > 0 && !Late(); word--) {
        if (!kOptional.contains(best_.plan.acts[i][0])) break;
        if (best_.plan.acts[i][0] == "kill" && word == 1) break;
        Plan plan = best_.plan;
        plan.acts[i].erase(plan.acts[i].begin() + static_cast<std::ptrdiff_t>(word));
        simpler |= Try(plan);
      }
    }
    return simpler;
  }

  bool MergeWaits() {
    bool merged = false;
    for (std::size_t i = 0; i + 1 < best_.plan.acts.size() && !Late();) {
      const Act& a = best_.plan.acts[i];
      const Act& b = best_.plan.acts[i + 1];
      Plan plan = best_.plan;
      if (a[0] == "run" && b[0] == "run") {
        plan.acts[i][1] = TextOf(*ParseTime(a[1]) + *ParseTime(b[1]));
        plan.acts.erase(plan.acts.begin() + static_cast<std::ptrdiff_t>(i) + 1);
        if (Try(plan)) {
          merged = true;
          continue;
        }
      }
      i++;
    }
    return merged;
  }

  // Half as long, or else a rounder number.
  bool ShorterTimes() {
    static const std::set<std::string> kTimed = {"run",     "kill",      "freeze",
                                                 "suspend", "lose-vote", "fill"};
    bool shorter = false;
    for (std::size_t i = 0; i < best_.plan.acts.size(); i++) {
      if (!kTimed.contains(best_.plan.acts[i][0])) continue;
      while (!Late()) {
        const std::optional<Micros> time = ParseTime(best_.plan.acts[i].back());
        if (!time || *time <= Ms(1)) break;
        if (!TryTime(i, *time / 2) && !TryTime(i, *time * 9 / 10) && !Rounder(i, *time)) break;
        shorter = true;
      }
    }
    return shorter;
  }

  bool TryTime(std::size_t act, Micros time) {
    Plan plan = best_.plan;
    plan.acts[act].back() = TextOf(time);
    if (plan.acts[act] == best_.plan.acts[act]) return false;
    return Try(plan);
  }

  bool Rounder(std::size_t act, Micros time) {
    for (const std::int64_t unit : {1000, 100, 10}) {
      if (time % Ms(unit) == Micros{0}) return false;
      if (time > Ms(unit) && TryTime(act, time / Ms(unit) * Ms(unit))) return true;
    }
    return false;
  }

  Shrunk best_;
  std::uint64_t seeds_ = 1;
  const SteadyClock::time_point until_;
};

}  // namespace

Shrunk Shrink(const Plan& plan, const Violation& violation, std::chrono::seconds limit) {
  return Shrinker(plan, violation, limit).Run();
}

std::string GoldenOf(const Shrunk& shrunk) {
  const std::string& mutant = shrunk.plan.mutant;
  std::string script = "# ";
  if (!mutant.empty()) script += "Mutant " + mutant + ". ";
  script += shrunk.violation.invariant + ": " + shrunk.violation.text + ".\n";
  script += ToText(shrunk.plan) + "> expect " + shrunk.violation.invariant + "\n";
  return RunScript(script).text;
}

}  // namespace orchestra::sim
