// Does the acts of a script or plan to a world, one after the other. The language is in script.h.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "plan.h"
#include "world.h"

namespace orchestra::sim {

class Player {
 public:
  explicit Player(World& world) : w_(world) {}
  Player(const Player&) = delete;
  Player& operator=(const Player&) = delete;

  enum class Result { kDone, kDidNotHappen, kUnknown };
  Result Do(const Act& act);
  bool ended() const { return ended_; }  // an "end unless" said so
  // Did the violation happen that an "expect" named last?
  bool as_expected() const { return as_expected_; }

 private:
  using Handler = Result (Player::*)(const Act& act);
  struct Verb {
    const char* name;
    std::size_t least, most;  // words that follow it
    Handler handler;
    bool waits = false;  // does nothing itself
  };
  static const Verb kVerbs[];

  Result Create(const Act& act);
  Result Form(const Act& act);
  Result Join(const Act& act);
  Result RunFor(const Act& act);
  Result Await(const Act& act);  // until, try, expect
  Result End(const Act& act);
  Result Kill(const Act& act);
  Result StartUp(const Act& act);
  Result Restart(const Act& act);
  Result Freeze(const Act& act);  // freeze, suspend
  Result LoseVote(const Act& act);
  Result Fence(const Act& act);
  Result Elect(const Act& act);
  Result Clock(const Act& act);
  Result Cut(const Act& act);
  Result CutOff(const Act& act);  // isolate, deafen, mute
  Result Slow(const Act& act);
  Result Lose(const Act& act);
  Result Delay(const Act& act);  // delay, repeat
  Result Heal(const Act& act);
  Result Noise(const Act& act);
  Result Calm(const Act& act);
  Result Cast(const Act& act);
  Result FillDisk(const Act& act);
  Result RollBack(const Act& act);
  Result Clone(const Act& act);
  Result Move(const Act& act);
  Result Ask(const Act& act);
  Result ByOperator(const Act& act);  // release, force, confirm, renew
  Result Restore(const Act& act);

  bool Holds(const std::string& condition);
  bool HoldsOf(const std::string& what, const Node& node) const;
  Node* NodeNamed(const std::string& word);
  Node* Other();
  std::optional<Change> ChangeIn(const Act& act);
  std::vector<NodeId> VotersIn(const Act& act);
  std::optional<Change> Missing() const;
  bool Whole();
  bool WholeNow();
  void CrashFor(Node& node, Micros time);
  void Operator();
  void WatchEpochs();

  World& w_;
  std::map<std::string, NodeId> cast_;  // roles that stay with a node
  std::vector<NodeId> killed_;          // in that order
  EpochId epoch_;                       // chosen when something was done last
  std::optional<Micros> whole_since_;
  EpochId seen_;
  std::uint64_t leases_ = 0;  // acquired when something was done last
  int epochs_ = 0;            // noise: permille of new epochs whose primary dies at once
  bool watching_ = false, operating_ = false;
  bool ended_ = false, as_expected_ = false;
};

// How long a wait takes at most that names no limit.
inline constexpr Micros kPatience = Seconds(30);

// The last commit was acknowledged just now, and somebody leads.
bool Well(World& world);

}  // namespace orchestra::sim
