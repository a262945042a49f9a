// The links between nodes: loss, duplication, delay, reordering, cuts in one direction or both.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <tuple>

#include "core/message.h"
#include "random.h"
#include "scheduler.h"

namespace orchestra::sim {

inline constexpr std::size_t kMaxNodes = 12;
inline constexpr std::size_t kMessageKinds = std::variant_size_v<Message>;

struct Faults {
  int lose = 0, duplicate = 0, delay = 0;  // permille of messages
  Micros fastest{100}, slowest{3000};      // of a message that is not delayed
  Micros longest_delay = Seconds(3);
  int disk_fails = 0;           // permille of writes of the vote file
  int scan_inexact = 0;         // permille of readings of the end of WAL: they stop too early
  int crash_after_persist = 0;  // per 10,000 such writes: all is stored, nothing is sent yet
  int crash_in_write = 0;       // per 10,000 writes of a file: at any point on the way
  int slow_fsync = 0;           // permille of writes: the worker waits, up to `slowest_fsync`
  Micros slowest_fsync = Ms(50);
  // Permille of frames between whose receipt (after which the shell reads the clock) and whose step
  // the worker was held up: mostly some ms, sometimes up to `longest_hold`.
  int held_up = 0;
  Micros longest_hold = Seconds(3);
  // A shell that reads the clock *before* it receives: what came while it was held up or frozen is
  // handled as of before. Not what is shipped; a control that I1 must notice.
  bool stale_clock = false;
  int ack_pause =
      0;  // permille of acknowledgements: the gate was asked, the client is not told yet
  Micros longest_ack_pause = Ms(50);
  int late_reload = 0;      // permille of reloads that some process of the server takes long for
  int operator_rejoin = 0;  // permille of looks at a diverged node
};

struct MessageCoverage {
  std::array<std::uint64_t, kMessageKinds> sent{}, lost{}, duplicated{}, reordered{};
};

class Network {
 public:
  Network(Scheduler& scheduler, Random& random, MessageCoverage& coverage)
      : scheduler_(scheduler), random_(random), coverage_(coverage) {}

  Faults faults;

  void Cut(NodeId from, NodeId to, bool cut = true) { cut_[from.value][to.value] = cut; }
  void CutBoth(NodeId a, NodeId b, bool cut = true) {
    Cut(a, b, cut);
    Cut(b, a, cut);
  }
  void HealAll() { cut_ = {}; }
  bool IsCut(NodeId from, NodeId to) const { return cut_[from.value][to.value]; }
  // Messages of this kind take so much longer on this link; for directed schedules.
  void DelayLink(NodeId from, NodeId to, Micros extra) { extra_[from.value][to.value] = extra; }

  // The next `count` messages of this kind are lost on this link; likewise.
  void LoseNext(NodeId from, NodeId to, std::size_t kind, std::uint64_t count) {
    lose_[{from, to, kind}] = count;
  }
  // From now on messages of this kind take so much longer on this link, or arrive once more so much
  // later.
  void DelayKind(NodeId from, NodeId to, std::size_t kind, Micros extra) {
    special_[{from, to, kind}].extra = extra;
  }
  void Repeat(NodeId from, NodeId to, std::size_t kind, Micros later) {
    special_[{from, to, kind}].again = later;
  }

  // `kind` is Message::index(), or kWal. Calls `deliver` as often as the message arrives.
  static constexpr std::size_t kWal = kMessageKinds;
  void Send(NodeId from, NodeId to, std::size_t kind, const std::function<void()>& deliver);

 private:
  Micros Latency();

  Scheduler& scheduler_;
  Random& random_;
  MessageCoverage& coverage_;
  template <typename T>
  using PerLink = std::array<std::array<T, kMaxNodes + 1>, kMaxNodes + 1>;
  bool Loses(NodeId from, NodeId to, std::size_t kind);

  struct Special {
    Micros extra{}, again{};
  };
  std::map<std::tuple<NodeId, NodeId, std::size_t>, std::uint64_t> lose_;
  std::map<std::tuple<NodeId, NodeId, std::size_t>, Special> special_;
  PerLink<bool> cut_{};
  PerLink<Micros> extra_{};
  PerLink<std::uint64_t> sent_{}, newest_{};
};

}  // namespace orchestra::sim
