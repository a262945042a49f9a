// The WAL of all servers as one tree of records. A server's WAL is the path from the root to its
// last record; a record's LSN is its depth.
#pragma once
#include <cstdint>
#include <vector>

#include "core/status.h"
#include "core/types.h"

namespace orchestra::sim {

using Record = std::uint32_t;  // 0: before the first record

class WalTree {
 public:
  Record Append(Record parent, TimelineId timeline);
  Lsn EndOf(Record record) const { return Lsn{records_[record].depth}; }
  TimelineId TimelineOf(Record record) const { return records_[record].timeline; }
  Record ParentOf(Record record) const { return records_[record].parent; }
  // A record is an ancestor of itself.
  bool IsAncestor(Record ancestor, Record record) const;
  // The record of this WAL that ends at `end`; 0 when the WAL is shorter.
  Record AtEnd(Record record, Lsn end) const;
  // The history file that a server at `record` has.
  std::vector<TimelineEnd> HistoryOf(Record record) const;

 private:
  struct Node {
    Record parent = 0;
    std::uint64_t depth = 0;
    TimelineId timeline;
  };
  std::vector<Node> records_{Node{}};
};

}  // namespace orchestra::sim
