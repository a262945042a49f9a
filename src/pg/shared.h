// Everything that orchestra keeps in PostgreSQL's shared memory. One writer per part; readers never
// lock, so that no frozen backend can hold the consensus worker back.
#pragma once
#include "pg/pg.h"

namespace orchestra::pg {

// Read by every commit (src/pg/gate.cpp); written by the consensus worker and at boot.
struct SharedGate {
  pg_atomic_uint32 gated;              // 1: commits need the lease below
  pg_atomic_uint32 mute;               // 1: nobody may stream from this node
  pg_atomic_uint32 open;               // 1: the core opened the gate
  pg_atomic_uint64 until_boottime_us;  // closes by itself when *either* clock gets there
  pg_atomic_uint64 until_raw_us;
  // S and k that a commit must be on before its client is told: seqlock, odd while being written.
  pg_atomic_uint32 quorum_generation;
  uint32 ack_k;
  uint32 ack_count;
  char ack_names[32][64];
  // The primary of the register, for messages ("n2, at 10.0.0.2:5432"; empty: not known).
  pg_atomic_uint32 primary_generation;  // seqlock
  char primary[384];
  // Since the server's start.
  pg_atomic_uint64 refused;     // commits, statements and logins refused
  pg_atomic_uint64 suppressed;  // acknowledgements that no client was told
  pg_atomic_uint64 lifted;      // transactions that had asked for less than durability quorum needs
  pg_atomic_uint64 weak;        // the same, acknowledged as they had asked (enforce_durability off)
  pg_atomic_uint64 ended;       // sessions ended since this node accepts no writes
};

// Sessions at a closed gate (src/pg/sessions.cpp).
inline constexpr uint32 kExemptSessions = 256;
struct SharedSessions {
  pg_atomic_uint32 exempt[kExemptSessions];  // pids of those that may stay; 0: free
  pg_atomic_uint32 opened;                   // 1: the gate was open since it applies to this server
  pg_atomic_uint32 ending;                   // 1: all others are being ended
};

// What the postmaster found in its files at this start, before anybody connected (pg/storage.h).
// Written once, before any child exists. A phase that changes later is in the board.
struct SharedBoot {
  uint32 phase;      // core's Phase
  char reason[512];  // why, and what to do; of a quarantined node always
};

// The WAL receiver's ticket (src/pg/receiver.cpp).
struct SharedReceiver {
  pg_atomic_uint32
      ticket;  // odd: closed; a connection lives only under the even value it was made with
  pg_atomic_uint32 parked_pid;         // receiver that waits in connect, without a connection
  pg_atomic_uint32 passed_pid;         // receiver that passed our connect
  pg_atomic_uint64 acked_lsn;          // highest flush LSN ever sent upstream in this server life
  pg_atomic_uint64 message_raw_us;     // when the receiver last got anything
  pg_atomic_uint32 target_generation;  // odd while being written
  char target_host[256];               // empty: as primary_conninfo says
  uint32 target_port;
  uint64 target_upto;  // no WAL beyond is taken; 0: all
  char error[256];     // last connect error, written by the receiver
  Latch* listener;     // whom a receiver wakes when it parks: the consensus worker
};

// restore_command of the startup process (src/pg/archive.cpp).
struct SharedArchive {
  pg_atomic_uint32 closed;      // 1: it shall find nothing
  pg_atomic_uint32 configured;  // 1: the configuration has a command
  pg_atomic_uint32 used;        // 1: the startup process has loaded a command
  pg_atomic_uint32 emptied;     // 1: at the start, so that nobody is shown the configured one
};

// Seqlock-published image of core/board.h's Board.
struct SharedBoard {
  pg_atomic_uint64 generation;  // odd while being written
  uint32 bytes;
  char image[64 * 1024];
};

struct SharedNoteSlot {
  pg_atomic_uint64 sequence;  // 1-based number of the note in it; 0 while being written
  int64 unix_us;
  uint32 bytes;
  char image[768];
};
inline constexpr uint32 kNoteSlots = 256;
struct SharedNotes {
  pg_atomic_uint64 newest;  // sequence of the newest note; 0: none
  SharedNoteSlot slots[kNoteSlots];
};

// One command at a time from SQL to the consensus worker (src/pg/command.cpp).
struct SharedCommand {
  pg_atomic_uint32 state;   // see CommandState
  pg_atomic_uint64 ticket;  // of the caller, against answers for one that gave up
  pg_atomic_uint32 caller_pid;
  uint32 bytes;
  char request[32 * 1024];
  int32 sqlstate;  // 0: done
  char message[512];
  char hint[256];
};

// Configuration generations, published by whoever applied them (rule 6; src/pg/sync_setting.cpp).
struct SharedSender {
  pg_atomic_uint32 pid;  // 0: free
  pg_atomic_uint64 generation;
  char name[64];  // application_name, written before pid is
};
inline constexpr uint32 kMaxSenders = 256;
struct SharedGenerations {
  pg_atomic_uint64 postmaster;
  pg_atomic_uint64 checkpointer;
  SharedSender senders[kMaxSenders];  // walsenders
};

struct SharedWorkers {
  pg_atomic_uint32 consensus_pid;
  pg_atomic_uint32 probe_pid;
  pg_atomic_uint32 monitor_pid;
  pg_atomic_uint32 peer_port_error;  // errno of the last bind, 0: fine
  pg_atomic_uint32 role_port_error;
};

// What the monitor found by libpq; seqlock-published, one writer (src/pg/monitor.cpp).
struct SharedProbe {
  uint16 node;
  bool reachable;
  int64 checked_raw_us;
  char text[192];  // what the node said, or why it cannot be reached
};
struct SharedMonitor {
  pg_atomic_uint64 generation;
  uint32 count;
  SharedProbe probes[32];
};

struct Shared {
  SharedGate gate;
  SharedSessions sessions;
  SharedBoot boot;
  SharedReceiver receiver;
  SharedArchive archive;
  SharedGenerations generations;
  SharedWorkers workers;
  SharedCommand command;
  SharedMonitor monitor;
  SharedNotes notes;
  SharedBoard board;
};

// Null until shmem_startup_hook ran (and in processes without shared memory).
extern Shared* shared;

}  // namespace orchestra::pg
