// Who may hold a lease, and whose votes count.
#include <algorithm>

#include "invariants.h"
#include "world.h"

namespace orchestra::sim {
namespace {

// What a peer promised is written down with the next STATUS of a second without such a write, and a
// STATUS comes every second.
constexpr Micros kRemembersWithin = Seconds(8);

std::string Of(NodeId id) { return "n" + std::to_string(id.value); }

template <typename M>
const M* In(const Event& event) {
  const auto* received = std::get_if<orchestra::Received>(&event);
  return received ? std::get_if<M>(&received->envelope.message) : nullptr;
}

template <typename Map>
std::set<NodeId> Keys(const Map& map) {
  std::set<NodeId> keys;
  for (const auto& [key, value] : map) keys.insert(key);
  return keys;
}

}  // namespace

// ---------------------------------------------------------------- before and after a step

void Observer::Stepping(const Node& node, const Event& event) {
  promise_.reset();
  if (const Release* release = In<Release>(event)) {
    promise_ = {node.state.promise_until, node.state.last_request};
    released_ = {release->boot, release->seq};
  }
}

void Observer::AfterStep(const Node& node, bool persisted) {
  if (!persisted && world_.config.policy.durable_fence && node.state.phase != Phase::kQuarantined &&
      node.stated && !(*node.stated == node.state.durable)) {
    Fail("C1", Of(node.id) + " changed what is durable without saying so");
  }
  if (promise_ && promise_->second > released_) {
    world_.coverage.releases_late++;
    if (!(Latest(node.state.promise_until, promise_->first) == node.state.promise_until))
      Fail("I13", Of(node.id) + " gave up a promise for a RELEASE of older requests");
  }
  // Nobody that it asked remembers what this disk has lost (whoever does refuses it, see Received):
  // outside of what is claimed.
  const bool counts = node.state.role == Role::kCoordinator || world_.Holds(node);
  if (counts && Outdated(node)) beyond_claims_ = true;
  CheckLeases(node);
  CheckSetting(node);
}

void Observer::GateSet(const Node& node) {
  if (world_.GateOpen(node) && node.state.phase != Phase::kConfigured)
    Fail("I9", Of(node.id) + " has an open gate as no member");
}

void Observer::CheckLeases(const Node& node) {
  if (!world_.Holds(node)) {
    if (const auto held = held_until_.find(node.id); held != held_until_.end()) {
      if (!BeforeOnEveryClock(world_.ClockOf(node), held->second)) world_.coverage.lease_expiries++;
      held_until_.erase(held);
    }
    return;
  }
  for (const Node& other : world_.nodes) {
    if (other.id != node.id && world_.Holds(other) && ClusterOf(other) == ClusterOf(node))
      Fail("I1", Of(std::min(other.id, node.id)) + " and " + Of(std::max(other.id, node.id)) +
                     " hold a lease");
  }
  const ValuePtr* epoch = EpochOf(node, node.state.lease_epoch);
  if (!epoch || (*epoch)->primary != Self(node.state)) {
    Fail("I6", Of(node.id) + " holds a lease of epoch " + ToText(node.state.lease_epoch) +
                   ", which was not chosen or names another primary");
  }
  held_until_[node.id] = node.state.lease_until;
}

void Observer::Sent(const Node& node, const Envelope& envelope) {
  const Message& message = envelope.message;
  const Phase phase = node.state.phase;
  // A disk that is on another machine than it knows of has not been confirmed.
  const bool moved = node.vote && node.vote->identity.machine != node.disk.hardware.machine;
  if (phase == Phase::kUnconfigured || phase == Phase::kQuarantined || node.state.suspect ||
      moved) {
    const auto* lease = std::get_if<LeaseAck>(&message);
    if (std::holds_alternative<PreVoteOk>(message) || std::holds_alternative<Promise>(message) ||
        std::holds_alternative<Accepted>(message) || (lease && lease->granted)) {
      Fail("I9", Of(node.id) + " sent " + NameOf(message) + " without a valid identity");
    }
  }
  if (const auto* lease = std::get_if<LeaseAck>(&message); lease && !lease->granted)
    world_.coverage.nonces_only++;
  if (const auto* vote = std::get_if<PreVote>(&message); vote && vote->as_holder)
    world_.coverage.holder_campaigns++;
  if (const auto* accept = std::get_if<Accept>(&message)) NoteAgreement(accept->written);
}

// ---------------------------------------------------------------- identity

// A disk knows all that its identity voted, or it is an older state of it. What counts as a vote is
// what a voter must not forget.
bool Observer::Outdated(const Node& node) const {
  if (!node.vote) return false;
  const auto made = votes_made_.find(node.vote->identity.incarnation);
  return made != votes_made_.end() && node.disk.votes < made->second;
}

void Observer::Voted(Node& node, const std::optional<Durable>& before) {
  const Durable& now = *node.vote;
  const bool same = before && before->identity.incarnation == now.identity.incarnation;
  const bool voted = !same || before->promised != now.promised ||
                     before->accepted != now.accepted || before->fenced != now.fenced;
  std::uint64_t& made = votes_made_[now.identity.incarnation];
  if (!same) node.disk.votes = made;
  if (voted && node.disk.votes == made) node.disk.votes = ++made;
}

Observer::Tally Observer::TallyOf(const State& s) {
  return {Keys(s.promises),
          s.proposal_acks,
          Keys(s.grants),
          Keys(s.failover.positions),
          s.durable.promised,
          s.durable.accepted ? s.durable.accepted->write : WriteId{},
          s.failover.stage != Failover::Stage::kNone};
}

void Observer::Receiving(const Node& node, const orchestra::Received& received,
                         const Sender& from) {
  const Envelope& envelope = received.envelope;
  judging_ = from.outdated;
  if (judging_) tally_ = TallyOf(node.state);
  const auto* fenced = std::get_if<Fenced>(&envelope.message);
  if (fenced && fenced->position && fenced->position->exact &&
      fenced->ballot.node == Self(node.state)) {
    counted_[{fenced->ballot, envelope.from}].insert(fenced->position->end);
  }
}

// What the node knows by now.
void Observer::Told(const Node& node, const orchestra::Received& received) {
  const Message& message = received.envelope.message;
  if (const auto* commit = std::get_if<Commit>(&message)) {
    const auto& ended = commit->written.value->former_clusters;
    const ClusterId mine = ClusterOf(node);
    if (std::find(ended.begin(), ended.end(), mine) != ended.end()) told_of_end_[node.id] = mine;
  }
  const auto* status = std::get_if<Status>(&message);
  if (!status || status->status.suspect) return;
  ToldOf& told = told_[{node.id, received.incarnation}];
  told.boot = std::max(told.boot, received.boot);
  const LastVotes voted{status->status.promised, status->status.accepted};
  if (voted > told.newest) {
    if (world_.scheduler.now() - told.newest_at >= kRemembersWithin) told.voted = told.newest;
    told.newest = voted;
    told.newest_at = world_.scheduler.now();
  }
}

// Did the step give the sender's vote a meaning, or vote for the sender?
bool Observer::Counted(const Node& node, const orchestra::Received& received) const {
  const Message& message = received.envelope.message;
  const Tally now = TallyOf(node.state);
  const auto joined = [id = received.envelope.from](const std::set<NodeId>& then,
                                                    const std::set<NodeId>& since) {
    return since.contains(id) && !then.contains(id);
  };
  if (const auto* prepare = std::get_if<Prepare>(&message))
    return now.promised == prepare->ballot && now.promised != tally_.promised;
  if (const auto* accept = std::get_if<Accept>(&message))
    return now.accepted == accept->written.write && now.accepted != tally_.accepted;
  return (std::holds_alternative<Promise>(message) && joined(tally_.promises, now.promises)) ||
         (std::holds_alternative<Accepted>(message) && joined(tally_.acks, now.acks)) ||
         (std::holds_alternative<LeaseAck>(message) && joined(tally_.grants, now.grants)) ||
         (std::holds_alternative<Fenced>(message) &&
          (joined(tally_.positions, now.positions) || tally_.in_failover != now.in_failover));
}

void Observer::Received(const Node& node, const orchestra::Received& received, const Sender& from,
                        bool done) {
  if (done) Told(node, received);
  if (!from.outdated) return;
  const Message& message = received.envelope.message;
  const NodeId id = received.envelope.from;
  const bool more = ToldMore(node, received, from);
  const bool counted = Counted(node, received);
  // A grant that only goes on counts as well.
  const auto* ack = std::get_if<LeaseAck>(&message);
  const bool goes_on = done && ack && ack->granted && node.state.grants.contains(id);
  judging_ = false;
  // No node that lives remembers what this disk has lost: outside of what is claimed.
  if (!more && (counted || goes_on)) beyond_claims_ = true;
  if (counted && more)
    Fail("I14", Of(node.id) + " counts " + NameOf(message) + " of " + Of(id) +
                    ", though it was told of a newer state of that disk");
  if (postponed_) {
    const Violation last = *std::exchange(postponed_, std::nullopt);
    Fail(last.invariant, last.text);
  }
  (counted ? world_.coverage.outdated_counted : world_.coverage.outdated_ignored)++;
}

bool Observer::ToldMore(const Node& node, const orchestra::Received& received,
                        const Sender& from) const {
  const auto told = told_.find({node.id, received.incarnation});
  if (told == told_.end()) return false;
  const ToldOf& t = told->second;
  const bool remembered = world_.scheduler.now() - t.newest_at >= kRemembersWithin;
  return received.boot < t.boot || from.voted < (remembered ? t.newest : t.voted);
}

void Observer::RolledBack(const Node& node, const std::optional<Durable>& before) {
  if (before && before->committed) knew_[node.id] = before->committed->value->epoch;
  reports_.erase(node.vote->identity.node);
  // WAL that is missing where no vote is: nobody can tell. In mode observe nobody stops it.
  const RegisterValue* newest = Newest();
  const bool free =
      (node.vote->committed && !Manages(*node.vote)) || (newest && !Enforces(*newest));
  if (node.wal_lost && (free || !Outdated(node))) beyond_claims_ = true;
  // A lone voter asks nobody, nor does who was the only one at that time.
  const NodeId self = node.vote->identity.node;
  const auto alone = [self](const RegisterValue& value) {
    return VoterCount(value) == 1 && IsVoter(value, self);
  };
  const std::optional<Written>& knows = node.vote->accepted;
  if ((newest && alone(*newest)) || (knows && alone(*knows->value))) beyond_claims_ = true;
}

void Observer::Cloned(const Node&) {}

}  // namespace orchestra::sim
