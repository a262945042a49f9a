#include "core/consensus.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "core/machine.h"

namespace orchestra {
namespace {

constexpr Micros kFarewell = std::chrono::seconds(1);  // of who knows that the cluster is dropped
constexpr Micros kLongestFarewell = std::chrono::seconds(5);

}  // namespace

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
    case NoteKind::kRegisterChanged:
      return "register_changed";
    case NoteKind::kLeaseReleased:
      return "lease_released";
    case NoteKind::kIdentitySuspect:
      return "identity_suspect";
    case NoteKind::kIdentityConfirmed:
      return "identity_confirmed";
    case NoteKind::kPeerRefused:
      return "peer_refused";
    case NoteKind::kForced:
      return "forced_recovery";
    case NoteKind::kFeeding:
      return "feeding";
    case NoteKind::kLossAccepted:
      return "loss_accepted";
    case NoteKind::kLossMeasured:
      return "loss_measured";
    case NoteKind::kSettingRepaired:
      return "setting_repaired";
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
  s.started = s.led_since = s.leased_at = s.heartbeat_sent = now;
  s.suspect = decision.suspect && policy.suspect_is_mute;
  s.moved = decision.moved;
  s.expelled = decision.expelled;
  if (decision.durable) {
    s.durable = *decision.durable;
    s.durable.boot_count.value++;
    if (!policy.durable_fence) s.durable.fenced = EpochId{};
    const RegisterValue* value = s.durable.committed  ? s.durable.committed->value.get()
                                 : s.durable.accepted ? s.durable.accepted->value.get()
                                                      : nullptr;
    const std::uint32_t drift = value ? value->drift_permille : 100;
    const std::uint32_t ttl_ms =
        policy.longest_ttl_held || !value ? s.durable.max_ttl_granted_ms : value->lease_ttl_ms;
    const Timers t = TimersFor(ttl_ms, drift, Policy{});
    s.hold_until = now + t.hold_off;  // rule 3
    if (value) s.newest_epoch_seen = value->epoch;
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
  if (s_.left) {
    actions_.leave = std::holds_alternative<Tick>(event);
    return;
  }
  std::visit(
      [this](const auto& e) {
        using E = std::decay_t<decltype(e)>;
        if constexpr (std::is_same_v<E, Tick>) OnTick();
        if constexpr (std::is_same_v<E, StorePeers>) RememberPeers();
        if constexpr (std::is_same_v<E, Received>) OnReceived(e);
        if constexpr (std::is_same_v<E, Observed>) OnObserved(e.view);
        if constexpr (std::is_same_v<E, WalEndRead>) OnWalEnd(e);
        if constexpr (std::is_same_v<E, CreateCluster>) OnCreateCluster(e);
        if constexpr (std::is_same_v<E, AbandonCreation>) s_.creating.reset();
        if constexpr (std::is_same_v<E, Introduced>) s_.introduced = e;
        if constexpr (std::is_same_v<E, Command>) OnCommand(e);
        if constexpr (std::is_same_v<E, AbandonCommand>) s_.command.reset();
        if constexpr (std::is_same_v<E, ReleaseLease>) ReleaseByCall();
        if constexpr (std::is_same_v<E, ForceRecovery>) Force(e);
        if constexpr (std::is_same_v<E, ConfirmIdentity>) {
          Confirm("an operator");
          s_.answer = CommandAnswer{e.id, !s_.suspect, s_.suspect ? "not introduced yet" : ""};
        }
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
  CommandTick();
  if (!Configured()) return;
  LeaveTick();
  if (s_.left) return;
  if (s_.suspect) return RecallTick();
  FollowTick();
  if (AmVoter()) ElectionTick();
  if (Leading()) CoordinatorTick();
  HolderTick();
  if (Since(now_, s_.status_sent) >= milliseconds(500)) {
    s_.status_sent = now_;
    SendMembers(Status{s_.view.status});
  }
}

// The coordinator of a dropped cluster goes last, so that every member hears of it. A former
// primary stays, closed: it would be a second one.
void Machine::LeaveTick() {
  const RegisterValue* value = CommittedValue(s_);
  if (!value || !value->dropped || IsFormerPrimary(s_.durable)) return;
  const DbState db = s_.view.status.db;  // while it starts or stops no setting can be put back
  if (db == DbState::kStarting || db == DbState::kStopping) return;
  if (!s_.leaving_since) s_.leaving_since = now_;
  const auto unaware = [this](const Member& member) {
    return member.id != Me() && !KnowsCommit(member.id);
  };
  const bool missing =
      IsCoordinator(s_) && std::any_of(value->members.begin(), value->members.end(), unaware);
  if (Since(now_, *s_.leaving_since) < (missing ? kLongestFarewell : kFarewell)) return;
  s_.left = actions_.leave = true;
  s_.phase = Phase::kUnconfigured;
}

// Changes that others should know at once; the rest waits for the next round of Status.
static bool Telling(const NodeStatus& a, const NodeStatus& b) {
  return a.db != b.db || a.receiver != b.receiver || a.timeline != b.timeline ||
         a.gate_open != b.gate_open || a.accepting_connections != b.accepting_connections ||
         a.upstream != b.upstream || a.problem != b.problem;
}

// Promoted behind our back, it is a former primary as others are: gated, whatever mode follows.
void Machine::NoteOutOfRecovery() {
  const RegisterValue* value = CommittedValue(s_);
  if (!value || !Enforces(*value) || s_.view.status.db != DbState::kPrimary) return;
  if (value->primary == Me() || s_.durable.wrote_epoch != EpochId{}) return;
  Write().wrote_epoch = value->epoch;
}

void Machine::OnObserved(const LocalView& view) {
  const bool telling = Telling(s_.view.status, view.status);
  const LocalView before = std::exchange(s_.view, view);
  s_.view.status.promised = s_.durable.promised;
  s_.view.status.accepted = AcceptedWrite();
  s_.view.status.fenced = s_.durable.fenced;
  s_.view.status.suspect = s_.suspect;
  if (!Configured()) return;
  NoteOutOfRecovery();
  if (s_.peers.size() < kMaxMembers || s_.peers.contains(Me())) {
    PeerView& mine = s_.peers[Me()];
    mine.status = s_.view.status;
    mine.status_at = now_;
  }
  if (telling && !s_.suspect) {
    s_.status_sent = now_;
    SendMembers(Status{s_.view.status});
  }
  WatchStandbys(before);
  if (!s_.suspect) HolderTick();
}

bool Machine::FromMember(const Received& received, const RegisterValue& value) const {
  if (received.cluster != value.cluster_id) return false;
  const NodeId from = received.envelope.from;
  // A candidate may be told of voters that its own register does not know yet (rule 7).
  return FindMember(value, from) != nullptr ||
         (s_.adopting && FindMember(*s_.adopting->value, from) != nullptr) ||
         (s_.durable.accepted && FindMember(*s_.durable.accepted->value, from) != nullptr);
}

bool Machine::Admitted(const Received& received) const {
  const Envelope& e = received.envelope;
  const RegisterValue* value = Value();
  const bool join = std::holds_alternative<Join>(e.message);
  const bool create = std::holds_alternative<Create>(e.message);
  const bool commit = std::holds_alternative<Commit>(e.message);
  // A node learns its id from Create, a clone from Commit: before that it cannot compare.
  const bool compares = e.to != kNoNode && Me() != kNoNode && !create;
  if (compares && e.to != Me()) return false;
  const bool created = s_.creating && received.cluster == s_.creating->value.cluster_id &&
                       std::holds_alternative<Accepted>(e.message);
  switch (s_.phase) {
    case Phase::kUnconfigured:
      return join || create || commit || created;
    case Phase::kPending:
      return join || create || (value && received.cluster == value->cluster_id) || created;
    case Phase::kConfigured:
      if (join) return received.cluster.value == 0 || received.cluster == value->cluster_id;
      // A node of another configuration may be ahead: a commit tells it apart by itself.
      return !create &&
             (FromMember(received, *value) || (commit && received.cluster == value->cluster_id));
    case Phase::kQuarantined:
      return s_.marker && commit;
  }
  return false;
}

void Machine::OnReceived(const Received& received) {
  const Message& message = received.envelope.message;
  if (Admitted(received)) {
    if (!Trusted(received)) return;
    // A node that may be a copy only asks what the others remember of it (rule 9).
    const bool recalls =
        std::holds_alternative<Recalled>(message) || std::holds_alternative<Recall>(message);
    if (s_.suspect && !recalls) {
      // Only what mode it is that it is in: a copy that may commit must hear when that ends.
      const auto* news = std::get_if<Commit>(&message);
      if (news && !Manages(s_.durable)) Learn(news->written);
      return;
    }
    return OnMessage(received.envelope);
  }
  if (const Join* join = std::get_if<Join>(&message))
    if (IsCoordinator(s_)) Decline(*join);  // a clone of another cluster
  const auto* commit = std::get_if<Commit>(&message);
  if (!commit || !Configured()) return;
  const RegisterValue& theirs = *commit->written.value;
  if (std::find(theirs.former_clusters.begin(), theirs.former_clusters.end(),
                Value()->cluster_id) == theirs.former_clusters.end())
    return;
  // Whoever forced it was cut off from a majority that is well: that one stays.
  if (s_.coordinator != kNoNode && s_.heartbeat_heard &&
      Since(now_, *s_.heartbeat_heard) < T().election_max)
    return TellForeign(received.envelope.from);
  Expel("a forced recovery on " + NameOf(theirs, theirs.primary) + " ended the cluster that " +
        "this node belongs to");
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

const RegisterValue* Machine::NewestValue() const {
  const auto& [committed, accepted] = std::tie(s_.durable.committed, s_.durable.accepted);
  if (!accepted || (committed && committed->write >= accepted->write)) return Value();
  return accepted->value.get();
}

bool Machine::AmVoter() const {
  const RegisterValue* value = NewestValue();
  return value && (Configured() || s_.phase == Phase::kPending) && !s_.suspect &&
         HasVote(*value, Me());
}

Timers Machine::T() const {
  const RegisterValue* value = Value();
  return value ? TimersFor(value->lease_ttl_ms, value->drift_permille, policy_)
               : TimersFor(2000, 100, policy_);
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
  const RegisterValue* value = NewestValue();
  if (!value) return;
  for (const Member& member : value->members)
    if (HasVote(*value, member.id)) Send(member.id, message);
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

}  // namespace orchestra
