// The WAL receiver under a ticket (design, section 4 "The WAL receiver belongs to us"): rule 4's
// fence on a data node. Only connect, start, receive and send of physical receivers are interposed;
// subscriptions pass untouched.
//
// Invariant: once ReceiverQuiet() holds under a closed ticket, no receiver writes WAL or
// acknowledges any before the next OpenReceiver(); every LSN that was ever acknowledged is at most
// shared->receiver.acked_lsn. A frozen receiver delays quiet, never breaks it.
#pragma once
#include <string>

#include "core/register.h"
#include "core/status.h"

namespace orchestra::pg {

// In the postmaster, from _PG_init: loads libpqwalreceiver and interposes its functions.
void InstallReceiver();

// In shmem_startup_hook, before any child exists: the ticket of this server life. With `closed`
// the first receiver parks.
void CloseAtBoot(bool closed);

// The rest is for the consensus worker. Nothing blocks, nothing raises.

// Closes the ticket (first call) and ends a receiver that is not parked. Call every few ms until
// ReceiverQuiet(), and whenever it no longer is.
void CloseReceiver();
bool ReceiverClosed();
// The ticket is closed, and the receiver is stopped, not started yet, or parked.
bool ReceiverQuiet();

// Lets the receiver connect, to `target` (host empty: as primary_conninfo says), whose place it
// takes in primary_conninfo; user, password, TLS and all other options stay. Does nothing when the
// ticket is open for this target and `upto` already; else whatever was connected ends.
//
// `upto` other than 0: the receiver is fed. Not one byte of WAL beyond is taken, and no slot is
// asked for, for the source has none for this node.
void OpenReceiver(const Address& target, Lsn upto = Lsn{});
// Wakes the startup process, which otherwise sleeps up to wal_retrieve_retry_interval before it
// tries again. Call every few ms from OpenReceiver() until ReceiverState::kStreaming.
void NudgeRecovery();

ReceiverState GetReceiverState();
// A receiver that did not pass our connect (a library of someone else took the functions over)
// is ended. Its pid, to be reported; 0: none.
int EndStranger();

// Milliseconds since a streaming receiver heard anything; -1: none is streaming, or unknown.
std::int64_t ReceiverMessageAgeMs();
// Why the last connect failed; empty since one succeeded.
std::string ReceiverError();

}  // namespace orchestra::pg
