// Walsenders as other processes see them without locks. Each publishes its application_name and
// the configuration generation that it has loaded (rule 6).
#pragma once
#include <functional>

#include "pg/pg.h"
#include "pg/shared.h"

namespace orchestra::pg {

// In a walsender, at its start and whenever it has loaded a generation.
void PublishSender(uint64 generation);

struct Sender {
  int pid;
  WalSndState state;
  XLogRecPtr flushed;
  int priority;    // of synchronous_standby_names, 0: not in it
  bool published;  // else the next two are empty
  uint64 generation;
  char name[sizeof SharedSender::name];
};

// Every active walsender of this server.
void ForEachSender(const std::function<void(const Sender&)>& visit);

// How many of these `count` (32 at most) standbys have flushed their WAL up to `end`. For hooks: it
// neither allocates nor waits.
uint32 CountFlushed(const char (*names)[sizeof SharedSender::name], uint32 count, XLogRecPtr end);

}  // namespace orchestra::pg
