// The primary's side: promotion, lease (rule 2), barrier and activation (rule 5 vi and vii).
#include <algorithm>
#include <utility>
#include <vector>

#include "core/machine.h"

namespace orchestra {

void Machine::HolderTick() {
  const RegisterValue* value = CommittedValue(s_);
  if (!Configured() || !value || value->primary != Me()) return;
  if (s_.durable.fenced >= value->epoch) return;
  const DbState db = s_.view.status.db;
  const bool promotable = db == DbState::kStandby && !value->active;
  if (db != DbState::kPrimary && !promotable) return;
  if (s_.durable.wrote_epoch != value->epoch) {  // durable before the server leaves recovery
    Write().wrote_epoch = value->epoch;
    Write().wal_epoch = value->epoch;
    if (promotable) Tell(NoteKind::kPromoting, value->epoch, Me(), "the committed epoch names it");
  }
  if (Since(now_, s_.lease_request_at) >= T().renewal) RequestLease();
  if (db != DbState::kPrimary) return;
  BarrierTick();
  ActivationTick();
}

void Machine::RequestLease() {
  const RegisterValue& value = *CommittedValue(s_);
  s_.lease_request_at = now_;
  const std::uint64_t seq = ++s_.request_seq;
  s_.requests_sent[seq] = now_;
  while (s_.requests_sent.size() > 40) s_.requests_sent.erase(s_.requests_sent.begin());
  for (const Member& member : value.members)
    if (member.voter)
      Send(member.id, LeaseRequest{value.epoch, s_.durable.boot_count, seq, s_.echo[member.id]});
}

void Machine::On(NodeId from, const LeaseAck& m) {
  const RegisterValue* value = CommittedValue(s_);
  if (!value || m.epoch != value->epoch || value->primary != Me() || !IsVoter(*value, from)) return;
  if (m.boot != s_.durable.boot_count || m.seq <= s_.request_cancelled) return;
  if (s_.durable.fenced >= m.epoch) return;
  s_.echo[from] = m.nonce;
  auto sent = s_.requests_sent.find(m.seq);
  if (!m.granted || sent == s_.requests_sent.end()) {
    // A voter that only gave a nonce grants the next request: ask soon, but not in a storm.
    const Micros soon = T().renewal - std::chrono::milliseconds(20);
    if (!HoldsLease(s_, now_) && s_.lease_request_at.boottime > soon)
      s_.lease_request_at = s_.lease_request_at + -soon;
    return;
  }
  if (s_.lease_epoch != m.epoch) {
    s_.lease_epoch = m.epoch;
    s_.lease_until = Instant{};
    s_.grants.clear();
  }
  const Instant counted = policy_.lease_from_send ? sent->second : now_;
  s_.grants[from] = Latest(s_.grants[from], counted);
  if (s_.grants.size() < MajorityOf()) return;
  std::vector<Instant> times;
  for (const auto& [voter, at] : s_.grants) times.push_back(at);
  std::sort(times.begin(), times.end(),
            [](const Instant& a, const Instant& b) { return a.boottime > b.boottime; });
  const Timers promised =
      TimersFor(std::min(m.ttl_ms, value->lease_ttl_ms), value->drift_permille, policy_);
  s_.lease_until = Latest(s_.lease_until, times[MajorityOf() - 1] + promised.lease_span);
}

void Machine::DropLease() {
  s_.lease_until = Instant{};
  s_.lease_epoch = EpochId{};
  s_.grants.clear();
  s_.request_cancelled = s_.request_seq;
}

// What was flushed here when this server left recovery may contain commits that nobody was told
// of. They may become visible only once k of S hold them too.
void Machine::BarrierTick() {
  const RegisterValue& value = *CommittedValue(s_);
  if (s_.barrier_passed) return;
  if (!s_.barrier) {
    if (s_.view.status.flush_lsn == Lsn{}) return;
    s_.barrier = s_.view.status.flush_lsn;
  }
  std::size_t flushed = 0;
  for (const auto& [node, lsn] : s_.view.standby_flushed)
    if (value.sync.Has(node) && lsn >= *s_.barrier) flushed++;
  if (flushed >= value.sync.k || !policy_.activation) s_.barrier_passed = true;
}

void Machine::ActivationTick() {
  const RegisterValue& value = *CommittedValue(s_);
  if (!policy_.activation || value.active || !s_.barrier_passed || !HoldsLease(s_, now_)) return;
  if (s_.view.sync_effective != value.epoch.value.version) return;
  const Timers t = T();
  if (s_.asked_since && Since(now_, s_.asked_at) < t.request_retry) return;
  if (!s_.asked_since) s_.asked_since = now_;
  s_.asked_at = now_;
  const NodeId coordinator = s_.coordinator == kNoNode ? Me() : s_.coordinator;
  Send(coordinator, Request{value.epoch, value.version, s_.view.status.timeline,
                            s_.heartbeat_newest.first, s_.heartbeat_newest.second});
  // Rule 1: a lease holder whose request goes unanswered may campaign, and again if that was lost:
  // a candidate that hears the coordinator's heartbeat starts no ordinary campaign.
  if (Since(now_, *s_.asked_since) > 2 * t.heartbeat && s_.role != Role::kCoordinator &&
      AmVoter()) {
    s_.asked_since = now_ + t.election_max;
    Campaign(true);
  }
}

void Machine::TellGate() {
  const RegisterValue* value = CommittedValue(s_);
  const EpochId epoch = value ? value->epoch : EpochId{};
  const bool held = HoldsLease(s_, now_);
  if (held != s_.lease_was_held) {
    s_.lease_was_held = held;
    if (held)
      Tell(NoteKind::kLeaseAcquired, epoch, Me(), "granted by a majority of voters");
    else
      Tell(NoteKind::kLeaseLost, epoch, Me(),
           s_.durable.fenced >= epoch        ? "fenced"
           : value && value->primary != Me() ? Name(value->primary) + " is primary"
                                             : "not renewed by a majority of voters");
  }
  const bool open = GateOpen(s_, now_, policy_);
  if (open == s_.gate_was_open) return;
  s_.gate_was_open = open;
  if (open)
    Tell(NoteKind::kGateOpened, epoch, Me(), "lease held and epoch active", "commits are let in");
  else
    Tell(NoteKind::kGateClosed, epoch, Me(), held ? "epoch not in force here" : "no lease",
         "nothing commits");
}

}  // namespace orchestra
