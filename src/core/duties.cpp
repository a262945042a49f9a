// What a node must be doing now, as a function of its state.
#include "core/machine.h"

namespace orchestra {

bool GateOpen(const State& s, Instant now, const Policy& policy) {
  const RegisterValue* value = CommittedValue(s);
  if (s.phase != Phase::kConfigured || !value || !HoldsLease(s, now, policy)) return false;
  const bool proven = (value->active && s.barrier_passed) || !policy.activation;
  // Where the register counts on nobody, every setting will do; that is so when mode observe ends,
  // and no earlier start can have asked for anything yet.
  const bool set = value->sync.k == 0 || (s.setting_proven && Compatible(s.setting, value->sync));
  const bool first = value->active && value->primary_boot == BootCount{};
  const bool noted = first || value->primary_boot == s.durable.boot_count || !policy.start_noted;
  // Promoted behind our back: what a failover would count is on another timeline.
  const bool on_line = !value->active || s.view.status.timeline == value->timeline;
  return proven && set && noted && on_line && s.durable.fenced < value->epoch &&
         s.durable.wrote_epoch == value->epoch && s.view.status.db == DbState::kPrimary;
}

// A fenced node that is fed takes WAL of the one source, up to there.
static const Member* FedFrom(const State& s, const RegisterValue& value, Instant now) {
  if (!s.feed || s.feed->epoch < value.epoch || s.feed->ballot != s.durable.promised)
    return nullptr;
  const Micros lapse = TimersFor(value.lease_ttl_ms, value.drift_permille, Policy{}).election_min;
  if (Since(now, s.feed_at) >= lapse || s.view.status.flush_lsn >= s.feed->upto) return nullptr;
  return FindMember(value, s.feed->source);
}

static void ReceiverDuty(const State& s, Instant now, const Policy& policy, Duties* d) {
  const RegisterValue* value = CommittedValue(s);
  d->receiver_closed = true;
  if (!value || s.suspect) return;
  if (const Member* source = FedFrom(s, *value, now)) {
    d->receiver_closed = false;
    d->upstream = source->id;
    d->upstream_server = source->server;
    d->upstream_epoch = s.feed->epoch;
    d->upstream_upto = s.feed->upto;
    return;
  }
  const bool fenced = s.durable.fenced >= value->epoch;
  if (fenced && !policy.fence_receiver) d->receiver_closed = false;
  if (fenced || s.durable.wal_epoch != value->epoch || !MayFollow(s)) return;
  const Member* upstream = FindMember(*value, value->primary);
  if (!upstream) return;
  d->receiver_closed = false;
  d->upstream = upstream->id;
  d->upstream_server = upstream->server;
  d->upstream_epoch = value->epoch;
}

// A request may have been committed before its answer is heard. What it takes from S is not counted
// any more from then on (its barrier has passed), and what it adds not yet.
// Nor is what leaves S, or suffices no more, from when the barrier is read, which is later than
// this.
static SyncSet AckSet(const State& s, const RegisterValue& value, const Policy& policy) {
  if (s.shrinking && s.setting_effective && Compatible(s.setting, value.sync) &&
      policy.ack_by_setting)
    return s.setting;
  if (!s.request) return value.sync;
  const auto* asked = std::get_if<ChangeSync>(&s.request->change);
  return asked && Compatible(asked->sync, value.sync) ? asked->sync : value.sync;
}

Duties DutiesOf(const State& s, Instant now, const Policy& policy) {
  Duties d;
  d.phase = s.phase;
  const RegisterValue* value = CommittedValue(s);
  d.managed = s.phase == Phase::kConfigured && Manages(s.durable);
  d.gated = d.managed || s.phase == Phase::kQuarantined;
  d.mute = s.phase == Phase::kQuarantined || (d.managed && s.suspect);
  if (s.phase == Phase::kQuarantined) d.receiver_closed = true;
  if (!d.managed) return d;
  d.gate_open = GateOpen(s, now, policy);
  d.gate_until = s.lease_until;
  ReceiverDuty(s, now, policy, &d);
  if (s.scan_running) d.scan = s.scan_seq;
  if (!value) return d;
  if (value->primary != Self(s) || s.durable.fenced >= value->epoch || s.suspect) return d;
  const SyncSet must = AckSet(s, *value, policy);
  d.ack_k = must.k;
  for (const NodeId id : must.nodes) d.ack_names.push_back(NameOf(*value, id));
  const bool mine = s.durable.wrote_epoch == value->epoch;
  if (mine && !value->active && s.view.status.db == DbState::kStandby) d.promote = value->epoch;
  if (!mine || s.setting_generation == 0) return d;
  d.sync_generation = s.setting_generation;
  d.sync_k = s.setting.k;
  for (NodeId id : s.setting.nodes) d.sync_names.push_back(NameOf(*value, id));
  return d;
}

}  // namespace orchestra
