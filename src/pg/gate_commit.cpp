// Every function here may be left by longjmp, and holds nothing with a destructor.
#include "pg/gate_commit.h"

#include "pg/faults.h"
#include "pg/gate.h"
#include "pg/gate_quorum.h"
#include "pg/settings.h"
#include "pg/shared.h"

namespace orchestra::pg {
namespace {

// This transaction passed the gate, so that its acknowledgement must pass it too.
bool wrote = false;
bool wrote_prepared = false;  // the same, of COMMIT PREPARED and ROLLBACK PREPARED
bool had_xid = false;         // before its commit

bool IsWeak() { return synchronous_commit < SYNCHRONOUS_COMMIT_REMOTE_FLUSH; }

// PostgreSQL has autovacuum wait for no standby, and nobody is told of its commits.
bool TellsNobody() { return MyBackendType == B_AUTOVAC_WORKER; }

bool AppliesSubscription() { return MyBackendType == B_BG_WORKER && IsLogicalWorker(); }

// An ERROR in the worker of a subscription may disable that for good (disable_on_error); after a
// FATAL it is started again.
int Level() { return AppliesSubscription() ? FATAL : ERROR; }

void Refuse() { RefuseWhileClosed(Level(), ERRCODE_READ_ONLY_SQL_TRANSACTION); }

// Tests mean the sessions of clients.
void Point(const char* name) {
  if (MyBackendType == B_BACKEND) faults::Point(name);
}

// For this transaction only. Whoever asked for less waits now as long as the cluster needs it.
void Lift() {
  if (!IsWeak() || TellsNobody() || CopiesNeeded() == 0 || !EnforceDurability()) return;
  set_config_option("synchronous_commit", "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true,
                    0, false);
  pg_atomic_fetch_add_u64(&shared->gate.lifted, 1);
}

void PassGate() {
  Point("before_gate");
  if (GateIsClosed()) Refuse();
  Lift();
  Point("before_flush");
}

// The worker of a subscription tells its publisher what is durable here, and goes on after a
// restart behind what its last life has committed. So in its first transaction it waits for all of
// that, and then for what it wrote outside of its transactions (COMMIT PREPARED).
void HoldSubscriptionBack() {
  static bool caught_up = false;
  if (GateIsClosed()) Refuse();
  XLogRecPtr end = TransactionIdIsValid(GetTopTransactionIdIfAny()) ? 0 : XactLastRecEnd;
  if (!caught_up) end = std::max(end, compat::FlushedLsn());
  if (end == 0 || CopiesNeeded() == 0 || faults::NoGate()) return;
  Lift();
  XLogFlush(end);
  HOLD_INTERRUPTS();
  SyncRepWaitForLSN(end, false);
  RESUME_INTERRUPTS();
  if (!IsWeak() && !EnoughHold(end))
    ereport(Level(), (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                      errmsg("too few standbys hold what this subscription has applied")));
  caught_up = true;
}

void BeforeCommit(bool prepare) {
  had_xid = TransactionIdIsValid(GetTopTransactionIdIfAny());
  wrote = false;
  if (AppliesSubscription()) HoldSubscriptionBack();
  // RecordTransactionCommit's own condition for "this commit matters"; what is prepared always
  // does.
  if (!prepare && (XactLastRecEnd == 0 || !had_xid)) return;
  PassGate();
  wrote = true;
}

// COMMIT leaves behind where its record ends, PREPARE does not: what was inserted since will do,
// when enough have it already.
bool IsHeld(bool prepare) {
  if (!prepare) return EnoughHold(XactLastCommitEnd);
  return EnoughHold(GetXLogInsertRecPtr()) || EnoughHold(EndOfLastRecord());
}

// PostgreSQL ends the wait for standbys without them when it is told to: by a cancel, at a
// shutdown, when synchronous_standby_names is emptied.
bool IsDurable(bool prepare) {
  if (CopiesNeeded() == 0) return true;
  if (!IsWeak() || EnforceDurability()) return IsHeld(prepare);
  pg_atomic_fetch_add_u64(&shared->gate.weak, 1);
  return true;
}

// The lease last: what else was looked at was good while it was held. Another set in between may be
// that of another lease.
bool MayAcknowledge(bool prepare) {
  if (TellsNobody() || faults::NoGate()) return true;
  const uint32 set = AckGeneration();
  return IsDurable(prepare) && !GateIsClosed() && set == AckGeneration();
}

// The way out of SyncRepWaitForLSN: the transaction is in the WAL, so neither ERROR nor success may
// be told. The connection ends without a word, and no WARNING either (it would flush the buffer).
// The worker of a subscription ends before it tells its publisher anything more.
void SuppressAcknowledgement() {
  pg_atomic_fetch_add_u64(&shared->gate.suppressed, 1);
  whereToSendOutput = DestNone;
  ProcDiePending = true;
  InterruptPending = true;
  SetLatch(MyLatch);
}

void BeforeAcknowledgement(bool prepare) {
  if (wrote || wrote_prepared) {
    Point("after_wait");
    if (!MayAcknowledge(prepare)) SuppressAcknowledgement();
  } else if (!had_xid && TransactionIdIsValid(GetTopTransactionIdIfAny()) && GateIsClosed()) {
    SuppressAcknowledgement();  // NOTIFY: it gets its xid behind the gate
  }
  wrote = wrote_prepared = false;
}

void OnTransaction(XactEvent event, void* /*unused*/) {
  switch (event) {
    case XACT_EVENT_PRE_COMMIT:
    case XACT_EVENT_PRE_PREPARE:
      BeforeCommit(event == XACT_EVENT_PRE_PREPARE);
      break;
    case XACT_EVENT_COMMIT:
    case XACT_EVENT_PREPARE:
      BeforeAcknowledgement(event == XACT_EVENT_PREPARE);
      break;
    case XACT_EVENT_ABORT:
      wrote = wrote_prepared = false;
      break;
    default:
      break;
  }
}

}  // namespace

bool GateIsClosed() { return !faults::NoGate() && !GateIsOpen(); }

void InstallCommitGate() { RegisterXactCallback(OnTransaction, nullptr); }

void BeforeEndingPrepared() {
  PassGate();
  wrote_prepared = true;
}

}  // namespace orchestra::pg
