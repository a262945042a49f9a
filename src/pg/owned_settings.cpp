#include "pg/owned_settings.h"

#include "pg/board_io.h"
#include "pg/guard.h"
#include "pg/pg.h"

namespace orchestra::pg {
namespace {

// primary_conninfo is not among them: its user, password and options are the administrator's.
constexpr std::array kOwned = {"synchronous_standby_names", "orchestra.sync_generation"};

ProcessUtility_hook_type next_utility = nullptr;

// Which of them the statement would change, or nullptr.
const char* ChangedBy(const Node* statement) {
  if (!IsA(statement, AlterSystemStmt)) return nullptr;
  const auto* alter = reinterpret_cast<const AlterSystemStmt*>(statement);
  if (alter->setstmt->kind == VAR_RESET_ALL) return kOwned[0];
  for (const char* name : kOwned)
    if (pg_strcasecmp(alter->setstmt->name, name) == 0) return name;
  return nullptr;
}

// Orchestra sets them on this server: not unconfigured, nor in mode observe.
bool IsManaged() {
  return Boundary([] {
    const std::optional<Board> board = ReadBoard();
    return board && board->phase == Phase::kConfigured && board->value && Enforces(*board->value);
  });
}

// Nothing with a destructor: control passes on to the backend.
void OnUtility(PlannedStmt* plan, const char* query, bool read_only_tree,
               ProcessUtilityContext context, ParamListInfo parameters,
               QueryEnvironment* environment, DestReceiver* receiver, QueryCompletion* done) {
  const char* name = ChangedBy(plan->utilityStmt);
  if (name != nullptr && IsManaged()) {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
                    errmsg("cannot change \"%s\": orchestra sets it on this node", name),
                    errdetail("It follows the synchronous set of the cluster."),
                    errhint("orchestra_set() changes how many standbys confirm a commit, "
                            "orchestra_set_node() which; orchestra_drop_cluster() ends it.")));
  }
  const auto next = next_utility == nullptr ? standard_ProcessUtility : next_utility;
  next(plan, query, read_only_tree, context, parameters, environment, receiver, done);
}

}  // namespace

void InstallOwnedSettings() {
  next_utility = ProcessUtility_hook;
  ProcessUtility_hook = OnUtility;
}

}  // namespace orchestra::pg
