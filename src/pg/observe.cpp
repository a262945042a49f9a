#include "pg/observe.h"

#include <unistd.h>

#include "pg/pg.h"
#include "pg/receiver.h"
#include "pg/senders.h"
#include "pg/sync_setting.h"
#include "pg/wal_files.h"

namespace orchestra::pg {
namespace {

std::uint32_t ServerVersion() {
  static const std::uint32_t version = [] {
    const char* text = GetConfigOption("server_version_num", true, false);
    return text != nullptr ? static_cast<std::uint32_t>(std::strtoul(text, nullptr, 10))
                           : std::uint32_t{PG_VERSION_NUM};
  }();
  return version;
}

std::vector<std::pair<NodeId, Lsn>> StandbysFlushed(const MemberNames& members) {
  std::vector<std::pair<NodeId, Lsn>> flushed;
  ForEachSender([&](const Sender& sender) {
    if (!sender.published || sender.flushed == InvalidXLogRecPtr ||
        (sender.state != WALSNDSTATE_STREAMING && sender.state != WALSNDSTATE_STOPPING))
      return;
    for (const auto& [name, node] : members) {
      if (pg_strcasecmp(name.c_str(), sender.name) != 0) continue;
      const auto known = std::find_if(flushed.begin(), flushed.end(),
                                      [&](const auto& entry) { return entry.first == node; });
      if (known == flushed.end())
        flushed.emplace_back(node, Lsn{sender.flushed});
      else  // an old connection of it lingers
        known->second = std::max(known->second, Lsn{sender.flushed});
    }
  });
  return flushed;
}

void ObserveStandby(NodeStatus* status) {
  TimeLineID replaying = 0;
  TimeLineID receiving = 0;
  const XLogRecPtr replayed = GetXLogReplayRecPtr(&replaying);
  const XLogRecPtr received = GetWalRcvFlushRecPtr(nullptr, &receiving);
  status->replay_lsn = Lsn{replayed};
  status->flush_lsn = Lsn{std::max(replayed, received)};
  // Until recovery asks for streaming, WAL of a later timeline may still wait to be replayed.
  if (receiving != 0) status->timeline = TimelineId{received > replayed ? receiving : replaying};
}

// Its history file never changes, and is there before the timeline is.
Lsn TimelineBegin(TimelineId timeline, TimelineId lineage_end) {
  static TimelineId known;
  static std::vector<TimelineEnd> history;
  if (known != timeline) {
    auto read = ReadHistory(timeline.value);
    if (!read) return Lsn{};
    history = *std::move(read);
    known = timeline;
  }
  for (const TimelineEnd& ancestor : history)
    if (ancestor.timeline == lineage_end) return ancestor.end;
  return history.empty() ? Lsn{} : history.back().end;
}

}  // namespace

DbState ObserveDbState() {
  switch (GetRecoveryState()) {
    case RECOVERY_STATE_DONE:
      return DbState::kPrimary;
    case RECOVERY_STATE_ARCHIVE: {
      // Promotion removes the file a moment before it ends recovery.
      static bool standby = false;
      standby = standby || ::access(STANDBY_SIGNAL_FILE, F_OK) == 0;
      return standby ? DbState::kStandby : DbState::kStarting;
    }
    default:
      return DbState::kStarting;
  }
}

LocalView Observe(const MemberNames& members, TimelineId lineage_end) {
  LocalView view;
  // Before the timeline is looked at, so that it is that of all this node received.
  view.receiver_quiet = ReceiverQuiet();
  NodeStatus& status = view.status;
  status.db = ObserveDbState();
  status.receiver = GetReceiverState();
  status.receiver_message_age_ms = ReceiverMessageAgeMs();
  status.server_version_num = ServerVersion();
  status.slot = PrimarySlotName != nullptr ? PrimarySlotName : "";
  if (status.db == DbState::kPrimary) {
    status.accepting_connections = true;
    status.flush_lsn = Lsn{compat::FlushedLsn()};
    status.timeline = TimelineId{compat::InsertTimeline()};
    view.timeline_begin = TimelineBegin(status.timeline, lineage_end);
    view.standby_flushed = StandbysFlushed(members);
    view.sync_effective = EffectiveSync();
    // After that: what was inserted under an older setting ends before this position.
    view.insert_lsn = Lsn{GetXLogInsertRecPtr()};
  } else {
    status.accepting_connections = HotStandbyActive();
    ObserveStandby(&status);
  }
  return view;
}

}  // namespace orchestra::pg
