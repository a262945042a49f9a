// What a coordinator saw and did, on its way into the tables of the primary: in order, at least
// once, in effect once, and never more than fits.
#pragma once
#include <deque>
#include <string>

#include "core/backend.h"
#include "core/register.h"
#include "net/pg_client.h"
#include "pg/board_io.h"

namespace orchestra::pg {

inline constexpr std::size_t kMaxRecords = 1024;

class RecordQueue {
 public:
  // Takes what is worth recording out of the ring: detections, and steps of recoveries. Names are
  // those of `value`.
  void Collect(const std::string& own_name, const RegisterValue& value);

  bool empty() const { return records_.empty(); }
  std::size_t size() const { return records_.size(); }
  std::size_t dropped() const { return dropped_; }  // oldest, for want of room

  // Parameters of orchestra_record() for the oldest one; the first is its key.
  const net::PgParams& Front() const { return records_.front(); }
  // The record with this key is done. Nothing happens if it is not the oldest (any more): it was
  // dropped meanwhile, or another primary acknowledged it too.
  void Done(const std::string& key);

 private:
  std::deque<net::PgParams> records_;
  std::uint64_t next_ = 1;  // number of the next note to look at
  std::size_t dropped_ = 0;
};

// The parameters that record `note`, which this node noted.
net::PgParams RecordParams(const NumberedNote& note, const std::string& own_name,
                           const RegisterValue& value);

}  // namespace orchestra::pg
