// What the shell and people may ask of a state.
#include "core/consensus.h"

namespace orchestra {

NodeId Self(const State& state) {
  if (state.creating) return state.creating->identity.node;
  return state.durable.identity.node;
}

std::optional<Address> PeerAddress(const State& state, NodeId node) {
  const RegisterValue* values[] = {
      state.creating ? &state.creating->value : nullptr, CommittedValue(state),
      state.durable.accepted ? state.durable.accepted->value.get() : nullptr,
      state.adopting ? state.adopting->value.get() : nullptr};
  for (const RegisterValue* value : values) {
    if (!value) continue;
    if (const Member* member = FindMember(*value, node)) return member->peer;
  }
  return std::nullopt;
}

const RegisterValue* CommittedValue(const State& state) {
  return state.durable.committed ? state.durable.committed->value.get() : nullptr;
}

bool IsCoordinator(const State& state) {
  return state.role == Role::kCoordinator && state.proposal_committed;
}

bool HoldsLease(const State& state, Instant now, const Policy& policy) {
  const RegisterValue* value = CommittedValue(state);
  const bool live = policy.both_clocks ? BeforeOnEveryClock(now, state.lease_until)
                                       : BeforeOnSomeClock(now, state.lease_until);
  return value && state.lease_epoch == value->epoch && value->primary == Self(state) &&
         state.lease_epoch != EpochId{} && live;
}

Topology TopologyOf(const State& state, Instant now) {
  Topology t;
  const RegisterValue* value = CommittedValue(state);
  if (!value) return t;
  const Timers timers = TimersFor(value->lease_ttl_ms, value->drift_permille, Policy{});
  const bool leading = IsCoordinator(state);
  // A coordinator goes by the answers to its own heartbeat, others by the last Status.
  const Micros patience = leading ? timers.heartbeat * 3 : Micros{std::chrono::seconds(2)};
  auto reachable = [&](NodeId id) {
    if (id == Self(state)) return true;
    auto it = state.peers.find(id);
    if (leading && Since(now, state.led_since) < patience) return true;  // not asked long enough
    if (it == state.peers.end()) return false;
    const std::optional<Instant>& at = leading ? it->second.heard_at : it->second.status_at;
    return at && Since(now, *at) < patience;
  };
  for (const Member& member : value->members) {
    const bool here = reachable(member.id);
    if (member.id != Self(state)) {
      t.others++;
      if (here) t.others_reachable++;
    }
    if (member.id == value->primary) {
      t.primary_reachable = here;
      continue;
    }
    if (member.kind == MemberKind::kWitness) continue;
    t.standbys++;
    if (!here) continue;
    t.standbys_reachable++;
    auto it = state.peers.find(member.id);
    if (it != state.peers.end() && it->second.status.receiver == ReceiverState::kStreaming)
      t.standbys_streaming++;
  }
  t.lease_ttl = timers.ttl;
  t.lease_lapsed = leading && state.lease_lapsed;
  t.without_lease = leading ? Since(now, state.leased_at) : Micros{0};
  return t;
}

}  // namespace orchestra
