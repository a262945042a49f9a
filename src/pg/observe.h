// What this node sees of its own database: shared memory only, spinlocks at most, so that no
// frozen backend can hold the consensus worker back.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "core/status.h"
#include "core/types.h"

namespace orchestra::pg {

// Names of the register's members (their application_names as standbys).
using MemberNames = std::vector<std::pair<std::string, NodeId>>;

// Crash recovery, and recovery to a point in time, are kStarting. Never kStopping or kNone.
DbState ObserveDbState();

// Fills in all that can be read here. Left for the caller: kStopping (its own SIGTERM), gate_open,
// quarantined, upstream, lease_left_ms, version, problem. `lineage_end`: newest timeline of the
// register's lineage; the primary's timeline begins where that one ends, also when an abandoned one
// lies between them.
LocalView Observe(const MemberNames& members, TimelineId lineage_end);

}  // namespace orchestra::pg
