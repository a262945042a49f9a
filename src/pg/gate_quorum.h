// Who must hold a commit before its client is told: Duties::ack_names and ack_k, whatever
// PostgreSQL itself waits for. One writer, the consensus worker; readers neither lock nor allocate.
#pragma once
#include <string>
#include <vector>

#include "pg/pg.h"

namespace orchestra::pg {

// The consensus worker.
void PublishAckSet(const std::vector<std::string>& names, uint32 copies);

// Grows with every change of the set.
uint32 AckGeneration();

// On how many standbys a commit of this node must be; 0: none, and so on a node that is not gated.
uint32 CopiesNeeded();

// True when as many of them have flushed their WAL up to `end`. False also while the set cannot be
// read, since the worker was stopped in the middle of writing it.
bool EnoughHold(XLogRecPtr end);

// End of the last WAL record that this backend wrote. It must be flushed already.
XLogRecPtr EndOfLastRecord();

}  // namespace orchestra::pg
