#include "pg/sessions.h"

#include "pg/faults.h"
#include "pg/gate.h"
#include "pg/settings.h"
#include "pg/shared.h"

namespace orchestra::pg {
namespace {

ClientAuthentication_hook_type next_client_authentication = nullptr;
emit_log_hook_type next_emit_log = nullptr;

// ---------------------------------------------------------------- in the session

// Directly or through other roles. Not has_privs_of_role() and its kind: they remember what they
// found, and at this point they do not know of pg_database_owner yet.
bool IsMember(Oid role, Oid wanted) {
  constexpr int kMost = 256;  // of whom belongs to more roles the rest is not looked at
  Oid found[kMost] = {role};
  int count = 1;
  for (int next = 0; next < count; ++next) {
    CatCList* list = SearchSysCacheList1(AUTHMEMMEMROLE, ObjectIdGetDatum(found[next]));
    for (int i = 0; i < list->n_members; ++i) {
      const void* row = GETSTRUCT(&list->members[i]->tuple);
      const Oid group = static_cast<const FormData_pg_auth_members*>(row)->roleid;
      if (count < kMost && std::find(found, found + count, group) == found + count)
        found[count++] = group;
    }
    ReleaseSysCacheList(list);
  }
  return std::find(found, found + count, wanted) != found + count;
}

bool IsExempt(const char* user) {
  if (std::strcmp(user, kCoordinatorRole) == 0) return true;
  const Oid role = get_role_oid(user, true);
  return OidIsValid(role) && (superuser_arg(role) || IsMember(role, ROLE_PG_MONITOR));
}

void Release(int /*unused*/, Datum slot) {
  pg_atomic_write_u32(&shared->sessions.exempt[DatumGetInt32(slot)], 0);
}

// Without a free slot this session is like all others.
void PublishExemption() {
  for (int slot = 0; slot < static_cast<int>(kExemptSessions); ++slot) {
    uint32 nobody = 0;
    if (!pg_atomic_compare_exchange_u32(&shared->sessions.exempt[slot], &nobody,
                                        static_cast<uint32>(MyProcPid)))
      continue;
    on_proc_exit(Release, Int32GetDatum(slot));  // later than ForEachSession sees this process
    return;
  }
}

// Left by longjmp: holds nothing with a destructor. Inside of a transaction that reads catalogs.
void OnClientAuthentication(Port* port, int status) {
  if (next_client_authentication != nullptr) next_client_authentication(port, status);
  if (status != STATUS_OK || shared == nullptr) return;
  const bool network = port->raddr.addr.ss_family != AF_UNIX;
  if (am_walsender && network && pg_atomic_read_u32(&shared->gate.mute) != 0)
    ereport(FATAL, (errcode(ERRCODE_CANNOT_CONNECT_NOW),
                    errmsg("this node takes no part in its cluster: nobody may stream from it"),
                    errhint("SELECT * FROM orchestra_status() on it says why.")));
  if (am_walsender && !am_db_walsender) return;
  if (!am_walsender && IsExempt(port->user_name)) {
    PublishExemption();
    return;
  }
  if (RecoveryInProgress() || faults::NoGate() || GateIsOpen()) return;
  RefuseWhileClosed(FATAL, ERRCODE_CANNOT_CONNECT_NOW);
}

// PostgreSQL words the end of a session; this adds where to go on.
void OnLog(ErrorData* error) {
  if (next_emit_log != nullptr) next_emit_log(error);
  if (error->elevel != FATAL || error->sqlerrcode != ERRCODE_ADMIN_SHUTDOWN) return;
  if (MyProcPort == nullptr || shared == nullptr || error->hint != nullptr) return;
  if (pg_atomic_read_u32(&shared->sessions.ending) != 0) HintAtPrimary();
}

// False: none is known, or it changed while it was read.
bool ReadPrimary(char (&to)[sizeof SharedGate::primary]) {
  SharedGate& gate = shared->gate;
  const uint32 generation = pg_atomic_read_u32(&gate.primary_generation);
  pg_read_barrier();
  std::memcpy(to, gate.primary, sizeof to);
  pg_read_barrier();
  to[sizeof to - 1] = '\0';
  return generation % 2 == 0 && generation == pg_atomic_read_u32(&gate.primary_generation) &&
         to[0] != '\0';
}

// ---------------------------------------------------------------- in the consensus worker

bool IsExempt(int pid) {
  for (pg_atomic_uint32& slot : shared->sessions.exempt)
    if (pg_atomic_read_u32(&slot) == static_cast<uint32>(pid)) return true;
  return false;
}

bool IsSender(int pid) {
  for (int i = 0; i < max_wal_senders; ++i)
    if (static_cast<const volatile WalSnd&>(WalSndCtl->walsnds[i]).pid == pid) return true;
  return false;
}

// Clients' sessions with a database (physical walsenders have none), as far as they can be seen
// without a lock; who is missed or mistaken now is seen at the next turn. A process that is gone
// leaves all but its latch as it was.
template <typename Visit>
void ForEachSession(Visit visit) {
  for (uint32 i = 0; i < ProcGlobal->allProcCount; ++i) {
    const volatile PGPROC& proc = ProcGlobal->allProcs[i];
    const int pid = proc.pid;
    if (pid == 0 || proc.procLatch.owner_pid != pid || proc.databaseId == InvalidOid) continue;
    if ((proc.statusFlags & PROC_IS_AUTOVACUUM) != 0) continue;
    if (compat::IsRegularBackend(proc) || IsSender(pid)) visit(pid);
  }
}

}  // namespace

void InstallSessions() {
  next_client_authentication = ClientAuthentication_hook;
  ClientAuthentication_hook = OnClientAuthentication;
  next_emit_log = emit_log_hook;
  emit_log_hook = OnLog;
}

int HintAtPrimary() {
  char primary[sizeof SharedGate::primary];
  if (!ReadPrimary(primary))
    return errhint("Connect to the primary of the cluster; orchestra_status() names it.");
  return errhint("Connect to the primary of the cluster: %s.", primary);
}

void PublishPrimary(const std::string& primary) {
  SharedGate& gate = shared->gate;
  char text[sizeof gate.primary] = {};
  strlcpy(text, primary.c_str(), sizeof text);
  if (std::memcmp(text, gate.primary, sizeof text) == 0) return;
  pg_atomic_fetch_add_u32(&gate.primary_generation, 1);  // a full barrier
  std::memcpy(gate.primary, text, sizeof text);
  pg_atomic_fetch_add_u32(&gate.primary_generation, 1);
}

void SessionEnder::Turn(bool out_of_recovery, bool elsewhere, Instant now) {
  SharedSessions& sessions = shared->sessions;
  const bool gated = pg_atomic_read_u32(&shared->gate.gated) != 0;
  const bool open = GateIsOpen();
  if (!gated || !out_of_recovery) pg_atomic_write_u32(&sessions.opened, 0);
  if (gated && out_of_recovery && open) pg_atomic_write_u32(&sessions.opened, 1);
  const bool due = gated && out_of_recovery && !open && !faults::NoGate() &&
                   (elsewhere || pg_atomic_read_u32(&sessions.opened) != 0);
  pg_atomic_write_u32(&sessions.ending, due ? 1 : 0);
  std::map<int, Micros> told;
  if (due)
    ForEachSession([&](int pid) {
      if (IsExempt(pid)) return;
      const auto before = told_.find(pid);
      const bool first = before == told_.end();
      const bool again = !first && now.monotonic_raw - before->second >= std::chrono::seconds(1);
      // With what it has started (COPY ... PROGRAM): each backend leads a group of its own.
      if (first || again) ::kill(-pid, SIGTERM);
      if (first) pg_atomic_fetch_add_u64(&shared->gate.ended, 1);
      told[pid] = first || again ? now.monotonic_raw : before->second;
    });
  told_.swap(told);
}

}  // namespace orchestra::pg
