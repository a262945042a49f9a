#include "wal.h"

#include <algorithm>

namespace orchestra::sim {

Record WalTree::Append(Record parent, TimelineId timeline) {
  records_.push_back({parent, records_[parent].depth + 1, timeline});
  return static_cast<Record>(records_.size() - 1);
}

bool WalTree::IsAncestor(Record ancestor, Record record) const {
  return AtEnd(record, EndOf(ancestor)) == ancestor;
}

Record WalTree::AtEnd(Record record, Lsn end) const {
  if (EndOf(record) < end) return 0;
  while (EndOf(record) > end) record = ParentOf(record);
  return record;
}

std::vector<TimelineEnd> WalTree::HistoryOf(Record record) const {
  std::vector<TimelineEnd> history;
  for (; ParentOf(record) != 0; record = ParentOf(record)) {
    const Record parent = ParentOf(record);
    if (TimelineOf(parent) != TimelineOf(record)) {
      history.push_back({TimelineOf(parent), EndOf(parent)});
    }
  }
  std::reverse(history.begin(), history.end());
  if (history.size() > kMaxHistory) history.erase(history.begin(), history.end() - kMaxHistory);
  return history;
}

}  // namespace orchestra::sim
