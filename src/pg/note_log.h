// Notes of the core become log lines (each state change once; repeats at most once a minute, with
// a count) and entries of the ring that the monitor reads.
#pragma once
#include <map>
#include <string>

#include "core/backend.h"

namespace orchestra::pg {

// The line of the log, about `node`.
std::string NoteLine(const Note& note, const std::string& node);

class NoteLog {
 public:
  // `value`: the register that gives names to nodes; may be null.
  void Add(const Note& note, const RegisterValue* value, const std::string& own_name, Micros now);
  // A line for the log alone, told at most once a minute with the same `key`.
  void Repeat(const std::string& key, std::string line, Micros now);

 private:
  struct Seen {
    Micros logged_at{};
    unsigned repeats = 0;
  };
  std::map<std::string, Seen> seen_;  // bounded
};

}  // namespace orchestra::pg
