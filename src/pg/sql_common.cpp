#include "pg/sql_common.h"

#include "pg/board_io.h"
#include "pg/guard.h"
#include "pg/settings.h"
#include "pg/shared.h"
#include "pg/worker.h"

namespace orchestra::pg {
namespace {

// Only trivial locals: this may be left by longjmp.
void PutRows(FunctionCallInfo call, const std::vector<Row>& rows) {
  InitMaterializedSRF(call, 0);
  auto* result = reinterpret_cast<ReturnSetInfo*>(call->resultinfo);
  AttInMetadata* columns = TupleDescGetAttInMetadata(result->setDesc);
  const auto count = static_cast<std::size_t>(result->setDesc->natts);
  auto** texts = static_cast<char**>(palloc0(count * sizeof(char*)));
  for (const Row& row : rows) {
    if (row.size() != count)
      elog(ERROR, "orchestra: a row has %zu columns, not %zu", row.size(), count);
    for (std::size_t i = 0; i < count; i++) {
      texts[i] = row[i] ? const_cast<char*>(row[i]->c_str()) : nullptr;
    }
    HeapTuple tuple = BuildTupleFromCStrings(columns, texts);
    tuplestore_puttuple(result->setResult, tuple);
    heap_freetuple(tuple);
  }
}

}  // namespace

Datum ReturnRows(FunctionCallInfo call, const std::vector<Row>& rows) {
  Call([&] { PutRows(call, rows); });
  return static_cast<Datum>(0);
}

Datum ReturnText(const std::string& text) {
  return Call([&] {
    return PointerGetDatum(cstring_to_text_with_len(text.data(), static_cast<int>(text.size())));
  });
}

std::string TextArgument(FunctionCallInfo call, int index) {
  return Call(
      [&]() -> const char* { return text_to_cstring(DatumGetTextPP(call->args[index].value)); });
}

void RequirePreload() {
  if (shared != nullptr) return;
  if (!Enabled())
    throw Fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "orchestra is off", "",
               "Set orchestra.enabled = on and restart the server.");
  throw Fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "orchestra is not loaded", "",
             "Add orchestra to shared_preload_libraries and restart the server.");
}

Board CurrentBoard() {
  RequirePreload();
  Board board;
  if (auto published = ReadBoard()) {
    board = *std::move(published);
  } else {
    BoardNode self;
    self.member.name = board.node_name = NodeName();
    self.self = true;
    board.nodes.push_back(self);
  }
  const std::string problems = WorkerProblems();
  if (!problems.empty())
    board.problem = problems + (board.problem.empty() ? "" : "; ") + board.problem;
  return board;
}

Cell ToCell(bool value) { return value ? "t" : "f"; }

}  // namespace orchestra::pg
