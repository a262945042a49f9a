#include "pg/performer.h"

#include "pg/promotion.h"
#include "pg/receiver.h"
#include "pg/shared.h"
#include "pg/slots.h"
#include "pg/sync_setting.h"

namespace orchestra::pg {

using std::chrono::milliseconds;

void Performer::PublishGate(const Duties& duties) {
  SharedGate& gate = shared->gate;
  if (!duties.gate_open) pg_atomic_write_u32(&gate.open, 0);
  pg_atomic_write_u32(&gate.gated, duties.gated ? 1 : 0);
  pg_atomic_write_u32(&gate.mute, duties.mute ? 1 : 0);
  pg_memory_barrier();
  if (!duties.gate_open) return;
  pg_atomic_write_u64(&gate.until_boottime_us,
                      static_cast<uint64>(duties.gate_until.boottime.count()));
  pg_atomic_write_u64(&gate.until_raw_us,
                      static_cast<uint64>(duties.gate_until.monotonic_raw.count()));
  pg_memory_barrier();
  pg_atomic_write_u32(&gate.open, 1);
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
  Receiver(duties, view, now);
  Promotion(duties, view, neighbours.slots);
  if (duties.sync_generation) {
    const std::string wrong =
        ApplySync({*duties.sync_generation, duties.sync_names, duties.sync_k}, now.monotonic_raw);
    if (!wrong.empty()) problem_ = wrong;
    if (view.sync_effective != *duties.sync_generation) busy_ = true;
  }
  return Scan(duties, view);
}

// The server is PostgreSQL's own: what orchestra did to it is undone, and nothing else happens.
void Performer::Unmanaged(const Duties& duties, const LocalView& view, const Neighbours& neighbours,
                          Instant now) {
  receiver_epoch_ = conninfo_epoch_ = promoting_ = EpochId{};
  scanning_.reset();
  OpenReceiver(Address{});  // nothing happens when it is
  const bool settled = view.status.db == DbState::kPrimary || view.status.db == DbState::kStandby;
  if (!settled || duties.phase == Phase::kPending) return;
  const Address* primary = neighbours.primary ? &*neighbours.primary : nullptr;
  problem_ = restorer_.Turn(primary, now.monotonic_raw);
}

void Performer::Receiver(const Duties& duties, const LocalView& view, Instant now) {
  if (EndStranger() != 0) problem_ = "a WAL receiver that passed no fence check was ended";
  if (view.status.db == DbState::kPrimary) return;
  if (duties.receiver_closed) {
    receiver_epoch_ = EpochId{};
    if (!ReceiverClosed() || !ReceiverQuiet()) {
      CloseReceiver();
      busy_ = true;
    }
    return;
  }
  if (duties.upstream == kNoNode) {
    OpenReceiver(Address{});
    return;
  }
  if (receiver_epoch_ != duties.upstream_epoch) {
    receiver_epoch_ = duties.upstream_epoch;
    receiver_opened_at_ = now;
  }
  OpenReceiver(duties.upstream_server);  // nothing happens when it is open for that target
  if (GetReceiverState() == ReceiverState::kStreaming) {
    if (conninfo_epoch_ != duties.upstream_epoch) {
      const Address& to = duties.upstream_server;
      problem_ = RewriteConninfo(to.host, to.port);
      if (problem_.empty()) conninfo_epoch_ = duties.upstream_epoch;
    }
    return;
  }
  // A fresh target is worth a try every few ms; one that stays away only now and then.
  const bool fresh = Since(now, receiver_opened_at_) < std::chrono::seconds(3);
  if (Since(now, nudged_at_) < (fresh ? milliseconds(5) : milliseconds(250))) return;
  nudged_at_ = now;
  NudgeRecovery();
  if (fresh) busy_ = true;
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

std::optional<WalEndRead> Performer::Scan(const Duties& duties, const LocalView& view) {
  if (!duties.scan) {
    scanning_.reset();
    return std::nullopt;
  }
  busy_ = true;
  // What was read while WAL could come in is worth nothing.
  const bool still = duties.receiver_closed && ReceiverQuiet();
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
  return WalEndRead{*scanning_, *position};
}

}  // namespace orchestra::pg
