#include "pg/sql_common.h"

#include "pg/board_io.h"
#include "pg/guard.h"
#include "pg/settings.h"
#include "pg/shared.h"
#include "pg/worker.h"

namespace orchestra::pg {
namespace {

constexpr long kPollMs = 100;

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

std::string ArrayText(const std::vector<std::string>& items) {
  std::string text = "{";
  for (const std::string& item : items) {
    if (text.size() > 1) text += ",";
    text += '"';
    for (const char c : item) {
      if (c == '"' || c == '\\') text += '\\';
      text += c;
    }
    text += '"';
  }
  return text + "}";
}

std::string TextArgument(FunctionCallInfo call, int index) {
  return Call(
      [&]() -> const char* { return text_to_cstring(DatumGetTextPP(call->args[index].value)); });
}

std::optional<std::string> OptionalText(FunctionCallInfo call, int index) {
  if (call->args[index].isnull) return std::nullopt;
  return TextArgument(call, index);
}

void RefuseNull(FunctionCallInfo call, int index, const char* name) {
  if (call->args[index].isnull)
    throw Fail(ERRCODE_NULL_VALUE_NOT_ALLOWED, std::string(name) + " must not be null");
}

std::vector<std::string> NamesArgument(FunctionCallInfo call, int index) {
  struct Texts {
    Datum* datums;
    bool* nulls;
    int count;
  };
  const Texts texts = Call([&] {
    Texts found{};
    deconstruct_array(DatumGetArrayTypeP(call->args[index].value), TEXTOID, -1, false, TYPALIGN_INT,
                      &found.datums, &found.nulls, &found.count);
    return found;
  });
  std::vector<std::string> names;
  for (int i = 0; i < texts.count; i++) {
    if (texts.nulls[i]) {
      throw Fail(ERRCODE_NULL_VALUE_NOT_ALLOWED, "a node name is null");
    }
    const Datum datum = texts.datums[i];
    names.emplace_back(Call([datum]() -> const char* { return TextDatumGetCString(datum); }));
  }
  return names;
}

Micros WaitArgument(FunctionCallInfo call, int index) {
  const Interval* wait = DatumGetIntervalP(call->args[index].value);
  constexpr int64 kLongest = 86400 * USECS_PER_SEC;
  if (wait->month != 0 || wait->day != 0 || wait->time < 0 || wait->time > kLongest) {
    throw Fail(ERRCODE_INVALID_PARAMETER_VALUE, "wait must be between 0 and 24 hours");
  }
  return Micros(wait->time);
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

Board ConfiguredBoard() {
  Board board = CurrentBoard();
  if (board.value && board.phase == Phase::kConfigured) return board;
  throw Fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "this node belongs to no cluster", "",
             "See orchestra_status().");
}

NodeId FindNode(const Board& board, const std::string& name) {
  if (const Member* member = FindMember(*board.value, name)) return member->id;
  throw Fail(ERRCODE_UNDEFINED_OBJECT, "\"" + name + "\" is no member of the cluster", "",
             "orchestra_status() names the members.");
}

void Perform(const SqlCommand& command, const std::string& what) {
  const SqlAnswer answer = RunCommand(command);
  if (answer.sqlstate == 0) return;
  throw Fail(answer.sqlstate, what + answer.message, "", answer.hint);
}

RegisterValue WaitForRegister(Micros deadline, const std::function<bool(const Board&)>& reached,
                              const std::string& late) {
  for (;;) {
    const Board board = ConfiguredBoard();
    if (reached(board)) return *board.value;
    if (RawNow() >= deadline)
      throw Fail(ERRCODE_QUERY_CANCELED, late, "",
                 "It goes on by itself: see orchestra_cluster().");
    Pause();
  }
}

void Pause() {
  Call([] {
    CHECK_FOR_INTERRUPTS();
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kPollMs, PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
  });
}

Cell ToCell(bool value) { return value ? "t" : "f"; }

}  // namespace orchestra::pg
