// What the login of a coordinator may call. Each refuses what no committed epoch says, and each is
// only a nudge or a record: the node's own worker does the same as soon as it learns the epoch.
#include "core/parse.h"
#include "core/register.h"
#include "pg/command.h"
#include "pg/gate.h"
#include "pg/guard.h"
#include "pg/sql_common.h"

namespace orchestra::pg {
namespace {

constexpr int kNotNow = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;

EpochId EpochArgument(FunctionCallInfo call, int index) {
  const std::string text = TextArgument(call, index);
  if (const auto epoch = EpochFromText(text)) return *epoch;
  throw Fail(ERRCODE_INVALID_PARAMETER_VALUE, "\"" + text + "\" is not an epoch", "",
             "An epoch looks like 4.2/17.");
}

// The committed register of this node, if its epoch is the one named.
Board BoardOfEpoch(FunctionCallInfo call) {
  const EpochId epoch = EpochArgument(call, 0);
  Board board = ConfiguredBoard();
  if (board.value->epoch == epoch) return board;
  throw Fail(kNotNow, "epoch " + ToText(epoch) + " is not the committed epoch of this node",
             "The committed epoch is " + ToText(board.value->epoch) + ".");
}

std::string Promote(FunctionCallInfo call) {
  const Board board = BoardOfEpoch(call);
  if (board.value->primary != board.self) {
    throw Fail(kNotNow, "this node is not the primary of epoch " + ToText(board.value->epoch),
               "The primary is " + NameOf(*board.value, board.value->primary) + ".");
  }
  if (!RecoveryInProgress()) return "primary already";
  WakeWorker(&shared->workers.consensus_pid);
  return "promoting";
}

std::string Repoint(FunctionCallInfo call) {
  const Board board = BoardOfEpoch(call);
  if (board.value->primary == board.self) {
    throw Fail(kNotNow, "this node is the primary of epoch " + ToText(board.value->epoch));
  }
  WakeWorker(&shared->workers.consensus_pid);
  return "following " + NameOf(*board.value, board.value->primary);
}

void CheckRecord(FunctionCallInfo call) {
  const EpochId epoch = EpochArgument(call, 0);
  const Board board = ConfiguredBoard();
  if (board.value->primary != board.self || RecoveryInProgress() || !GateIsOpen()) {
    throw Fail(kNotNow, "this node is not a primary with a lease", "", "Record on the primary.");
  }
  if (epoch > board.value->epoch) {
    throw Fail(kNotNow, "epoch " + ToText(epoch) + " is not committed",
               "The committed epoch is " + ToText(board.value->epoch) + ".");
  }
}

}  // namespace
}  // namespace orchestra::pg

using namespace orchestra::pg;

extern "C" {

PG_FUNCTION_INFO_V1(orchestra_promote);
Datum orchestra_promote(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnText(Promote(fcinfo)); });
}

PG_FUNCTION_INFO_V1(orchestra_repoint);
Datum orchestra_repoint(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnText(Repoint(fcinfo)); });
}

PG_FUNCTION_INFO_V1(orchestra_check_record);
Datum orchestra_check_record(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] {
    CheckRecord(fcinfo);
    return static_cast<Datum>(0);
  });
}

}  // extern "C"
