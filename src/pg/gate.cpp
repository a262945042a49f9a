#include "pg/gate.h"

#include "core/durable.h"
#include "pg/clock.h"
#include "pg/faults.h"
#include "pg/guard.h"
#include "pg/sessions.h"
#include "pg/shared.h"

namespace orchestra::pg {
namespace {

ExecutorStart_hook_type next_executor_start = nullptr;
ProcessUtility_hook_type next_process_utility = nullptr;

// This transaction passed the gate, so that its acknowledgement must pass it too.
bool wrote = false;
// COMMIT PREPARED and ROLLBACK PREPARED write outside of the transaction that runs them.
bool wrote_prepared = false;

bool Closed() { return !faults::NoGate() && !GateIsOpen(); }

// Every hook below is left by longjmp here, and holds nothing with a destructor.
void Refuse() { RefuseWhileClosed(ERROR, ERRCODE_READ_ONLY_SQL_TRANSACTION); }

// The way out of SyncRepWaitForLSN: the transaction is in the WAL, so neither ERROR nor success may
// be told. The connection ends without a word, and no WARNING either (it would flush the buffer).
void SuppressAcknowledgement() {
  whereToSendOutput = DestNone;
  ProcDiePending = true;
  InterruptPending = true;
  SetLatch(MyLatch);
}

void OnTransaction(XactEvent event, void* /*unused*/) {
  switch (event) {
    case XACT_EVENT_PRE_COMMIT:
    case XACT_EVENT_PRE_PREPARE:
      // RecordTransactionCommit's own condition for "this commit matters".
      wrote = XactLastRecEnd != 0 && TransactionIdIsValid(GetTopTransactionIdIfAny());
      if (wrote && Closed()) {
        wrote = false;
        Refuse();
      }
      break;
    case XACT_EVENT_COMMIT:
    case XACT_EVENT_PREPARE:
      if ((wrote || wrote_prepared) && Closed()) SuppressAcknowledgement();
      wrote = wrote_prepared = false;
      break;
    case XACT_EVENT_ABORT:
      wrote = wrote_prepared = false;
      break;
    default:
      break;
  }
}

// Refuses early, with PostgreSQL's own message, what would fail at its commit anyway. What gets
// round this does not get round the commit.
void ReadOnlyWhileClosed() {
  if (!XactReadOnly && IsTransactionState() && !IsParallelWorker() && !RecoveryInProgress() &&
      Closed())
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

// What acts before its commit is asked, commits several times, or passes no commit of its own.
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
      return true;
    default:
      return EndsPrepared(statement);
  }
}

void OnProcessUtility(PlannedStmt* planned, const char* query, bool read_only_tree,
                      ProcessUtilityContext context, ParamListInfo params,
                      QueryEnvironment* environment, DestReceiver* dest, QueryCompletion* done) {
  const Node* statement = planned->utilityStmt;
  const bool ends_prepared = EndsPrepared(statement);
  if (MustNotBegin(statement) && !RecoveryInProgress() && Closed()) Refuse();
  if (!IsA(statement, TransactionStmt)) ReadOnlyWhileClosed();
  if (ends_prepared) wrote_prepared = true;
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
  RegisterXactCallback(OnTransaction, nullptr);
  next_executor_start = ExecutorStart_hook;
  ExecutorStart_hook = OnExecutorStart;
  next_process_utility = ProcessUtility_hook;
  ProcessUtility_hook = OnProcessUtility;
}

void SetGateAtBoot(bool gated, bool mute) {
  pg_atomic_write_u32(&shared->gate.open, 0);
  pg_atomic_write_u32(&shared->gate.gated, gated ? 1 : 0);
  pg_atomic_write_u32(&shared->gate.mute, mute ? 1 : 0);
}

bool GateIsOpen() {
  if (shared == nullptr) return true;  // no shared memory, no transactions
  SharedGate& gate = shared->gate;
  if (pg_atomic_read_u32(&gate.gated) == 0) return true;
  if (pg_atomic_read_u32(&gate.open) == 0) return false;
  pg_read_barrier();
  const Instant until{Micros(pg_atomic_read_u64(&gate.until_boottime_us)),
                      Micros(pg_atomic_read_u64(&gate.until_raw_us))};
  return BeforeOnEveryClock(Now(), until);
}

void CloseGate() {
  pg_atomic_write_u32(&shared->gate.open, 0);
  pg_memory_barrier();
}

}  // namespace orchestra::pg
