// What a closed gate refuses before it begins. Every hook here is left by longjmp, and holds
// nothing with a destructor.
#include "core/durable.h"
#include "pg/gate.h"
#include "pg/gate_commit.h"
#include "pg/sessions.h"
#include "pg/shared.h"

namespace orchestra::pg {
namespace {

ExecutorStart_hook_type next_executor_start = nullptr;
ProcessUtility_hook_type next_process_utility = nullptr;

// Refuses early, with PostgreSQL's own message, what would fail at its commit anyway. What gets
// round this does not get round the commit.
void ReadOnlyWhileClosed() {
  if (!XactReadOnly && IsTransactionState() && !IsParallelWorker() && !RecoveryInProgress() &&
      GateIsClosed())
    XactReadOnly = true;
}

void OnExecutorStart(QueryDesc* query, int flags) {
  ReadOnlyWhileClosed();
  if (next_executor_start != nullptr)
    next_executor_start(query, flags);
  else
    standard_ExecutorStart(query, flags);
}

bool EndsPrepared(const Node* statement) {
  if (!IsA(statement, TransactionStmt)) return false;
  const TransactionStmtKind kind = reinterpret_cast<const TransactionStmt*>(statement)->kind;
  return kind == TRANS_STMT_COMMIT_PREPARED || kind == TRANS_STMT_ROLLBACK_PREPARED;
}

// What a read-only transaction may do, and what acts before its commit is asked.
bool MustNotBegin(const Node* statement) {
  switch (nodeTag(statement)) {
    case T_CreatedbStmt:
    case T_DropdbStmt:
    case T_AlterDatabaseStmt:  // SET TABLESPACE moves files
    case T_CreateTableSpaceStmt:
    case T_DropTableSpaceStmt:
    case T_VacuumStmt:
    case T_ClusterStmt:
    case T_ReindexStmt:
    case T_NotifyStmt:
      return true;
    default:
      return false;
  }
}

void OnProcessUtility(PlannedStmt* planned, const char* query, bool read_only_tree,
                      ProcessUtilityContext context, ParamListInfo params,
                      QueryEnvironment* environment, DestReceiver* dest, QueryCompletion* done) {
  const Node* statement = planned->utilityStmt;
  if (MustNotBegin(statement) && !RecoveryInProgress() && GateIsClosed())
    RefuseWhileClosed(ERROR, ERRCODE_READ_ONLY_SQL_TRANSACTION);
  if (!IsA(statement, TransactionStmt)) ReadOnlyWhileClosed();
  if (EndsPrepared(statement) && !RecoveryInProgress()) BeforeEndingPrepared();
  if (next_process_utility != nullptr)
    next_process_utility(planned, query, read_only_tree, context, params, environment, dest, done);
  else
    standard_ProcessUtility(planned, query, read_only_tree, context, params, environment, dest,
                            done);
}

}  // namespace

void RefuseWhileClosed(int level, int sqlstate) {
  pg_atomic_fetch_add_u64(&shared->gate.refused, 1);
  if (shared->boot.phase == static_cast<uint32>(Phase::kQuarantined))
    ereport(level, (errcode(sqlstate), errmsg("this node is quarantined: it accepts no writes"),
                    errdetail("%s", shared->boot.reason)));
  ereport(level,
          (errcode(sqlstate), errmsg("this node is fenced: it holds no lease of the primary role"),
           HintAtPrimary()));
}

void InstallGate() {
  InstallCommitGate();
  next_executor_start = ExecutorStart_hook;
  ExecutorStart_hook = OnExecutorStart;
  next_process_utility = ProcessUtility_hook;
  ProcessUtility_hook = OnProcessUtility;
}

}  // namespace orchestra::pg
