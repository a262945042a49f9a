#include "pg/receiver.h"

#include <tuple>

#include "pg/clock.h"
#include "pg/conninfo.h"
#include "pg/pg.h"
#include "pg/shared.h"
#include "pg/wal_message.h"

namespace orchestra::pg {
namespace {

// Its members are called in brackets: macros of the same names would take the call over.
WalReceiverFunctionsType* original;
WalReceiverFunctionsType interposed;

// ---------------------------------------------------------------- inside the receiver
// Plain C: any of this may end by longjmp, so nothing here owns anything.

uint32 my_ticket;    // that this receiver connected with
XLogRecPtr my_upto;  // as SharedReceiver::target_upto, of this connection
int receive_calls;   // on this connection, up to 2

bool IsClosed(uint32 ticket) { return (ticket & 1) != 0; }

uint64 RawMicros() { return static_cast<uint64>(ReadClock(CLOCK_MONOTONIC_RAW).count()); }

bool Interposed() { return AmWalReceiverProcess() && shared != nullptr; }

// Waits on the latch until the ticket is open, and takes it.
void TakeTicket() {
  SharedReceiver& mine = shared->receiver;
  for (;;) {
    pg_atomic_write_u32(&mine.parked_pid, 0);
    pg_memory_barrier();  // not parked before the ticket is read, see ReceiverQuiet()
    my_ticket = pg_atomic_read_u32(&mine.ticket);
    if (!IsClosed(my_ticket)) return;
    pg_atomic_write_u32(&mine.parked_pid, static_cast<uint32>(MyProcPid));
    pg_memory_barrier();
    if (mine.listener != nullptr) SetLatch(mine.listener);
    while (IsClosed(pg_atomic_read_u32(&mine.ticket))) {
      (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1000,
                      PG_WAIT_EXTENSION);
      ResetLatch(MyLatch);
      compat::HandleReceiverInterrupts();
    }
  }
}

// Copies the target. False: its writer is in the middle of it.
bool ReadTarget(char* host, Size size, uint32* port, XLogRecPtr* upto) {
  SharedReceiver& mine = shared->receiver;
  for (int attempt = 0; attempt < 1000; attempt++) {
    const uint32 before = pg_atomic_read_u32(&mine.target_generation);
    pg_read_barrier();
    strlcpy(host, mine.target_host, size);
    *port = mine.target_port;
    *upto = mine.target_upto;
    pg_read_barrier();
    if ((before & 1) == 0 && before == pg_atomic_read_u32(&mine.target_generation)) return true;
    pg_usleep(100);
  }
  return false;
}

void StoreError(const char* text) {
  char* error = shared->receiver.error;
  strlcpy(error, text, sizeof shared->receiver.error);
  for (Size end = strlen(error); end > 0 && isspace(static_cast<unsigned char>(error[end - 1]));)
    error[--end] = '\0';
}

// Its parameters between conninfo and the error differ from version to version.
template <typename... Rest>
WalReceiverConn* Connect(const char* conninfo, Rest... rest) {
  if (!Interposed()) return (original->walrcv_connect)(conninfo, rest...);
  SharedReceiver& mine = shared->receiver;
  char** error = std::get<sizeof...(Rest) - 1>(std::tie(rest...));
  TakeTicket();
  char host[sizeof mine.target_host];
  uint32 port = 0;
  if (!ReadTarget(host, sizeof host, &port, &my_upto)) {
    *error = pstrdup("the upstream is being changed");
    return nullptr;
  }
  const char* target = host[0] != '\0' ? Retarget(conninfo, host, port, error) : conninfo;
  pg_atomic_write_u64(&mine.message_raw_us, 0);
  receive_calls = 0;
  pg_atomic_write_u32(&mine.passed_pid, static_cast<uint32>(MyProcPid));
  WalReceiverConn* connection =
      target != nullptr ? (original->walrcv_connect)(target, rest...) : nullptr;
  StoreError(connection != nullptr ? "" : *error != nullptr ? *error : "unknown error");
  return connection;
}

// For a connection that exists: every fence and un-fence since then ends it.
void CheckTicket() {
  if (pg_atomic_read_u32(&shared->receiver.ticket) != my_ticket)
    ereport(FATAL, (errcode(ERRCODE_ADMIN_SHUTDOWN),
                    errmsg("terminating walreceiver: orchestra fenced or repointed this node")));
}

// A fed receiver needs no slot: what the source holds, it holds while this lasts.
bool StartStreaming(WalReceiverConn* connection, const WalRcvStreamOptions* options) {
  if (!Interposed() || my_upto == InvalidXLogRecPtr)
    return (original->walrcv_startstreaming)(connection, options);
  WalRcvStreamOptions without = *options;
  without.slotname = nullptr;
  return (original->walrcv_startstreaming)(connection, &without);
}

// As the original; of WAL only what this connection may take.
int ReceiveAllowed(WalReceiverConn* connection, char** buffer, pgsocket* wait_fd) {
  for (;;) {
    CheckTicket();
    const int length = (original->walrcv_receive)(connection, buffer, wait_fd);
    if (length <= 0 || my_upto == InvalidXLogRecPtr) return length;
    const int allowed = LengthUpTo(my_upto, *buffer, length);
    if (allowed > 0) return allowed;
  }
}

int Receive(WalReceiverConn* connection, char** buffer, pgsocket* wait_fd) {
  if (!Interposed()) return (original->walrcv_receive)(connection, buffer, wait_fd);
  const int length = ReceiveAllowed(connection, buffer, wait_fd);
  // An idle upstream may say nothing for long. One that refuses does so before the second call.
  receive_calls = std::min(receive_calls + 1, 2);
  pg_atomic_uint64* heard = &shared->receiver.message_raw_us;
  if (length > 0 || (receive_calls == 2 && pg_atomic_read_u64(heard) == 0))
    pg_atomic_write_u64(heard, RawMicros());
  return length;
}

// A standby status update is 'r', then the LSNs written, flushed and applied.
void NoteAcknowledged(const char* buffer, int length) {
  if (length < 17 || buffer[0] != 'r') return;
  const uint64 flushed = NumberAt(buffer + 9);
  pg_atomic_uint64* highest = &shared->receiver.acked_lsn;
  if (flushed > pg_atomic_read_u64(highest)) pg_atomic_write_u64(highest, flushed);
  pg_memory_barrier();
}

void Send(WalReceiverConn* connection, const char* buffer, int length) {
  if (Interposed()) {
    NoteAcknowledged(buffer, length);  // before the check: what is sent is always on record
    CheckTicket();
  }
  (original->walrcv_send)(connection, buffer, length);
}

// ---------------------------------------------------------------- in the consensus worker

struct Receiver {
  pid_t pid;
  WalRcvState state;
  bool connected;
  Latch* latch;
};

Receiver ReadReceiver() {
  SpinLockAcquire(&WalRcv->mutex);
  const Receiver receiver = {WalRcv->pid, WalRcv->walRcvState, WalRcv->ready_to_display,
                             WalRcv->latch};
  SpinLockRelease(&WalRcv->mutex);
  return receiver;
}

bool IsParked(const Receiver& receiver) {
  return receiver.pid != 0 &&
         pg_atomic_read_u32(&shared->receiver.parked_pid) == static_cast<uint32>(receiver.pid);
}

bool HasPassed(const Receiver& receiver) {
  return pg_atomic_read_u32(&shared->receiver.passed_pid) == static_cast<uint32>(receiver.pid);
}

bool IsStopped(const Receiver& receiver) {
  return receiver.pid == 0 && receiver.state == WALRCV_STOPPED;
}

void WriteTarget(const Address& target, Lsn upto) {
  SharedReceiver& mine = shared->receiver;
  const uint32 generation = pg_atomic_read_u32(&mine.target_generation) | 1;
  pg_atomic_write_u32(&mine.target_generation, generation);
  pg_write_barrier();
  strlcpy(mine.target_host, target.host.c_str(), sizeof mine.target_host);
  mine.target_port = target.port;
  mine.target_upto = upto.value;
  pg_write_barrier();
  pg_atomic_write_u32(&mine.target_generation, generation + 1);
}

}  // namespace

void InstallReceiver() {
  load_file("libpqwalreceiver", false);  // fills the pointer in; loading it again does nothing
  original = WalReceiverFunctions;
  interposed = *original;
  interposed.walrcv_connect = Connect;
  interposed.walrcv_startstreaming = StartStreaming;
  interposed.walrcv_receive = Receive;
  interposed.walrcv_send = Send;
  WalReceiverFunctions = &interposed;
}

void CloseAtBoot(bool closed) { pg_atomic_write_u32(&shared->receiver.ticket, closed ? 1 : 2); }

bool ReceiverClosed() { return IsClosed(pg_atomic_read_u32(&shared->receiver.ticket)); }

void CloseReceiver() {
  SharedReceiver& mine = shared->receiver;
  mine.listener = MyLatch;
  if (!ReceiverClosed()) pg_atomic_fetch_add_u32(&mine.ticket, 1);
  pg_memory_barrier();
  const Receiver receiver = ReadReceiver();
  if (receiver.pid != 0 && !IsParked(receiver)) kill(receiver.pid, SIGTERM);
}

bool ReceiverQuiet() {
  if (!ReceiverClosed()) return false;
  pg_memory_barrier();
  const Receiver receiver = ReadReceiver();
  // One that is starting can only park.
  return IsStopped(receiver) || receiver.state == WALRCV_STARTING || IsParked(receiver);
}

void OpenReceiver(const Address& target, Lsn upto) {
  SharedReceiver& mine = shared->receiver;
  // Another `upto` too: what a connection has left out never comes again.
  const bool same = target.host == mine.target_host && target.port == mine.target_port &&
                    upto.value == mine.target_upto;
  const uint32 ticket = pg_atomic_read_u32(&mine.ticket);
  if (same && !IsClosed(ticket)) return;
  mine.listener = MyLatch;
  if (!same) WriteTarget(target, upto);
  pg_atomic_fetch_add_u32(&mine.ticket, IsClosed(ticket) ? 1 : 2);
  pg_memory_barrier();
  const Receiver receiver = ReadReceiver();
  if (receiver.latch != nullptr) SetLatch(receiver.latch);
  NudgeRecovery();
}

void NudgeRecovery() {
  if (RecoveryInProgress()) WakeupRecovery();
}

ReceiverState GetReceiverState() {
  const Receiver receiver = ReadReceiver();
  if (IsStopped(receiver)) return ReceiverState::kStopped;
  if (IsParked(receiver)) return ReceiverState::kParked;
  const bool heard = pg_atomic_read_u64(&shared->receiver.message_raw_us) != 0;
  if (receiver.state == WALRCV_STREAMING && receiver.connected && heard && HasPassed(receiver))
    return ReceiverState::kStreaming;
  return receiver.state == WALRCV_STOPPING ? ReceiverState::kStopped : ReceiverState::kStarting;
}

int EndStranger() {
  const Receiver receiver = ReadReceiver();
  if (receiver.pid == 0 || !receiver.connected || HasPassed(receiver)) return 0;
  kill(receiver.pid, SIGTERM);
  return receiver.pid;
}

std::int64_t ReceiverMessageAgeMs() {
  if (GetReceiverState() != ReceiverState::kStreaming) return -1;
  const uint64 heard = pg_atomic_read_u64(&shared->receiver.message_raw_us);
  const uint64 now = RawMicros();
  return heard == 0 ? -1 : heard >= now ? 0 : static_cast<std::int64_t>((now - heard) / 1000);
}

std::string ReceiverError() {
  char text[sizeof shared->receiver.error];
  memcpy(text, shared->receiver.error, sizeof text);
  text[sizeof text - 1] = '\0';
  return text;
}

}  // namespace orchestra::pg
