// orchestra_create_cluster(): checks everything that can be checked without writing anything, waits
// for the nodes, and only then asks the consensus worker to form the cluster.
#include "core/forming.h"
#include "pg/command.h"
#include "pg/guard.h"
#include "pg/settings.h"
#include "pg/sql_check.h"
#include "pg/sql_common.h"
#include "pg/sql_settings.h"

namespace orchestra::pg {
namespace {

// What the worker gets at least, when the last node came just in time.
constexpr Micros kFormingTakes = std::chrono::seconds(5);
constexpr int kNotNow = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;

std::string ClusterNameArgument(FunctionCallInfo call, int index) {
  const std::string name = TextArgument(call, index);
  const std::string wrong = name.empty() ? "A name must not be empty." : WrongName(name.c_str());
  if (wrong.empty()) return name;
  throw Fail(ERRCODE_INVALID_PARAMETER_VALUE, "\"" + name + "\" cannot be a cluster's name", wrong,
             "Use printable ASCII characters, at most 63 of them.");
}

void CheckCaller() {
  if (!Call([] { return superuser(); })) {
    throw Fail(ERRCODE_INSUFFICIENT_PRIVILEGE, "only superusers can form a cluster");
  }
  RequirePreload();
}

void CheckThisNode() {
  const Board board = CurrentBoard();
  if (board.phase == Phase::kConfigured) {
    throw Fail(ERRCODE_DUPLICATE_OBJECT, "this node already belongs to a cluster", "",
               "See orchestra_cluster().");
  }
  if (board.phase == Phase::kQuarantined) {
    throw Fail(kNotNow, "this node is quarantined", board.problem);
  }
  if (RecoveryInProgress()) {
    throw Fail(kNotNow, "this node is a standby", "", "Form the cluster on the primary.");
  }
  if (SecretFile().empty()) {
    throw Fail(kNotNow, "orchestra.secret_file is not set",
               "Without a secret the peer port is not opened.",
               "Write at least 16 random bytes into a file with mode 0600, copy it to every "
               "node, and name it in orchestra.secret_file.");
  }
}

// application_names of the standbys that stream from here, one allocation each. May raise.
List* StreamingInSpi(MemoryContext keep) {
  List* names = NIL;
  if (SPI_connect() != SPI_OK_CONNECT) elog(ERROR, "orchestra: SPI_connect failed");
  const int done = SPI_execute(
      "SELECT application_name FROM pg_catalog.pg_stat_replication "
      "WHERE state OPERATOR(pg_catalog.=) 'streaming'",
      true, 0);
  if (done != SPI_OK_SELECT) elog(ERROR, "orchestra: pg_stat_replication could not be read");
  for (uint64 i = 0; i < SPI_processed; i++) {
    const char* name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
    MemoryContext here = MemoryContextSwitchTo(keep);
    names = lappend(names, pstrdup(name == nullptr ? "" : name));
    MemoryContextSwitchTo(here);
  }
  SPI_finish();
  return names;
}

std::vector<std::string> Streaming() {
  List* found = Call([] {
    pgstat_clear_snapshot();  // else this transaction would see its first answer for ever
    return StreamingInSpi(CurrentMemoryContext);
  });
  std::vector<std::string> names;
  for (int i = 0; i < list_length(found); i++) {
    names.emplace_back(static_cast<const char*>(list_nth(found, i)));
  }
  list_free_deep(found);
  return names;
}

void WaitForNodes(const std::vector<std::string>& names, Micros deadline) {
  for (;;) {
    const auto missing = FindMissing(names, CurrentBoard(), Streaming(), RawNow());
    if (!missing) return;
    if (RawNow() >= deadline) {
      throw Fail(kNotNow, missing->message, missing->detail, missing->hint);
    }
    Pause();
  }
}

std::string CreateCluster(FunctionCallInfo call) {
  CheckCaller();
  const std::vector<std::string> names = NamesArgument(call, 0);
  CreateRequest request;
  request.mode = ModeArgument(TextArgument(call, 1));
  request.durability = DurabilityArgument(TextArgument(call, 2));
  request.cluster_name = ClusterNameArgument(call, 3);
  request.lease_ttl_ms = LeaseArgument(DatumGetInt32(call->args[4].value));
  const Micros deadline = RawNow() + WaitArgument(call, 5);
  CheckThisNode();
  if (const auto complaint = CheckVoterNames(names, NodeName())) {
    throw Fail(ERRCODE_INVALID_PARAMETER_VALUE, complaint->message, complaint->detail,
               complaint->hint);
  }
  WaitForNodes(names, deadline);
  RefuseOnErrors(names);
  for (const std::string& name : names) request.names.push_back({name});
  Perform({std::max(deadline, RawNow() + kFormingTakes), std::move(request)}, "");
  const Board board = CurrentBoard();
  if (!board.value) return "cluster formed";
  return "cluster \"" + board.value->cluster_name + "\" formed, epoch " +
         ToText(board.value->epoch) + ", primary " + NameOf(*board.value, board.value->primary);
}

}  // namespace
}  // namespace orchestra::pg

using namespace orchestra::pg;

extern "C" {

PG_FUNCTION_INFO_V1(orchestra_create_cluster);
Datum orchestra_create_cluster(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnText(CreateCluster(fcinfo)); });
}

}  // extern "C"
