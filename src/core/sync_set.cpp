// Rule 6: what the register counts on (S, k) and what PostgreSQL enforces. At every instant
// S_setting is within S_register and k_setting is not below k_register: what leaves S leaves the
// setting first, what joins S joins the register first.
#include <algorithm>
#include <utility>

#include "core/machine.h"

namespace orchestra {
namespace {

constexpr Micros kSettled = std::chrono::seconds(1);  // a standby streams so long before it counts
constexpr std::uint64_t kCloseBytes = 16u << 20;

SyncSet Union(const SyncSet& a, const SyncSet& b) {
  SyncSet both;
  std::set_union(a.nodes.begin(), a.nodes.end(), b.nodes.begin(), b.nodes.end(),
                 std::back_inserter(both.nodes));
  both.k = std::min(a.k, b.k);
  return both;
}

bool Within(const SyncSet& a, const SyncSet& b) {
  return std::includes(b.nodes.begin(), b.nodes.end(), a.nodes.begin(), a.nodes.end());
}

}  // namespace

// A standby was "heard" when it moved on, or had nothing to move on to.
void Machine::WatchStandbys(const LocalView& before) {
  const RegisterValue* value = CommittedValue(s_);
  if (!value || value->primary != Me() || s_.view.status.db != DbState::kPrimary) return;
  // Read behind the look that found the setting effective: commits that were decided by an older
  // setting end before this.
  if (s_.setting_effective && !s_.sync_barrier && s_.view.insert_lsn != Lsn{})
    s_.sync_barrier = s_.view.insert_lsn;
  if (s_.view.sync_effective == s_.setting_generation && s_.setting_generation != 0)
    s_.setting_effective = s_.setting_proven = true;
  for (const Member& member : value->members) {
    if (!member.sync_candidate || member.id == Me()) continue;
    auto [it, first] = s_.standbys.try_emplace(member.id);
    State::StandbyHeard& standby = it->second;
    if (first) standby.at = now_;
    const auto now = std::find_if(s_.view.standby_flushed.begin(), s_.view.standby_flushed.end(),
                                  [&](const auto& each) { return each.first == member.id; });
    if (now == s_.view.standby_flushed.end()) {
      standby.streams = false;
      continue;
    }
    if (!standby.streams) {
      standby.streams_since = now_;
      standby.goal = s_.view.status.flush_lsn;
    }
    standby.streams = true;
    if (now->second > standby.flushed || now->second >= before.status.flush_lsn) standby.at = now_;
    standby.flushed = now->second;
  }
}

// Who streams, and keeps up; who is lost for longer than a TTL is not among them.
std::vector<NodeId> Machine::KeepingUp(bool any_zone) const {
  const RegisterValue& value = *CommittedValue(s_);
  std::vector<NodeId> nodes;
  for (const Member& member : value.members) {
    if (!(any_zone ? CountsAnywhere(value, member, Me()) : MayConfirm(value, member, Me())))
      continue;
    auto it = s_.standbys.find(member.id);
    if (it == s_.standbys.end()) continue;
    const State::StandbyHeard& standby = it->second;
    const bool heard = Since(now_, standby.at) < T().ttl;
    // It has all that it came back to, and nearly all that was written since.
    const bool close = standby.flushed >= standby.goal &&
                       standby.flushed.value + kCloseBytes >= s_.view.status.flush_lsn.value;
    const bool settled = standby.streams && Since(now_, standby.streams_since) >= kSettled;
    if (value.sync.Has(member.id) ? heard : heard && settled && close) nodes.push_back(member.id);
  }
  return nodes;
}

// S and k as they should be.
SyncSet Machine::WantedSync() const {
  const RegisterValue& value = *CommittedValue(s_);
  SyncSet wanted = SyncSetOf(value, KeepingUp(false));
  const std::uint32_t fewest = FewestCopies(value, Me());
  if (wanted.k >= fewest) return wanted;
  if (value.on_no_sync == OnNoSync::kDegrade) return SyncSetOf(value, KeepingUp(true));
  return value.sync;  // once it has shrunk so far, commits wait
}

void Machine::TakeSetting(const SyncSet& setting) {
  // The old one stays in force for a while.
  if (!Compatible(s_.setting, CommittedValue(s_)->sync)) s_.setting_proven = false;
  s_.setting = setting;
  s_.setting_generation = (s_.durable.boot_count.value << 32) + ++s_.settings_made;
  s_.setting_effective = false;
  s_.sync_barrier.reset();
}

// While who is lost was heard after the grants that hold the lease now, this node may be the deaf
// one, and its lease about to end: S must not shrink to nothing before that. Who leaves S because
// it is not to be counted any more is not lost.
bool Machine::HeardSince(const SyncSet& wanted) const {
  const RegisterValue& value = *CommittedValue(s_);
  if (!policy_.hears_before_shrink) return true;
  const Instant asked = MajorityOfGrants(&State::Grant::sent);
  for (const NodeId node : value.sync.nodes) {
    const Member* member = FindMember(value, node);
    if (wanted.Has(node) || !member || !MayConfirm(value, *member, Me())) continue;
    auto it = s_.standbys.find(node);
    if (it != s_.standbys.end() && BeforeOnSomeClock(asked, it->second.at)) return false;
  }
  return true;
}

bool Machine::BarrierPassed(const SyncSet& next) {
  if (!s_.setting_effective) return false;
  if (!policy_.sync_barrier) return true;
  if (!s_.sync_barrier) return false;
  std::size_t flushed = 0;
  for (const auto& [node, lsn] : s_.view.standby_flushed)
    if (next.Has(node) && lsn >= *s_.sync_barrier) flushed++;
  return flushed >= next.k;
}

void Machine::StepTowards(const SyncSet& wanted) {
  if (!HeardSince(wanted)) return;
  const SyncSet agreed = CommittedValue(s_)->sync;
  const bool raises = agreed.k == 0 && wanted.k > 0;
  const bool shrinks = Within(wanted, agreed) && wanted.k >= agreed.k;
  if (!raises && !shrinks) {  // the register first; never what leaves, or raises k, together
    Ask(ChangeSync{Union(agreed, wanted)});
    return;
  }
  if (!policy_.sync_order) return Ask(ChangeSync{wanted});
  if (!s_.shrinking || s_.setting != wanted) {
    s_.shrinking = true;
    return TakeSetting(wanted);
  }
  if (BarrierPassed(wanted)) Ask(ChangeSync{wanted});
}

void Machine::SyncTick() {
  const RegisterValue& value = *CommittedValue(s_);
  if (s_.setting_generation == 0) TakeSetting(value.sync);
  if (s_.request && policy_.request_stands) return;
  if (!s_.setting_proven || !HoldsLease(s_, now_, policy_)) {
    if (!Compatible(s_.setting, value.sync)) TakeSetting(value.sync);
    return;
  }
  const SyncSet wanted = WantedSync();
  const bool under_way = s_.shrinking && s_.setting == wanted && wanted != value.sync;
  if (!under_way) {
    s_.shrinking = false;
    if (s_.setting != value.sync) TakeSetting(value.sync);
  }
  if (wanted != value.sync && !s_.request) StepTowards(wanted);
}

}  // namespace orchestra
