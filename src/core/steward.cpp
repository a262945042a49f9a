// What the coordinator does beside writing: who shall lead, and the voters (rule 7).
#include <algorithm>
#include <utility>
#include <vector>

#include "core/machine.h"

namespace orchestra {
namespace {

constexpr std::uint64_t kCaughtUpBytes = 16u << 20;  // one WAL segment
constexpr std::size_t kMaxVoters = 7;
constexpr Micros kLongestStay = std::chrono::seconds(60);

}  // namespace

// Who should lead: a healthy voting standby, else a witness, else the primary, whose death must not
// take the coordinator with it. Lower is better.
int Machine::Rank(NodeId node, const NodeStatus& status) const {
  const RegisterValue* value = Value();
  if (!value) return 0;
  if (value->primary == node) return VoterCount(*value) > 1 ? 2 : 0;
  return status.receiver == ReceiverState::kStreaming ? 0 : 1;
}

// Once all is quiet a coordinator steps aside for a better one. Losing it stops no write. Where
// nobody better takes over, it stays longer each time.
void Machine::HandOver() {
  const RegisterValue& value = *s_.proposal->value;
  const Timers t = T();
  if (s_.proposal_committed && !HasVote(value, Me())) return Follow();  // it lost its vote
  if (!value.active || s_.failover.stage != Failover::Stage::kNone ||
      !s_.aftermath.recovery.empty() || !s_.proposal_committed)
    return;
  const Micros stay = std::max<Micros>(2 * t.election_max, s_.step_aside_after);
  if (Since(now_, s_.led_since) < stay) return;
  const int mine = Rank(Me(), s_.view.status);
  bool better = false;
  for (const auto& [id, peer] : s_.peers) {
    const bool well = id != Me() && IsVoter(value, id) && peer.heard_at && peer.status_at &&
                      Since(now_, *peer.heard_at) < 2 * t.heartbeat;
    better |= well && Rank(id, peer.status) < mine;
  }
  // That the primary has just gone shows on one standby before it shows on the other.
  auto primary = s_.peers.find(value.primary);
  const bool quiet =
      value.primary == Me() || (primary != s_.peers.end() && primary->second.heard_at &&
                                Since(now_, *primary->second.heard_at) < 2 * t.heartbeat);
  if (!better || !quiet) {
    s_.better_since.reset();
    return;
  }
  if (!s_.better_since) s_.better_since = now_;
  if (Since(now_, *s_.better_since) < t.election_max) return;
  const bool again = Since(now_, s_.stepped_aside_at) < 2 * kLongestStay;
  s_.step_aside_after = again ? std::min<Micros>(2 * stay, kLongestStay) : Micros{0};
  s_.stepped_aside_at = now_;
  Follow();
}

// Why the node should not get a vote now, or empty.
std::string Machine::NotReady(NodeId node) const {
  const RegisterValue& value = *s_.proposal->value;
  const Member* member = FindMember(value, node);
  if (!member) return "it is no member";
  if (node == Me()) return "";
  auto it = s_.peers.find(node);
  const bool heard = it != s_.peers.end() && it->second.heard_at && it->second.status_at &&
                     Since(now_, *it->second.heard_at) < T().election_max;
  if (!heard) return member->name + " is not heard";
  if (member->kind == MemberKind::kWitness || node == value.primary) return "";
  const NodeStatus& status = it->second.status;
  if (status.receiver != ReceiverState::kStreaming) return member->name + " does not stream";
  auto primary = s_.peers.find(value.primary);
  if (primary == s_.peers.end() || !primary->second.status_at) return "the primary is not heard";
  const Lsn goal = primary->second.status.flush_lsn;
  if (goal.value > status.flush_lsn.value + kCaughtUpBytes)
    return member->name + " is not caught up";
  return "";
}

// What speaks against a change that the register itself would allow, or empty.
std::string Machine::Unwise(const Change& change) const {
  const RegisterValue& value = *s_.proposal->value;
  const auto* settings = std::get_if<ChangeSettings>(&change);
  const auto primary = s_.peers.find(value.primary);
  const bool known = primary != s_.peers.end() && primary->second.status_at;
  if (settings && settings->mode && *settings->mode != Mode::kObserve && !Enforces(value)) {
    const NodeStatus* status = known ? &primary->second.status : nullptr;
    if (!status || status->db != DbState::kPrimary || status->timeline != value.timeline)
      return "the primary, " + Name(value.primary) + ", is not known to be out of recovery on " +
             "timeline " + std::to_string(value.timeline.value);
  }
  const bool told = value.primary == Me() || KnowsCommit(value.primary);
  if (std::holds_alternative<DropCluster>(change) && !told)
    return "the primary, " + Name(value.primary) +
           ", has not said yet that it knows of mode observe";
  const auto* failover = std::get_if<StartFailover>(&change);
  if (failover && failover->target != kNoNode && NotReady(value.primary).empty())
    return NotReady(failover->target);
  const auto* voters = std::get_if<ChangeVoters>(&change);
  if (!voters) return "";
  for (const NodeId node : voters->voters) {
    if (HasVote(value, node)) continue;
    if (std::string why = NotReady(node); !why.empty()) return why;
  }
  return "";
}

// Rule 7: a change of voters is final once every lease is over that an old majority alone may have
// granted. A voter that knows of the change grants no more to a primary that does not.
void Machine::VotersTick() {
  const RegisterValue& value = *s_.proposal->value;
  if (!s_.proposal_committed || s_.failover.stage != Failover::Stage::kNone) return;
  if (!value.voters_prev.empty()) {
    std::set<NodeId> know;
    for (const auto& [id, peer] : s_.peers)
      if (KnowsCommit(id)) know.insert(id);
    if (!s_.joint_since && Quorum(value, know)) s_.joint_since = now_;
    if (!s_.joint_since) return;
    const Timers longest = TimersFor(value.longest_ttl_ms, value.drift_permille, Policy{});
    if (policy_.joint_waits && Since(now_, *s_.joint_since) < longest.hold_off) return;
    RegisterValue next = value;
    next.version.value++;
    next.voters_prev.clear();
    Tell(NoteKind::kRegisterChanged, value.epoch, kNoNode, "the change of voters is final",
         "version " + std::to_string(next.version.value));
    return Propose(std::move(next));
  }
  if (!value.auto_voters || !value.active || VoterCount(value) + 2 > kMaxVoters) return;
  std::vector<NodeId> ready;
  std::vector<NodeId> voters;
  for (const Member& member : value.members) {
    if (member.voter)
      voters.push_back(member.id);
    else if (ready.size() < 2 && NotReady(member.id).empty())
      ready.push_back(member.id);
  }
  if (ready.size() < 2) return;
  voters.insert(voters.end(), ready.begin(), ready.end());
  On(Me(), Request{0, value.epoch, value.version, s_.durable.boot_count, ChangeVoters{voters},
                   s_.ballot, s_.heartbeat_seq});
}

// A removed member is told so; nobody waits for its answer.
void Machine::SayFarewell() {
  if (s_.farewell.left <= 0 || !s_.proposal_committed || s_.heartbeat_sent != now_) return;
  s_.farewell.left--;
  actions_.send.push_back({Me(), kNoNode, Commit{*s_.proposal, s_.heartbeat_seq}, s_.farewell.to});
}

}  // namespace orchestra
