// What the SQL-callable functions share: rows of text, refusals with hints, the board.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/board.h"
#include "pg/clock.h"
#include "pg/command.h"
#include "pg/pg.h"

namespace orchestra::pg {

using Cell = std::optional<std::string>;  // text form of any type; nullopt: NULL
using Row = std::vector<Cell>;

// The result of a set-returning function; column types' own input functions read the cells.
Datum ReturnRows(FunctionCallInfo call, const std::vector<Row>& rows);
Datum ReturnText(const std::string& text);
std::string ArrayText(const std::vector<std::string>& items);  // as text[] is written
std::string TextArgument(FunctionCallInfo call, int index);
std::optional<std::string> OptionalText(FunctionCallInfo call, int index);
void RefuseNull(FunctionCallInfo call, int index, const char* name);       // 22004
std::vector<std::string> NamesArgument(FunctionCallInfo call, int index);  // text[] without nulls
Micros WaitArgument(FunctionCallInfo call, int index);                     // 0 to 24 hours

// 55000 unless the library was preloaded.
void RequirePreload();
// The board; when the consensus worker never wrote one, a board that says so.
Board CurrentBoard();
// Likewise, of a node that belongs to a cluster: with `value`. Else 55000.
Board ConfiguredBoard();
// The member of that name; 42704 when there is none.
NodeId FindNode(const Board& board, const std::string& name);

// Has the consensus worker do it; raises when it was refused or nobody answered. `what` begins the
// message: "cannot ...: ", or is empty.
void Perform(const SqlCommand& command, const std::string& what);
// Looks until the board is as `reached` wants it, and returns the register then; 57014 with `late`
// when it is not so by the deadline.
RegisterValue WaitForRegister(Micros deadline, const std::function<bool(const Board&)>& reached,
                              const std::string& late);
// A moment between two looks at the board; cancel and the end of the server end it.
void Pause();

// The clock of deadlines and of the board's ages.
inline Micros RawNow() { return ReadClock(CLOCK_MONOTONIC_RAW); }

Cell ToCell(bool value);
inline Cell ToCell(std::string text) { return text; }
template <typename T>
requires std::is_arithmetic_v<T> Cell ToCell(T value) { return std::to_string(value); }
template <typename T>
Cell ToCell(const std::optional<T>& value) {
  return value ? ToCell(*value) : std::nullopt;
}

}  // namespace orchestra::pg
