#include "network.h"

#include <utility>

namespace orchestra::sim {

Micros Network::Latency() {
  if (random_.Chance(faults.delay)) {
    return Micros{random_.Between(Ms(5).count(), faults.longest_delay.count())};
  }
  return Micros{random_.Between(faults.fastest.count(), faults.slowest.count())};
}

bool Network::Loses(NodeId from, NodeId to, std::size_t kind) {
  if (IsCut(from, to) || random_.Chance(faults.lose)) return true;
  const auto marked = lose_.find({from, to, kind});
  if (marked == lose_.end()) return false;
  if (--marked->second == 0) lose_.erase(marked);
  return true;
}

void Network::Send(NodeId from, NodeId to, std::size_t kind, const std::function<void()>& deliver) {
  const bool counts = kind < kMessageKinds;
  if (counts) coverage_.sent[kind]++;
  if (Loses(from, to, kind)) {
    if (counts) coverage_.lost[kind]++;
    return;
  }
  const bool twice = random_.Chance(faults.duplicate);
  if (twice && counts) coverage_.duplicated[kind]++;
  const std::uint64_t order = ++sent_[from.value][to.value];
  const auto marked = special_.find({from, to, kind});
  const Special special = marked == special_.end() ? Special{} : marked->second;
  if (special.again > Micros{0}) scheduler_.After(Latency() + special.again, deliver);
  for (int copies = twice ? 2 : 1; copies > 0; copies--) {
    scheduler_.After(Latency() + extra_[from.value][to.value] + special.extra,
                     [this, from, to, kind, counts, order, deliver] {
                       std::uint64_t& newest = newest_[from.value][to.value];
                       if (order < newest && counts) coverage_.reordered[kind]++;
                       newest = std::max(newest, order);
                       deliver();
                     });
  }
}

}  // namespace orchestra::sim
