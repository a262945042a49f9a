// What this node saw and did, above all as coordinator, on its way into the tables of the primary:
// in order, at least once, in effect once, and never more than fits.
#pragma once
#include <deque>
#include <string>

#include "core/backend.h"
#include "core/register.h"
#include "net/pg_client.h"
#include "pg/board_io.h"
#include "pg/lost_wal.h"

namespace orchestra::pg {

inline constexpr std::size_t kMaxRecords = 1024;

// A call of a function of the extension; its first parameter is the key of the event.
struct Record {
  const char* function;
  net::PgParams params;
  std::string key() const { return params.front().value_or(""); }
};

class RecordQueue {
 public:
  // Takes what is worth recording out of the ring: detections, and steps of recoveries. Names are
  // those of `value`.
  void Collect(const std::string& own_name, const RegisterValue& value);

  void Add(Record record);

  bool empty() const { return records_.empty(); }
  std::size_t size() const { return records_.size(); }
  std::size_t dropped() const { return dropped_; }  // oldest, for want of room

  // The oldest one.
  const Record& Front() const { return records_.front(); }
  // The record with this key is done. Nothing happens if it is not the oldest (any more): it was
  // dropped meanwhile, or another primary acknowledged it too.
  void Done(const std::string& key);

 private:
  std::deque<Record> records_;
  std::uint64_t next_ = 1;  // number of the next note to look at
  std::size_t dropped_ = 0;
};

// For orchestra_record(): `note`, which this node noted.
Record RecordOf(const NumberedNote& note, const std::string& own_name, const RegisterValue& value);
// For orchestra_record_loss(): `loss` in the words of `note`. Its key is the same whenever this
// node finds the same, after a restart as well.
Record RecordOf(const Loss& loss, const Note& note, const std::string& own_name);

// ISO 8601 in UTC, to the microsecond.
std::string TimeText(std::int64_t unix_us);

}  // namespace orchestra::pg
