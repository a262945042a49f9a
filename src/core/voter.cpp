// What a voter (and, for FENCE and learning, any member) answers: rules 1 to 4.
#include <utility>

#include "core/machine.h"

namespace orchestra {

bool Machine::PromiseLives() const {
  return policy_.latest_clock ? BeforeOnSomeClock(now_, s_.promise_until)
                              : BeforeOnEveryClock(now_, s_.promise_until);
}

bool Machine::HoldsOff() const { return BeforeOnSomeClock(now_, s_.hold_until); }

// Rules 2 and 3: another epoch is accepted only after the promise to the lease holder and the
// hold-off after a restart are over on every clock.
bool Machine::MayTake(const Written& written) {
  const std::optional<Written>& accepted = s_.durable.accepted;
  if (accepted && written.write < accepted->write) return false;
  if (!accepted || accepted->value->epoch != written.value->epoch) {
    if (policy_.honor_promise && PromiseLives()) return false;
    if (policy_.hold_off && HoldsOff()) return false;
    s_.promise_until = Instant{};
    s_.last_request = {};
  }
  if (!accepted || accepted->write != written.write) Write().accepted = written;
  return true;
}

template <typename M>
void Machine::OnProposal(NodeId from, const M& m, bool committed) {
  const Written& w = m.written;
  const Ballot ballot = w.write.ballot;
  if (committed) Learn(w);
  if (!Configured() && s_.phase != Phase::kPending) return;
  if (ballot < s_.durable.promised) {
    Send(ballot.node, Nack{s_.durable.promised});
    return;
  }
  if (ballot > s_.durable.promised) Write().promised = ballot;
  if (s_.role != Role::kFollower && s_.ballot < ballot) Follow();
  s_.newest_epoch_seen = std::max(s_.newest_epoch_seen, w.value->epoch);
  // Though perhaps relayed. Number 0 is news from a candidate and no sign of life.
  const bool fresh = m.seq != 0 && std::pair(ballot, m.seq) > s_.heartbeat_newest;
  if (fresh || (m.seq != 0 && !policy_.new_heartbeats_only)) {
    s_.heartbeat_newest = {ballot, m.seq};
    s_.heartbeat_heard = now_;
    s_.coordinator = ballot.node;
    if (s_.role != Role::kCoordinator) ResetElectionTimer();
    const bool live = PromiseLives() || HoldsOff();
    Send(ballot.node, HeartbeatAck{ballot, m.seq, live, s_.durable.fenced});
    Relay(from, m, ballot.node, m.seq);
  }
  // Its own value says who votes on a write.
  if (HasVote(*w.value, Me()) && MayTake(w) && !committed) Send(ballot.node, Accepted{w.write});
}

void Machine::On(NodeId from, const Accept& m) { OnProposal(from, m, false); }
void Machine::On(NodeId from, const Commit& m) { OnProposal(from, m, true); }

// Every third heartbeat is passed on, so that one cut link does not hide a living coordinator.
void Machine::Relay(NodeId from, const Message& message, NodeId coordinator, std::uint64_t seq) {
  if (from != coordinator || coordinator == Me() || !AmVoter()) return;
  if ((seq + Me().value) % 3 != 0) return;
  for (const Member& member : Value()->members)
    if (member.id != Me() && member.id != coordinator) Send(member.id, message);
}

void Machine::Learn(const Written& w) {
  if (s_.phase == Phase::kQuarantined || s_.phase == Phase::kUnconfigured) return BecomeMember(w);
  const RegisterValue* old = CommittedValue(s_);
  if (old && w.value->version > old->version) {
    const Member* me = FindMember(*w.value, Me());
    if (me == nullptr) return Expel("it was removed from the cluster");
    if (me->incarnation != Incarnation{} && me->incarnation != s_.durable.identity.incarnation)
      return Expel("another copy has taken its place");
  }
  // A pending node that knows the commit already died before it wrote its marker.
  const bool again = s_.phase == Phase::kPending && s_.durable.committed == w;
  if (s_.durable.committed && w.write <= s_.durable.committed->write && !again) return;
  if (old && w.value->epoch < old->epoch) return;  // never back (cannot happen in one register)
  const bool new_epoch = !old || old->epoch != w.value->epoch;
  const bool new_version = !old || old->version != w.value->version;
  Write().committed = w;
  if (s_.phase == Phase::kPending) {
    s_.phase = Phase::kConfigured;
    actions_.write_marker = true;
    s_.marker = Marker{w.value->cluster_id, w.value->system_identifier, w.value->cluster_name};
    ResetElectionTimer();
    Tell(NoteKind::kConfigured, w.value->epoch, Me(), "cluster " + w.value->cluster_name);
  }
  if (new_version) {
    s_.request.reset();  // compare-and-set: it can no longer land
    std::erase_if(s_.peers,
                  [&w](const auto& peer) { return FindMember(*w.value, peer.first) == nullptr; });
  }
  if (new_epoch) EnterEpoch(*w.value);
  if (!Enforces(*w.value)) ForgetAsked();
}

// What the shell was asked to set and to read.
void Machine::ForgetAsked() {
  s_.fence_asked.reset();
  s_.scan_running = false;
  s_.setting = SyncSet{};
  s_.setting_generation = 0;
  s_.setting_proven = s_.setting_effective = s_.shrinking = false;
  s_.sync_barrier.reset();
}

void Machine::EnterEpoch(const RegisterValue& value) {
  DropLease();
  s_.request.reset();
  s_.lease_epoch = EpochId{};
  s_.requests_sent.clear();
  s_.barrier.reset();
  s_.barrier_passed = false;
  ForgetAsked();
  s_.standbys.clear();
  Tell(NoteKind::kEpochEntered, value.epoch, value.primary,
       std::string(value.active ? "active" : "not active yet") + ", version " +
           std::to_string(value.version.value));
}

bool MayFollow(const State& s) {
  const RegisterValue* value = CommittedValue(s);
  if (!value || value->primary == Self(s)) return false;
  if (s.durable.wrote_epoch != EpochId{}) return false;  // a former primary must rejoin first
  if (s.durable.wal_epoch == value->epoch) return true;
  return OnLineage(*value, s.view.status.timeline, s.durable.wal_epoch);
}

// A member that may follow the new epoch's primary notes so durably before its receiver opens.
void Machine::FollowTick() {
  const RegisterValue* value = CommittedValue(s_);
  if (!value || s_.durable.fenced >= value->epoch || s_.durable.wal_epoch == value->epoch) return;
  // While a receiver runs, WAL of its upstream's own timeline may come in behind the look at it.
  if (s_.view.status.db != DbState::kStandby || !s_.view.receiver_quiet || !MayFollow(s_)) return;
  Write().wal_epoch = value->epoch;
  Tell(NoteKind::kUnfenced, value->epoch, Me(), "follows " + Name(value->primary));
}

// ---------------------------------------------------------------- lease, as its granter (rule 2)

void Machine::On(NodeId from, const LeaseRequest& m) {
  const std::optional<Written>& accepted = s_.durable.accepted;
  if (!Configured() || !accepted) return;
  const RegisterValue& value = *accepted->value;
  if (value.epoch != m.epoch || value.primary != from) return;
  if (s_.durable.fenced >= m.epoch && policy_.refuse_fenced_lease) return;
  if (m.epoch < s_.newest_epoch_seen && policy_.newest_epoch_only) return;
  // Rule 7: the lease of a primary that goes by older voters must come to its end.
  const RegisterValue* committed = CommittedValue(s_);
  if (policy_.voters_known && committed && m.known < committed->voters_since) return;
  if (!HasVote(committed ? *committed : value, Me())) return;
  const std::pair request{m.boot, m.seq};
  if (request <= s_.last_request) return;
  const Timers t = T();
  while (!s_.nonces_issued.empty() && Since(now_, s_.nonces_issued.front().second) > t.ttl)
    s_.nonces_issued.pop_front();
  bool fresh = false;  // the holder has heard this incarnation of ours within the last TTL
  for (const auto& [nonce, at] : s_.nonces_issued) fresh |= nonce == m.echo;
  if (!policy_.echo_nonce) fresh = true;
  if (fresh) {
    s_.last_request = request;
    // The answer tells the TTL of the accepted value, the timers follow the committed one.
    const Micros promised = std::chrono::milliseconds(value.lease_ttl_ms);
    s_.promise_until = Latest(s_.promise_until, now_ + std::max(t.promise_ttl, promised));
    if (s_.durable.max_ttl_granted_ms < value.lease_ttl_ms)
      Write().max_ttl_granted_ms = value.lease_ttl_ms;
  }
  const std::uint64_t nonce = (s_.durable.boot_count.value << 40) + ++s_.nonces;
  s_.nonces_issued.emplace_back(nonce, now_);
  if (s_.nonces_issued.size() > 256) s_.nonces_issued.pop_front();
  Send(from, LeaseAck{m.epoch, m.boot, m.seq, nonce, fresh, value.lease_ttl_ms});
}

void Machine::On(NodeId from, const Release& m) {
  const std::optional<Written>& accepted = s_.durable.accepted;
  if (!Configured() || !accepted || accepted->value->epoch != m.epoch ||
      accepted->value->primary != from)
    return;
  const std::pair released{m.boot, m.seq};
  if (released < s_.last_request && policy_.release_up_to_seq) return;
  s_.promise_until = Instant{};
  s_.last_request = std::max(s_.last_request, released);
}

// ---------------------------------------------------------------- fence (rule 4)

void Machine::On(NodeId from, const Fence& m) {
  if (!Configured()) return;
  if (m.ballot < s_.durable.promised) {
    Send(from, Nack{s_.durable.promised});
    return;
  }
  if (m.ballot > s_.durable.promised) Write().promised = m.ballot;
  if (s_.role != Role::kFollower && s_.ballot < m.ballot) Follow();
  // Too late: the epoch that it would end is over. An end of WAL that is read for it would still be
  // under way when this node takes WAL again, and be taken for the answer to the next FENCE.
  const RegisterValue* value = CommittedValue(s_);
  if (value && m.epoch < value->epoch) return;
  if (m.epoch >= s_.durable.fenced && m.version > s_.durable.fenced_version)
    Write().fenced_version = m.version;
  if (m.epoch > s_.durable.fenced) {
    Write().fenced = m.epoch;
    Tell(NoteKind::kFenced, m.epoch, Me(), "asked by " + Name(from),
         "take no WAL and grant no lease until a newer epoch is committed");
  }
  if (value && value->primary == Me() && value->epoch <= m.epoch &&
      s_.lease_epoch == value->epoch) {
    DropLease();
    SendVoters(Release{value->epoch, s_.durable.boot_count, s_.request_seq});
  }
  if (!m.want_position || s_.view.status.db == DbState::kNone) {
    Send(from, Fenced{m.ballot, m.version, m.epoch, std::nullopt});
    return;
  }
  s_.feed.reset();
  s_.fence_asked = m;  // nothing is answered from memory: the end of WAL is read again
  if (!s_.scan_running) s_.scan_seq++;
  s_.scan_running = true;
}

void Machine::OnWalEnd(const WalEndRead& read) {
  if (!s_.scan_running || read.scan != s_.scan_seq || !s_.fence_asked) return;
  const Fence asked = *s_.fence_asked;
  s_.scan_running = false;
  s_.fence_asked.reset();
  WalPosition position = read.position;
  position.wal_epoch = s_.durable.wal_epoch;
  position.out_of_recovery |= s_.durable.wrote_epoch != EpochId{};
  Send(asked.ballot.node, Fenced{asked.ballot, asked.version, asked.epoch, position});
}

// Nothing but what the source had reported comes in, and this node stays fenced: what it holds then
// is read and counted anew.
void Machine::On(NodeId, const Feed& m) {
  const RegisterValue* value = CommittedValue(s_);
  if (!Configured() || s_.suspect || !value || m.epoch < value->epoch) return;
  if (m.ballot != s_.durable.promised || s_.durable.fenced < m.epoch || m.wal_epoch > m.epoch)
    return;
  if (s_.view.status.db != DbState::kStandby || s_.durable.wrote_epoch != EpochId{}) return;
  if (m.wal_epoch > s_.durable.wal_epoch) Write().wal_epoch = m.wal_epoch;
  if (!s_.feed)
    Tell(NoteKind::kFeeding, m.epoch, Me(), "from " + Name(m.source) + " up to " + ToText(m.upto));
  s_.scan_running = false;
  s_.fence_asked.reset();
  s_.feed = m;
  s_.feed_at = now_;
}

}  // namespace orchestra
