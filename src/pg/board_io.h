// The board and the notes in shared memory. One writer, the consensus worker; readers never lock
// and never wait: a frozen writer costs them a bounded number of attempts.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/board.h"

namespace orchestra::pg {

// Consensus worker only. False: the board does not fit in its place, the old one stays.
bool PublishBoard(const Board& board);
// nullopt: none was ever published, or it kept changing while it was read.
std::optional<Board> ReadBoard();

struct NumberedNote {
  std::uint64_t sequence = 0;  // 1, 2, 3, ... since this start of the server
  std::int64_t unix_us = 0;
  Note note;
};

// Consensus worker only. The oldest note makes room.
void PushNote(const Note& note);
// Notes from number `first` on, in order. Numbers that are missing were overwritten.
std::vector<NumberedNote> ReadNotes(std::uint64_t first);

}  // namespace orchestra::pg
