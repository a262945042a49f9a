// Rule 9: a rolled-back or copied disk must not vote. And the operator's last resort, which ends
// one cluster and begins another.
#include <algorithm>
#include <utility>

#include "core/machine.h"

namespace orchestra {
namespace {

constexpr Micros kTellEvery = std::chrono::seconds(1);
// Starts that a confirmed copy is ahead of the disk that it was copied from, so that the other one
// is recognised as the older however often it is started.
constexpr std::uint64_t kConfirmedAhead = 1u << 20;

}  // namespace

bool Machine::Lives(NodeId node) const {
  auto it = s_.peers.find(node);
  return it != s_.peers.end() && it->second.status_at &&
         Since(now_, *it->second.status_at) < kIncumbentLives;
}

const PeerMemory* Machine::MemoryOf(NodeId node) const {
  for (const PeerMemory& memory : s_.durable.peers)
    if (memory.node == node) return &memory;
  return nullptr;
}

void Machine::Remember(const PeerMemory& seen) {
  std::vector<PeerMemory>& peers = Write().peers;
  const RegisterValue* value = Value();
  if (value)
    std::erase_if(peers, [value](const PeerMemory& each) {
      return FindMember(*value, each.node) == nullptr;
    });
  const auto place =
      std::lower_bound(peers.begin(), peers.end(), seen.node,
                       [](const PeerMemory& memory, NodeId node) { return memory.node < node; });
  if (place != peers.end() && place->node == seen.node)
    *place = seen;
  else if (peers.size() < kMaxMembers)
    peers.insert(place, seen);
}

// Tells a node that it is older than what is remembered of it. It judges for itself: a frame that
// comes late, from before its restart, must not expel it.
void Machine::TellOlder(NodeId node, const PeerMemory& memory) {
  auto [told, first] = s_.refusal_sent.try_emplace(node, now_);
  if (!first && Since(now_, told->second) < kTellEvery) return;
  told->second = now_;
  Send(node, Recalled{0, memory.incarnation, memory.boot, memory.ballot, memory.accepted,
                      memory.fenced, true});
}

void Machine::TellForeign(NodeId node) {
  auto [told, first] = s_.refusal_sent.try_emplace(node, now_);
  if (!first && Since(now_, told->second) < kTellEvery * 60) return;
  told->second = now_;
  Tell(NoteKind::kPeerRefused, EpochId{}, node,
       "another copy speaks in its name than the one that the register knows");
}

// Is the sender the newest start of the member that it says it is?
bool Machine::Trusted(const Received& received) {
  const NodeId from = received.envelope.from;
  const Message& message = received.envelope.message;
  const RegisterValue* value = Value();
  if (!value || !policy_.peer_memory || from == Me() || from == kNoNode) return true;
  if (!Configured() && s_.phase != Phase::kPending) return true;
  // A suspect asks before anything is believed of it; what is remembered of this node is judged by
  // this node.
  if (std::holds_alternative<Recall>(message) || std::holds_alternative<Recalled>(message))
    return true;
  // A creation that is begun anew has a new disk to name.
  if (std::holds_alternative<Create>(message) || std::holds_alternative<Join>(message) ||
      FindMember(*value, from) == nullptr)
    return true;
  // The register names the disk that speaks for a member. A node that is behind may not know it
  // yet; what was committed it may be told by anybody.
  const Member& member = *FindMember(*value, from);
  const bool foreign =
      member.incarnation != Incarnation{} && member.incarnation != received.incarnation;
  if (foreign) return TellForeign(from), std::holds_alternative<Commit>(message);
  const auto* status = std::get_if<Status>(&message);
  if (status && status->status.suspect) return false;
  PeerMemory seen{from, received.incarnation, received.boot, Ballot{}, WriteId{}, EpochId{}};
  if (status) {
    seen.ballot = status->status.promised;
    seen.accepted = status->status.accepted;
    seen.fenced = status->status.fenced;
  }
  const PeerMemory* memory = MemoryOf(from);
  if (!memory || memory->incarnation != received.incarnation) {
    s_.peers[from].status_at.reset();  // it was another copy's
    return Remember(seen), true;
  }
  const bool older = status && (seen.ballot < memory->ballot || seen.accepted < memory->accepted ||
                                seen.fenced < memory->fenced);
  if (received.boot < memory->boot || older) return TellOlder(from, *memory), false;
  // Of a new start nothing counts before it said what it remembers, but what was committed.
  if (received.boot > memory->boot && !status) return std::holds_alternative<Commit>(message);
  if (seen.boot > memory->boot) Remember(seen);
  return true;
}

// Worth a write at once is only a new start. What a node promised, accepted and was fenced for
// since then is stored now and then, also if it falls silent.
void Machine::RememberPeers() {
  if (!Configured() || s_.suspect) return;
  if (Since(now_, s_.remembered_at) < kTellEvery || !policy_.peer_memory) return;
  s_.remembered_at = now_;
  const std::vector<PeerMemory> memories = s_.durable.peers;
  for (const PeerMemory& memory : memories) {
    const auto peer = s_.peers.find(memory.node);
    if (peer == s_.peers.end() || !peer->second.status_at) continue;
    const NodeStatus& status = peer->second.status;
    PeerMemory seen = memory;
    seen.ballot = std::max(seen.ballot, status.promised);
    seen.accepted = std::max(seen.accepted, status.accepted);
    seen.fenced = std::max(seen.fenced, status.fenced);
    if (!(seen == memory)) Remember(seen);
  }
}

// ---------------------------------------------------------------- a suspect

void Machine::RecallTick() {
  if (Since(now_, s_.recall_sent) < kTellEvery && s_.recall_nonce != 0) return;
  if (s_.recall_nonce == 0) {
    s_.recall_nonce = Random() | 1;
    Tell(NoteKind::kIdentitySuspect, EpochId{}, Me(),
         s_.moved ? "its disk is on another machine than before"
                  : "its disk is on another file system than before",
         "ask the other voters; no vote until a majority of them confirms it");
  }
  s_.recall_sent = now_;
  const RegisterValue* value = Value();
  std::size_t others = 0;
  for (const Member& member : value->members) {
    if (!HasVote(*value, member.id) || member.id == Me()) continue;
    others++;
    Send(member.id, Recall{s_.recall_nonce});
  }
  if (others == 0 && !s_.moved) Confirm("its machine, which is the same: there is no other voter");
}

void Machine::On(NodeId from, const Recall& m) {
  if (!Configured() || (s_.suspect && s_.moved)) return;
  // Who has just started does not know yet who else is alive.
  if (Since(now_, s_.started) < kIncumbentLives) return;
  const PeerMemory* memory = MemoryOf(from);
  const bool alive = Lives(from);
  if (memory)
    Send(from, Recalled{m.nonce, memory->incarnation, memory->boot, memory->ballot,
                        memory->accepted, memory->fenced, alive});
  else
    Send(from,
         Recalled{m.nonce, Incarnation{}, BootCount{}, Ballot{}, WriteId{}, EpochId{}, alive});
}

void Machine::On(NodeId from, const Recalled& m) {
  if (!Configured()) return;
  const RegisterValue* value = Value();
  if (!value || !HasVote(*value, from)) return;
  const Durable& d = s_.durable;
  const bool same = m.incarnation == d.identity.incarnation;
  if (same && (m.boot > d.boot_count || m.ballot > d.promised || m.accepted > AcceptedWrite() ||
               m.fenced > d.fenced))
    return Expel("its disk is older than what " + Name(from) +
                 " has seen of it: it was rolled back, or is not the newest copy");
  if (!s_.suspect || m.nonce != s_.recall_nonce) return;
  if (m.incarnation != Incarnation{} && !same) {
    s_.suspect_problem = Name(from) + " knows another node under its name";
    return;
  }
  if (m.alive) {
    s_.suspect_problem = Name(from) + " hears another node that speaks in this one's name";
    return;
  }
  s_.vouched.insert(from);
  std::size_t others = 0;
  for (const Member& member : value->members)
    if (member.id != Me() && HasVote(*value, member.id)) others++;
  if (others > 0 && s_.vouched.size() >= Majority(others))
    Confirm("a majority of the other voters");
}

void Machine::Confirm(const std::string& by) {
  if (!s_.suspect || !s_.introduced) return;
  s_.suspect = false;
  s_.suspect_problem.clear();
  Durable& d = Write();
  d.boot_count.value += kConfirmedAhead;
  Identity& identity = d.identity;
  identity.machine = s_.introduced->identity.machine;
  identity.device = s_.introduced->identity.device;
  ResetElectionTimer();
  Tell(NoteKind::kIdentityConfirmed, EpochId{}, Me(), "by " + by, "it votes again");
}

void Machine::Expel(const std::string& reason) {
  DropLease();
  if (s_.role != Role::kFollower) Follow();
  Write().expelled = reason;
  s_.expelled = true;
  s_.phase = Phase::kQuarantined;
  s_.quarantine_reason = ExpelledText(reason);
  Tell(NoteKind::kQuarantined, EpochId{}, Me(), reason, "nothing commits and nothing is followed");
}

// ---------------------------------------------------------------- forced recovery

void Machine::Force(const ForceRecovery& force) {
  auto refuse = [&](const std::string& why) { Answered(force.id, false, why); };
  const RegisterValue* old = NewestValue();
  if (!Configured() || !old) return refuse("this node belongs to no cluster");
  if (!Enforces(*old)) return refuse("in mode observe nobody is promoted");
  if (s_.view.status.db != DbState::kStandby && s_.view.status.db != DbState::kPrimary)
    return refuse("this server does not run as a standby or primary");
  if (s_.heartbeat_heard && Since(now_, *s_.heartbeat_heard) < T().election_max &&
      s_.coordinator != Me())
    return refuse("a coordinator is heard: a majority of the voters lives");
  if (IsCoordinator(s_) && HearsQuorum(T().election_max))
    return refuse("this node leads a majority of the voters");
  // What it promised itself it may take back.
  const bool to_another = s_.durable.accepted && s_.durable.accepted->value->primary != Me();
  if ((PromiseLives() && to_another) || HoldsOff())
    return refuse("a lease may still be in force: try again soon");
  RegisterValue next = *old;
  const ClusterId ended = old->cluster_id;
  next.cluster_id = force.cluster;
  next.former_clusters.push_back(ended);
  if (next.former_clusters.size() > kMaxFormerClusters)
    next.former_clusters.erase(next.former_clusters.begin());
  Follow();
  s_.ballot = {std::max(s_.durable.promised.round, s_.highest_round) + 1, Me()};
  next.version.value++;
  next.voters_prev.clear();
  next.voters_since = next.version;
  next.basis = BasisOf(*old);
  next.basis.primary = Me();
  next.basis.sync = next.sync = SyncSet{};
  next.epoch = EpochId{WriteId{s_.ballot, next.version}};
  next.primary = Me();
  next.primary_boot = BootCount{};
  next.active = next.paused = false;
  next.timeline = TimelineId{};
  next.target_branch.reset();
  next.branch_from = EpochId{};
  next.longest_ttl_ms = next.lease_ttl_ms;
  for (Member& member : next.members) {
    member.voter = member.id == Me();
    member.sync_candidate = member.voter;
  }
  if (std::string wrong = Validate(next); !wrong.empty()) return refuse(wrong);
  const Written written{WriteId{s_.ballot, next.version},
                        std::make_shared<const RegisterValue>(next)};
  Durable& d = Write();
  d.promised = s_.ballot;
  d.accepted = d.committed = written;
  s_.last_request = {};  // of the former primary
  actions_.write_marker = true;
  s_.marker = Marker{next.cluster_id, next.system_identifier, next.cluster_name};
  EnterEpoch(next);
  s_.role = Role::kCoordinator;
  s_.coordinator = Me();
  s_.led_since = s_.leased_at = now_;
  s_.newest_epoch_seen = next.epoch;
  s_.proposal = written;
  s_.proposal_committed = true;
  s_.aftermath = Aftermath{};
  s_.aftermath.recovery = ToText(next.epoch);
  s_.aftermath.epoch = next.epoch;
  s_.aftermath.since = now_;
  Tell(NoteKind::kForced, next.epoch, Me(), force.reason,
       "every other node must be made anew from this one", s_.aftermath.recovery);
  Heartbeat();
  Answered(force.id, true, "epoch " + ToText(next.epoch));
}

}  // namespace orchestra
