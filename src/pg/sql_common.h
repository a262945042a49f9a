// What the SQL-callable functions share: rows of text, refusals with hints, the board.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/board.h"
#include "pg/clock.h"
#include "pg/pg.h"

namespace orchestra::pg {

using Cell = std::optional<std::string>;  // text form of any type; nullopt: NULL
using Row = std::vector<Cell>;

// The result of a set-returning function; column types' own input functions read the cells.
Datum ReturnRows(FunctionCallInfo call, const std::vector<Row>& rows);
Datum ReturnText(const std::string& text);
std::string TextArgument(FunctionCallInfo call, int index);

// 55000 unless the library was preloaded.
void RequirePreload();
// The board; when the consensus worker never wrote one, a board that says so.
Board CurrentBoard();
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
