#include "core/consensus.h"

#include <utility>

#include "core/machine.h"

namespace orchestra {

using std::chrono::milliseconds;

const char* NoteName(NoteKind kind) {
  switch (kind) {
    case NoteKind::kConfigured:
      return "configured";
    case NoteKind::kQuarantined:
      return "quarantined";
    case NoteKind::kJoined:
      return "joined";
    case NoteKind::kCoordinatorElected:
      return "coordinator_elected";
    case NoteKind::kCoordinatorLost:
      return "coordinator_lost";
    case NoteKind::kEpochEntered:
      return "epoch_entered";
    case NoteKind::kLeaseAcquired:
      return "lease_acquired";
    case NoteKind::kLeaseLost:
      return "lease_lost";
    case NoteKind::kGateOpened:
      return "gate_opened";
    case NoteKind::kGateClosed:
      return "gate_closed";
    case NoteKind::kDetected:
      return "detected";
    case NoteKind::kFenceStarted:
      return "fence_started";
    case NoteKind::kVotersFenced:
      return "voters_fenced";
    case NoteKind::kNodeFenced:
      return "node_fenced";
    case NoteKind::kCandidateChosen:
      return "candidate_chosen";
    case NoteKind::kFailoverBlocked:
      return "failover_blocked";
    case NoteKind::kEpochCommitted:
      return "epoch_committed";
    case NoteKind::kPromoting:
      return "promoting";
    case NoteKind::kPromoted:
      return "promoted";
    case NoteKind::kActivated:
      return "activated";
    case NoteKind::kRepointed:
      return "repointed";
    case NoteKind::kRecovered:
      return "recovered";
    case NoteKind::kFenced:
      return "fenced";
    case NoteKind::kUnfenced:
      return "unfenced";
    case NoteKind::kCreationFailed:
      return "creation_failed";
  }
  return "unknown";
}

Timers TimersFor(std::uint32_t lease_ttl_ms, std::uint32_t drift_permille, const Policy& policy) {
  const Micros ttl = milliseconds(lease_ttl_ms);
  const Micros drift = policy.drift_margin ? ttl * 2 * drift_permille / 1000 : Micros{0};
  Timers t;
  t.ttl = ttl;
  t.promise_ttl = ttl;
  t.lease_span = ttl - drift;
  t.hold_off = ttl + ttl * 2 * drift_permille / 1000;
  t.renewal = std::min<Micros>(milliseconds(250), ttl / 8);
  t.heartbeat = std::min<Micros>(milliseconds(150), ttl / 8);
  t.election_min = 4 * t.heartbeat;
  t.election_max = 8 * t.heartbeat;
  t.request_retry = t.heartbeat;
  t.tick = t.heartbeat / 6;
  return t;
}

State Boot(const BootDecision& decision, Instant now, std::uint64_t seed, const Policy& policy) {
  State s;
  s.phase = decision.phase;
  s.quarantine_reason = decision.reason;
  s.marker = decision.marker;
  s.random = seed | 1;
  s.started = s.led_since = s.leased_at = s.heartbeat_sent = s.status_sent = now;
  if (decision.durable) {
    s.durable = *decision.durable;
    s.durable.boot_count.value++;
    if (!policy.durable_fence) s.durable.fenced = EpochId{};
    const RegisterValue* value = s.durable.committed  ? s.durable.committed->value.get()
                                 : s.durable.accepted ? s.durable.accepted->value.get()
                                                      : nullptr;
    const std::uint32_t drift = value ? value->drift_permille : 100;
    const Timers t = TimersFor(s.durable.max_ttl_granted_ms, drift, Policy{});
    s.hold_until = now + t.hold_off;  // rule 3
    const auto span = static_cast<std::uint64_t>((t.election_max - t.election_min).count()) + 1;
    s.election_at = now + t.election_min + Micros{static_cast<Micros::rep>(s.random % span)};
  }
  return s;
}

Actions Step(State& state, const Event& event, Instant now, const Policy& policy) {
  Actions actions;
  Machine(state, now, policy, actions).Handle(event);
  return actions;
}

// ---------------------------------------------------------------- dispatch

Machine::Machine(State& state, Instant now, const Policy& policy, Actions& actions)
    : s_(state), now_(now), policy_(policy), actions_(actions) {}

void Machine::Handle(const Event& event) {
  std::visit(
      [this](const auto& e) {
        using E = std::decay_t<decltype(e)>;
        if constexpr (std::is_same_v<E, Tick>) OnTick();
        if constexpr (std::is_same_v<E, Received>) OnReceived(e);
        if constexpr (std::is_same_v<E, Observed>) OnObserved(e.view);
        if constexpr (std::is_same_v<E, WalEndRead>) OnWalEnd(e);
        if constexpr (std::is_same_v<E, CreateCluster>) OnCreateCluster(e);
        if constexpr (std::is_same_v<E, AbandonCreation>) s_.creating.reset();
        if constexpr (std::is_same_v<E, Introduced>) s_.introduced = e;
      },
      event);
  // What a node says to itself counts at once: it is persisted with this very step.
  for (int rounds = 0; !loopback_.empty() && rounds < 256; rounds++) {
    const Envelope envelope = std::move(loopback_.front());
    loopback_.pop_front();
    OnMessage(envelope);
  }
  TellGate();
}

void Machine::OnTick() {
  CreationTick();
  JoinTick();
  if (!Configured()) return;
  FollowTick();
  if (AmVoter()) ElectionTick();
  if (Leading()) CoordinatorTick();
  HolderTick();
  if (Since(now_, s_.status_sent) >= milliseconds(500)) {
    s_.status_sent = now_;
    SendMembers(Status{s_.view.status});
  }
}

// Changes that others should know at once; the rest waits for the next round of Status.
static bool Telling(const NodeStatus& a, const NodeStatus& b) {
  return a.db != b.db || a.receiver != b.receiver || a.timeline != b.timeline ||
         a.gate_open != b.gate_open || a.accepting_connections != b.accepting_connections ||
         a.upstream != b.upstream || a.problem != b.problem;
}

void Machine::OnObserved(const LocalView& view) {
  const bool telling = Telling(s_.view.status, view.status);
  s_.view = view;
  if (!Configured()) return;
  if (s_.peers.size() < kMaxMembers || s_.peers.contains(Me())) {
    PeerView& mine = s_.peers[Me()];
    mine.status = view.status;
    mine.status_at = now_;
  }
  if (telling) {
    s_.status_sent = now_;
    SendMembers(Status{view.status});
  }
  HolderTick();
}

bool Machine::Admitted(const Received& received) const {
  const Envelope& e = received.envelope;
  const RegisterValue* value = Value();
  const bool join = std::holds_alternative<Join>(e.message);
  const bool create = std::holds_alternative<Create>(e.message);
  // A node learns its id from Create, a clone from Commit: before that it cannot compare.
  const bool compares = e.to != kNoNode && Me() != kNoNode && !create;
  if (compares && e.to != Me()) return false;
  switch (s_.phase) {
    case Phase::kUnconfigured:
      return join || create || std::holds_alternative<Commit>(e.message) ||
             (s_.creating && received.cluster == s_.creating->value.cluster_id &&
              std::holds_alternative<Accepted>(e.message));
    case Phase::kPending:
      return join || create || (value && received.cluster == value->cluster_id) ||
             (s_.creating && received.cluster == s_.creating->value.cluster_id &&
              std::holds_alternative<Accepted>(e.message));
    case Phase::kConfigured:
      if (join) return received.cluster.value == 0 || received.cluster == value->cluster_id;
      return !create && received.cluster == value->cluster_id &&
             FindMember(*value, e.from) != nullptr;
    case Phase::kQuarantined:
      return s_.marker && std::holds_alternative<Commit>(e.message);
  }
  return false;
}

void Machine::OnReceived(const Received& received) {
  if (Admitted(received)) return OnMessage(received.envelope);
  if (const Join* join = std::get_if<Join>(&received.envelope.message))
    if (IsCoordinator(s_)) Decline(*join);  // a clone of another cluster
}

void Machine::OnMessage(const Envelope& envelope) {
  std::visit([&](const auto& m) { On(envelope.from, m); }, envelope.message);
}

void Machine::On(NodeId from, const Status& m) {
  if (!Configured()) return;
  PeerView& peer = s_.peers[from];  // bounded: only members are admitted
  peer.status = m.status;
  peer.status_at = now_;
}

// ---------------------------------------------------------------- helpers

const RegisterValue* Machine::Value() const {
  if (s_.durable.committed) return s_.durable.committed->value.get();
  if (s_.durable.accepted) return s_.durable.accepted->value.get();
  return nullptr;
}

bool Machine::AmVoter() const {
  const RegisterValue* value = Value();
  return value && (Configured() || s_.phase == Phase::kPending) && IsVoter(*value, Me());
}

Timers Machine::T() const {
  const RegisterValue* value = Value();
  return value ? TimersFor(value->lease_ttl_ms, value->drift_permille, policy_)
               : TimersFor(2000, 100, policy_);
}

std::size_t Machine::MajorityOf() const {
  const RegisterValue* value = Value();
  return Majority(value ? VoterCount(*value) : 1);
}

std::uint64_t Machine::Random() {  // xorshift64 (Marsaglia 2003)
  s_.random ^= s_.random << 13;
  s_.random ^= s_.random >> 7;
  s_.random ^= s_.random << 17;
  return s_.random;
}

void Machine::Send(NodeId to, Message message) {
  if (to == Me() && to != kNoNode)
    loopback_.push_back({Me(), to, std::move(message)});
  else
    actions_.send.push_back({Me(), to, std::move(message)});
}

void Machine::SendVoters(const Message& message) {
  const RegisterValue* value = Value();
  if (!value) return;
  for (const Member& member : value->members)
    if (member.voter) Send(member.id, message);
}

void Machine::SendMembers(const Message& message) {
  const RegisterValue* value = Value();
  if (!value) return;
  for (const Member& member : value->members)
    if (member.id != Me()) Send(member.id, message);
}

void Machine::Tell(NoteKind kind, EpochId epoch, NodeId node, std::string reason, std::string next,
                   std::string recovery) {
  actions_.notes.push_back(
      {kind, epoch, node, std::move(reason), std::move(next), std::move(recovery)});
}

std::string Machine::Name(NodeId id) const {
  const RegisterValue* value = Value();
  return value ? NameOf(*value, id) : NameOf(RegisterValue{}, id);
}

// ---------------------------------------------------------------- questions

NodeId Self(const State& state) {
  if (state.creating) return state.creating->identity.node;
  return state.durable.identity.node;
}

std::optional<Address> PeerAddress(const State& state, NodeId node) {
  const RegisterValue* values[] = {
      state.creating ? &state.creating->value : nullptr, CommittedValue(state),
      state.durable.accepted ? state.durable.accepted->value.get() : nullptr};
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

bool HoldsLease(const State& state, Instant now) {
  const RegisterValue* value = CommittedValue(state);
  return value && state.lease_epoch == value->epoch && value->primary == Self(state) &&
         state.lease_epoch != EpochId{} && BeforeOnEveryClock(now, state.lease_until);
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
