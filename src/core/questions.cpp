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

}  // namespace orchestra
