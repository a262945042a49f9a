// What a former primary committed and the cluster went on without: read from its own WAL, from the
// point at which the lineage left its timeline.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/types.h"

namespace orchestra::pg {

inline constexpr std::size_t kMaxLostListed = 1000;  // of any number that is counted

struct LostTransaction {
  std::uint64_t xid = 0;  // as pg_current_xact_id() says it
  const char* what = "";  // commit, prepare, commit prepared, rollback prepared
  std::int64_t unix_us = 0;
  Lsn lsn;  // start of its record
};

struct Loss {
  EpochId epoch;        // newest in which this node was primary: the recovery's id
  bool quorum = false;  // the register says durability quorum
  TimelineId timeline;
  Lsn begin, end;
  Lsn read;                   // before `end`: WAL from here on could not be read
  std::uint64_t commits = 0;  // prepared ones included
  std::uint64_t others = 0;   // prepared, or rolled back after that
  std::vector<LostTransaction> first;
};

// What the log and the recovery's steps say of it; the first transactions by name.
Note LossNote(const Loss& loss, NodeId self);

// Reads in slices, in bounded memory, for as long as it is called: a commit that was on its way
// when the node was fenced may come later. May wait for the disk: not for the consensus worker.
class LostWal {
 public:
  LostWal();
  ~LostWal();
  LostWal(LostWal&&) noexcept;
  LostWal& operator=(LostWal&&) noexcept;

  // For a configured node that is out of recovery and not the register's primary. Returns what was
  // lost once it is read, and again when more of it is found.
  std::optional<Loss> Turn(Micros now);
  // When the next turn is due.
  Micros next_at() const { return next_at_; }

 private:
  class Reading;
  std::unique_ptr<Reading> reading_;
  Micros next_at_{};
};

}  // namespace orchestra::pg
