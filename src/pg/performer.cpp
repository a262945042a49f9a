#include "pg/performer.h"

#include "pg/archive.h"
#include "pg/clock.h"
#include "pg/gate_quorum.h"
#include "pg/guard.h"
#include "pg/promotion.h"
#include "pg/receiver.h"
#include "pg/shared.h"
#include "pg/slots.h"
#include "pg/sync_setting.h"

namespace orchestra::pg {

using std::chrono::milliseconds;

namespace {

constexpr Micros kArchivePatience = std::chrono::seconds(1);
constexpr Micros kStreamPatience = std::chrono::seconds(10);

}  // namespace

void Performer::PublishGate(const Duties& duties) {
  SharedGate& gate = shared->gate;
  pg_atomic_write_u32(&gate.mute, duties.mute ? 1 : 0);
  // While it is closed the last set stays: a commit that looks at it just now asks for the lease
  // behind it.
  if (!duties.gate_open) {
    pg_atomic_write_u32(&gate.open, 0);
    pg_atomic_write_u32(&gate.gated, duties.gated ? 1 : 0);
    pg_memory_barrier();
    return;
  }
  PublishAckSet(duties.ack_names, duties.ack_k);
  pg_atomic_write_u64(&gate.until_boottime_us,
                      static_cast<uint64>(duties.gate_until.boottime.count()));
  pg_atomic_write_u64(&gate.until_raw_us,
                      static_cast<uint64>(duties.gate_until.monotonic_raw.count()));
  pg_memory_barrier();
  pg_atomic_write_u32(&gate.open, 1);
  pg_memory_barrier();
  pg_atomic_write_u32(&gate.gated, duties.gated ? 1 : 0);  // last: what begins to be gated is open
}

std::optional<WalEndRead> Performer::Perform(const Duties& duties, const LocalView& view,
                                             const Neighbours& neighbours, Instant now) {
  busy_ = false;
  problem_.clear();
  PublishPrimary(neighbours.other_primary);
  sessions_.Turn(view.status.db == DbState::kPrimary, !neighbours.other_primary.empty(), now);
  if (!duties.managed && duties.phase != Phase::kQuarantined) {
    Unmanaged(duties, view, neighbours, now);
    return std::nullopt;
  }
  restorer_ = SettingsRestorer{};
  Receiver(duties, view, neighbours.timeline, now);
  Promotion(duties, view, neighbours.slots);
  if (duties.sync_generation) {
    const std::string wrong =
        ApplySync({*duties.sync_generation, duties.sync_names, duties.sync_k}, now.monotonic_raw);
    if (!wrong.empty()) problem_ = wrong;
    if (view.sync_effective != *duties.sync_generation) busy_ = true;
  }
  return Scan(duties, view, now);
}

// The server is PostgreSQL's own: what orchestra did to it is undone, and nothing else happens.
void Performer::Unmanaged(const Duties& duties, const LocalView& view, const Neighbours& neighbours,
                          Instant now) {
  conninfo_epoch_ = promoting_ = EpochId{};
  receiver_for_ = Followed{};
  scanning_.reset();
  OpenReceiver(Address{});  // nothing happens when it is
  Archive(duties, view, neighbours.timeline, now);
  const bool settled = view.status.db == DbState::kPrimary || view.status.db == DbState::kStandby;
  if (!settled || duties.phase == Phase::kPending) return;
  const Address* primary = neighbours.primary ? &*neighbours.primary : nullptr;
  problem_ = restorer_.Turn(primary, now.monotonic_raw);
}

void Performer::Receiver(const Duties& duties, const LocalView& view, TimelineId line,
                         Instant now) {
  if (EndStranger() != 0) problem_ = "a WAL receiver that passed no fence check was ended";
  if (view.status.db == DbState::kPrimary) return;
  if (duties.receiver_closed) {
    receiver_for_ = Followed{};
    if (!ReceiverClosed() || !ReceiverQuiet()) {
      CloseReceiver();
      busy_ = true;
    }
  } else if (duties.upstream == kNoNode) {
    OpenReceiver(Address{});
  } else {
    Follow(duties, now);
  }
  Archive(duties, view, line, now);
}

void Performer::Follow(const Duties& duties, Instant now) {
  const bool fed = duties.upstream_upto != Lsn{};
  const Followed wanted{duties.upstream_epoch, duties.upstream, duties.upstream_upto};
  if (receiver_for_ != wanted) {
    receiver_for_ = wanted;
    receiver_opened_at_ = now;
    on_line_ = false;
  }
  // Nothing happens when it is open for that target.
  OpenReceiver(duties.upstream_server, duties.upstream_upto);
  if (GetReceiverState() == ReceiverState::kStreaming) {
    // Who feeds this node is its upstream for a moment only.
    if (!fed && conninfo_epoch_ != duties.upstream_epoch) {
      const Address& to = duties.upstream_server;
      problem_ = RewriteConninfo(to.host, to.port);
      if (problem_.empty()) conninfo_epoch_ = duties.upstream_epoch;
    }
    busy_ = busy_ || fed;  // the end is to be seen soon
    return;
  }
  // A fresh target is worth a try every few ms; one that stays away only now and then.
  const bool fresh = Since(now, receiver_opened_at_) < std::chrono::seconds(3);
  if (Since(now, nudged_at_) < (fresh ? milliseconds(5) : milliseconds(250))) return;
  nudged_at_ = now;
  NudgeRecovery();
  if (fresh) busy_ = true;
}

// A standby takes none of the archive while it takes none of anybody, or is fed up to a point; nor
// before it is on the line of the primary that it follows: the archive may have what a former
// primary wrote behind the point where that line began. Who gets nowhere may lack WAL that only the
// archive has.
void Performer::Archive(const Duties& duties, const LocalView& view, TimelineId line, Instant now) {
  if (view.status.db != DbState::kStandby) return;
  const bool fed = duties.upstream_upto != Lsn{};
  const bool follows = !duties.receiver_closed && !fed;
  const bool streams = GetReceiverState() == ReceiverState::kStreaming;
  on_line_ =
      follows && (on_line_ || (streams && line != TimelineId{} && view.status.timeline == line));
  const bool late = Since(now, receiver_opened_at_) >= kStreamPatience;
  const bool open = !duties.managed || (follows && (on_line_ || late));
  if (open != archive_open_ || archive_obeys_) archive_asked_at_ = now;
  archive_open_ = open;
  archive_obeys_ = SetArchive(!open, now.monotonic_raw);
  if (!archive_obeys_ && Since(now, archive_asked_at_) >= kArchivePatience)
    problem_ = open ? "restore_command is not used yet: the startup process has not reloaded"
                    : "restore_command may still be used: the startup process has not reloaded";
}

void Performer::Promotion(const Duties& duties, const LocalView& view,
                          const std::vector<std::string>& slots) {
  const bool primary = duties.sync_generation.has_value();
  if (primary) {
    const SlotResult slot = EnsureSlots(slots);
    if (slot.step == SlotStep::kFailed) problem_ = slot.error;
    if (slot.step == SlotStep::kCreated || slot.step == SlotStep::kBusy) busy_ = true;
  }
  if (duties.promote) {
    busy_ = true;
    promoting_ = *duties.promote;
    const std::string wrong = RequestPromotion();
    if (!wrong.empty()) problem_ = wrong;
    return;
  }
  if (promoting_ != EpochId{} && view.status.db == DbState::kPrimary) {
    promoting_ = EpochId{};
    AfterPromotion();
  }
}

std::optional<WalEndRead> Performer::Scan(const Duties& duties, const LocalView& view,
                                          Instant now) {
  if (!duties.scan) {
    scanning_.reset();
    return std::nullopt;
  }
  busy_ = true;
  // What was read while WAL could come in is worth nothing. From the archive it may still come when
  // the startup process hangs in a recovery conflict: then the position at the end of this look
  // counts. Replay beyond it loses nothing that was acknowledged.
  const bool archive = archive_obeys_ || Since(now, archive_asked_at_) >= kArchivePatience;
  const bool still = duties.receiver_closed && ReceiverQuiet() && archive;
  if (view.status.db != DbState::kPrimary && !still) {
    scanning_.reset();
    return std::nullopt;
  }
  if (scanning_ != duties.scan) {
    scanning_ = duties.scan;
    reader_.Start();
  }
  if (!reader_.running()) return std::nullopt;
  const std::optional<WalPosition> position = reader_.Step();
  if (!position) return std::nullopt;
  TellEnd(*position);
  return WalEndRead{*scanning_, *position};
}

// For people, who see how far a fenced node got and what that took. It is read again and again.
void Performer::TellEnd(const WalPosition& position) {
  std::string told = "timeline " + std::to_string(position.timeline.value) + ", end of WAL " +
                     ToText(position.end) + (position.exact ? "" : " (not exact: not counted)");
  if (told == told_end_) return;
  told_end_ = std::move(told);
  LogLine(LOG, "orchestra: read " + told_end_ + reader_.effort());
}

}  // namespace orchestra::pg
