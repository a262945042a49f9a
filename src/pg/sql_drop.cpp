// orchestra_drop_cluster(): first nothing is gated or set any more, then every member leaves. Each
// restores its settings before it forgets the cluster, and a server that would be a second primary
// stays closed, so that no order of these can leave two that are written to.
#include "core/node_rows.h"
#include "pg/guard.h"
#include "pg/sql_common.h"
#include "pg/sql_settings.h"

namespace orchestra::pg {
namespace {

// Members that do not hear of the end now, for people.
std::string LeftBehind(const Board& board, Micros now) {
  std::string text;
  for (const BoardNode& node : board.nodes) {
    if (node.member.id == kNoNode || IsFresh(board, node, now)) continue;
    text += (text.empty() ? "" : ", ") + node.member.name;
  }
  return text;
}

void WaitUntilLeft(Micros deadline) {
  while (CurrentBoard().phase != Phase::kUnconfigured) {
    if (RawNow() >= deadline)
      throw Fail(ERRCODE_QUERY_CANCELED, "the cluster is dropped and this node has not left it yet",
                 "",
                 "It goes on by itself; SELECT * FROM orchestra_status() says what stands in the "
                 "way.");
    Pause();
  }
}

std::string DropTheCluster(FunctionCallInfo call) {
  const Micros deadline = RawNow() + WaitArgument(call, 0);
  Board board = ConfiguredBoard();
  if (!board.value->dropped) {
    if (Enforces(*board.value)) ChangeMode(Mode::kObserve, deadline);
    board = ConfiguredBoard();
    Perform({deadline, ChangeRequest{DropCluster{}}}, "the cluster stays: ");
  }
  const std::string behind = LeftBehind(board, RawNow());
  WaitUntilLeft(deadline);
  std::string text = "cluster \"" + board.value->cluster_name + "\" dropped";
  if (!behind.empty()) text += "; not heard, and still members of it: " + behind;
  return text;
}

}  // namespace
}  // namespace orchestra::pg

using namespace orchestra::pg;

extern "C" {

PG_FUNCTION_INFO_V1(orchestra_drop_cluster);
Datum orchestra_drop_cluster(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnText(DropTheCluster(fcinfo)); });
}

}  // extern "C"
