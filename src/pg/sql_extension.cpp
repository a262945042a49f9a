#include "pg/sql_extension.h"

#include "pg/board_io.h"
#include "pg/guard.h"
#include "pg/pg.h"
#include "pg/settings.h"
#include "pg/shared.h"

namespace orchestra::pg {
namespace {

constexpr const char* kName = "orchestra";

ProcessUtility_hook_type next_utility = nullptr;

bool Creates(const Node* statement) {
  return IsA(statement, CreateExtensionStmt) &&
         std::strcmp(reinterpret_cast<const CreateExtensionStmt*>(statement)->extname, kName) == 0;
}

bool Drops(const Node* statement) {
  if (!IsA(statement, DropStmt)) return false;
  const auto* drop = reinterpret_cast<const DropStmt*>(statement);
  if (drop->removeType != OBJECT_EXTENSION) return false;
  const ListCell* cell = nullptr;
  foreach (cell, drop->objects) {
    const Node* object = static_cast<const Node*>(lfirst(cell));
    if (std::strcmp(strVal(object), kName) == 0) return true;
  }
  return false;
}

// The extension that the cluster uses: elsewhere it is one of many.
bool IsInUse(const char* database) {
  return Boundary([database] {
    if (database == nullptr || Database() != database) return false;
    const std::optional<Board> board = ReadBoard();
    return board.has_value() && board->phase != Phase::kUnconfigured;
  });
}

// Nothing with a destructor: control passes on to the backend.
void OnUtility(PlannedStmt* plan, const char* query, bool read_only_tree,
               ProcessUtilityContext context, ParamListInfo parameters,
               QueryEnvironment* environment, DestReceiver* receiver, QueryCompletion* done) {
  if (Creates(plan->utilityStmt) && RecoveryInProgress()) {
    ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
                    errmsg("cannot create extension \"orchestra\" on a standby"),
                    errhint("Create it on the primary; replication brings it here.")));
  }
  if (Drops(plan->utilityStmt) && IsInUse(get_database_name(MyDatabaseId))) {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
                    errmsg("cannot drop extension \"orchestra\": this node belongs to a cluster"),
                    errhint("SELECT orchestra_drop_cluster() ends the cluster.")));
  }
  const auto next = next_utility == nullptr ? standard_ProcessUtility : next_utility;
  next(plan, query, read_only_tree, context, parameters, environment, receiver, done);
}

}  // namespace

void InstallExtensionHooks() {
  next_utility = ProcessUtility_hook;
  ProcessUtility_hook = OnUtility;
}

}  // namespace orchestra::pg
