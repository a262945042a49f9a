#include "pg/sql_extension.h"

#include "pg/pg.h"

namespace orchestra::pg {
namespace {

ProcessUtility_hook_type next_utility = nullptr;

bool IsOurs(const Node* statement) {
  return IsA(statement, CreateExtensionStmt) &&
         std::strcmp(reinterpret_cast<const CreateExtensionStmt*>(statement)->extname,
                     "orchestra") == 0;
}

// Nothing with a destructor: control passes on to the backend.
void HintOnStandby(PlannedStmt* plan, const char* query, bool read_only_tree,
                   ProcessUtilityContext context, ParamListInfo parameters,
                   QueryEnvironment* environment, DestReceiver* receiver, QueryCompletion* done) {
  if (IsOurs(plan->utilityStmt) && RecoveryInProgress()) {
    ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
                    errmsg("cannot create extension \"orchestra\" on a standby"),
                    errhint("Create it on the primary; replication brings it here.")));
  }
  const auto next = next_utility == nullptr ? standard_ProcessUtility : next_utility;
  next(plan, query, read_only_tree, context, parameters, environment, receiver, done);
}

}  // namespace

void InstallExtensionHint() {
  next_utility = ProcessUtility_hook;
  ProcessUtility_hook = HintOnStandby;
}

}  // namespace orchestra::pg
