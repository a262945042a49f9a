// Reads forward through pg_wal to the last valid record (design, section 4, item 6): the only
// answer that is right while replay is paused, delayed or in conflict, after kill -9, and across
// a timeline switch. The receiver's own counters are not.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "core/status.h"
#include "core/types.h"

namespace orchestra::pg {

// One scan at a time, in the consensus worker. Call Start() once the receiver is quiet, then
// Step() on every turn of the loop until it has an answer. Nothing raises; destroying or
// restarting a scan releases its memory and descriptors.
//
// The answer names the timeline that the last record lies on, after fsync of the files that hold
// the tail. It is not exact, and must not be counted, when
// - it lies below what this server acknowledged, replayed, or must replay to be consistent
//   (pg_control's minimum recovery point), or
// - a file could not be read or synced, or the chain of records did not pass the replay position.
// Out of recovery it is the insert position of Start(), once that is flushed: Start() it when the
// gate is closed.
class WalEndReader {
 public:
  WalEndReader();
  ~WalEndReader();
  WalEndReader(const WalEndReader&) = delete;
  WalEndReader& operator=(const WalEndReader&) = delete;

  void Start();
  bool running() const;
  // Reads for about `budget` (or makes one fsync). nullopt: not yet; also all through crash
  // recovery, whose end is not known before it is over.
  std::optional<WalPosition> Step(Micros budget = Micros{5000});
  // What the last answer took, for people; empty out of recovery.
  const std::string& effort() const { return effort_; }

 private:
  struct Scan;
  std::string effort_;
  std::unique_ptr<Scan> scan_;
};

}  // namespace orchestra::pg
