// The primary's side: promotion, lease (rule 2), barrier and activation (rule 5 vi and vii).
#include <algorithm>
#include <functional>
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
  const bool resting = BeforeOnSomeClock(now_, s_.lease_rest_until);
  if (Since(now_, s_.lease_request_at) >= T().renewal && !resting) RequestLease();
  if (db != DbState::kPrimary) return;
  BarrierTick();
  if (!Enforces(*value)) return;
  if (value->active && s_.view.status.timeline != value->timeline) return;
  ActivationTick();
  SyncTick();
  AskTick();
}

void Machine::RequestLease() {
  const RegisterValue& value = *CommittedValue(s_);
  s_.lease_request_at = now_;
  const std::uint64_t seq = ++s_.request_seq;
  s_.requests_sent[seq] = now_;
  while (s_.requests_sent.size() > 40) s_.requests_sent.erase(s_.requests_sent.begin());
  for (const Member& member : value.members)
    if (HasVote(value, member.id))
      Send(member.id, LeaseRequest{value.epoch, value.version, s_.durable.boot_count, seq,
                                   s_.echo[member.id]});
}

// Of the moments in the grants, clock by clock, the latest that a majority of the voters reaches,
// and a majority of the previous ones during a change.
Instant Machine::MajorityOfGrants(Instant State::Grant::*moment) const {
  const RegisterValue& value = *CommittedValue(s_);
  auto of = [&](auto votes, std::size_t voters) -> Instant {
    std::vector<Micros> boottime;
    std::vector<Micros> raw;
    for (const auto& [voter, grant] : s_.grants) {
      if (!votes(voter)) continue;
      boottime.push_back((grant.*moment).boottime);
      raw.push_back((grant.*moment).monotonic_raw);
    }
    const std::size_t nth = Majority(voters) - 1;
    if (boottime.size() <= nth) return Instant{};
    std::sort(boottime.begin(), boottime.end(), std::greater<>());
    std::sort(raw.begin(), raw.end(), std::greater<>());
    return {boottime[nth], raw[nth]};
  };
  const Instant now = of([&](NodeId id) { return IsVoter(value, id); }, VoterCount(value));
  const auto& prev = value.voters_prev;
  if (prev.empty() || !policy_.joint_quorums) return now;
  const Instant before =
      of([&](NodeId id) { return std::binary_search(prev.begin(), prev.end(), id); }, prev.size());
  return {std::min(now.boottime, before.boottime),
          std::min(now.monotonic_raw, before.monotonic_raw)};
}

void Machine::On(NodeId from, const LeaseAck& m) {
  const RegisterValue* value = CommittedValue(s_);
  if (!value || m.epoch != value->epoch || value->primary != Me() || !HasVote(*value, from)) return;
  if (m.boot != s_.durable.boot_count) return;
  if (m.seq <= s_.request_cancelled && policy_.released_stay_released) return;
  if (s_.durable.fenced >= m.epoch) return;
  s_.echo[from] = m.nonce;
  auto sent = s_.requests_sent.find(m.seq);
  if (!m.granted || sent == s_.requests_sent.end()) {
    // A voter that only gave a nonce grants the next request: ask soon, but not in a storm.
    const Micros soon = std::max(Micros{0}, T().renewal - Micros{std::chrono::milliseconds(20)});
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
  const std::uint32_t ttl_ms =
      policy_.least_ttl_granted ? std::min(m.ttl_ms, value->lease_ttl_ms) : value->lease_ttl_ms;
  const Timers promised = TimersFor(ttl_ms, value->drift_permille, policy_);
  State::Grant& grant = s_.grants[from];
  grant.sent = Latest(grant.sent, counted);
  grant.until = Latest(grant.until, counted + promised.lease_span);
  s_.lease_until = Latest(s_.lease_until, MajorityOfGrants(&State::Grant::until));
}

void Machine::DropLease() {
  s_.lease_until = Instant{};
  s_.lease_epoch = EpochId{};
  s_.grants.clear();
  s_.request_cancelled = s_.request_seq;
}

// The shell has seen to it that nothing more commits: let another node be primary soon (rule 11).
void Machine::ReleaseByCall() {
  if (!HoldsLease(s_, now_, policy_)) return;
  const EpochId epoch = s_.lease_epoch;
  DropLease();
  s_.lease_rest_until = now_ + T().ttl;
  Tell(NoteKind::kLeaseReleased, epoch, Me(), "by call");
  SendVoters(Release{epoch, s_.durable.boot_count, s_.request_seq});
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
  if (s_.request || !HoldsLease(s_, now_, policy_)) return;
  if (!value.active) {
    const bool known = s_.view.status.timeline != TimelineId{};
    if (policy_.activation && s_.barrier_passed && s_.setting_proven && known)
      Ask(Activate{s_.view.status.timeline, s_.view.timeline_begin});
  } else if (value.primary_boot != s_.durable.boot_count && policy_.start_noted) {
    // Rule 6: what an earlier start of this worker asked for must not land any more.
    Ask(NoteStart{});
  }
}

void Machine::TellGate() {
  const RegisterValue* value = CommittedValue(s_);
  const EpochId epoch = value ? value->epoch : EpochId{};
  const bool held = HoldsLease(s_, now_, policy_);
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
  const bool gated = Manages(s_.durable);  // else there is no gate to tell of
  const bool open = gated && GateOpen(s_, now_, policy_);
  if (!gated) s_.gate_was_open = false;
  if (open == s_.gate_was_open) return;
  s_.gate_was_open = open;
  if (open)
    Tell(NoteKind::kGateOpened, epoch, Me(), "lease held and epoch active", "commits are let in");
  else
    Tell(NoteKind::kGateClosed, epoch, Me(), held ? "epoch not in force here" : "no lease",
         "nothing commits");
}

}  // namespace orchestra
