// What an operator does.
#include <utility>

#include "core/change.h"
#include "world.h"

namespace orchestra::sim {

std::string World::CommandText(const Node& n, const Change& change) const {
  const RegisterValue* value = CommittedValue(n.state);
  return TextOf(value ? *value : RegisterValue{}, change);
}

// ---------------------------------------------------------------- commands

bool World::Ask(Node& n, Change change, Micros patience) {
  const std::string text = CommandText(n, change);
  if (!Apply(n, Command{++commands_, std::move(change), patience})) return false;
  coverage.commands++;
  if (tracing()) Trace(&n, "is asked for: " + text);
  return true;
}

bool World::AbandonAsking(Node& n) { return Apply(n, AbandonCommand{}); }

// As the shell does it: the gate is closed for every backend before the core may tell anybody.
bool World::Release(Node& n) {
  if (!Holds(n) || n.busy) return false;
  Trace(&n, "gives its lease up by call");
  n.server.gate_open = false;
  if (!Apply(n, ReleaseLease{})) return false;
  coverage.releases++;
  return true;
}

bool World::Force(Node& n) {
  if (!n.up || n.busy) return false;
  const ClusterId before = n.marker ? n.marker->cluster_id : ClusterId{};
  Trace(&n, "is made primary by force");
  ForceRecovery force;
  force.id = ++commands_;
  force.cluster = ClusterId{random.Next() | 1};
  force.reason = "the simulator's operator";
  if (!Apply(n, force)) return false;
  const RegisterValue* value = CommittedValue(n.state);
  const bool done = value && value->cluster_id == force.cluster && before != force.cluster;
  if (done) coverage.forced++;
  return done;
}

bool World::Confirm(Node& n) {
  if (!n.up || !n.state.suspect || n.busy) return false;
  Trace(&n, "is vouched for by an operator");
  if (!Apply(n, ConfirmIdentity{++commands_})) return false;
  coverage.confirmed++;
  return true;
}

bool World::MayConfirm(const Node& n) const {
  return n.up && n.state.suspect && !clones_ && !observer.Outdated(n);
}

bool World::IsNeeded(const Node& n) const {
  const RegisterValue* value = observer.Newest();
  const Member* member = value ? FindMember(*value, n.member_name) : nullptr;
  return member && (HasVote(*value, member->id) || member->sync_candidate ||
                    value->sync.Has(member->id) || BasisOf(*value).sync.Has(member->id));
}

bool World::ForceFence() {
  Node* n = Coordinator();
  if (!n || n->state.failover.stage != Failover::Stage::kNone) return false;
  if (!Enforces(*n->state.proposal->value)) return false;
  Trace(n, "begins a FENCE without cause");
  n->state.failover = Failover{};
  n->state.failover.stage = Failover::Stage::kFenceVoters;
  n->state.failover.recovery = "forced";
  n->state.failover.version = n->state.proposal->value->version;
  const RegisterValue& value = *n->state.proposal->value;
  n->state.failover.primary_end = n->state.peers[value.primary].status.flush_lsn;
  const Member& wanted = value.members[Pick(value.members.size())];
  if (!config.plain && wanted.voter && wanted.kind == MemberKind::kData)
    n->state.failover.wanted = wanted.id;
  coverage.fences_forced++;
  return true;
}

void World::ForceElection(Node& n) { n.state.election_at = Instant{}; }

// ---------------------------------------------------------------- new copies

bool World::AtWork(const Node& primary, const RegisterValue& value) const {
  return Holds(primary) && primary.server.running && primary.server.out_of_recovery &&
         primary.state.lease_epoch == value.epoch;
}

// A copy may replace the node's WAL only while nobody counts on what it holds: the primary of the
// epoch in force is at work, and no failover is under way anywhere.
bool World::MayCopy(const Node& n) const {
  const RegisterValue* value = observer.Newest();
  if (!value || !n.has_data() || n.spare) return false;
  const Node& primary = MachineOf(*value, value->primary);
  if (n.address == primary.address || !AtWork(primary, *value)) return false;
  for (const Node& other : nodes) {
    if (!other.up) continue;
    const State& s = other.state;
    const RegisterValue* known = CommittedValue(s);
    if (known && known->cluster_id != value->cluster_id) continue;
    const Durable& d = s.durable;
    if (d.fenced >= value->epoch || (d.accepted && d.accepted->value->epoch > value->epoch) ||
        s.failover.stage != Failover::Stage::kNone) {
      return false;
    }
  }
  return true;
}

// It knows the epoch in force, and cannot follow its primary, or says that it must be made anew.
bool World::MayRejoin(const Node& n) const {
  if (n.state.phase != Phase::kConfigured || !MayCopy(n)) return false;
  const RegisterValue& value = *observer.Newest();
  const RegisterValue* known = CommittedValue(n.state);
  if (!known || known->epoch != value.epoch) return false;
  return n.server.out_of_recovery || !MayFollow(n.state) ||
         !wal.IsAncestor(n.server.flushed, MachineOf(value, value.primary).server.flushed);
}

void World::Rejoin(Node& n) {
  const RegisterValue* value = observer.Newest();
  Crash(n);
  scheduler.After(Delay(Ms(300), Ms(1000)), [this, id = n.id, epoch = value->epoch] {
    Node& m = node(id);
    if (m.up || !m.vote) return;
    const RegisterValue* newest = observer.Newest();
    if (newest->epoch == epoch && MayRejoin(m)) {
      const Server& source = MachineOf(*newest, newest->primary).server;
      m.server.flushed = source.flushed;
      m.server.newest_timeline = source.newest_timeline;
      m.server.out_of_recovery = false;
      // What else the file may hold that was never known to be stored stays to be found.
      for (std::optional<Durable>* file : {&m.vote, &m.stated}) {
        if (!*file) continue;
        (*file)->wal_epoch = epoch;
        (*file)->wrote_epoch = EpochId{};
      }
      observer.Rejoined(m);
      coverage.rejoins++;
      Trace(&m, "is copied from the primary by an operator");
    }
    Start(m);
  });
}

// pg_basebackup: the marker comes with it, the vote file does not.
bool World::Renew(Node& n) {
  if (!MayCopy(n)) return false;
  const RegisterValue& value = *observer.Newest();
  const Node& primary = MachineOf(value, value.primary);
  Crash(n);
  Trace(&n, "is made anew as a copy of " + primary.name);
  n.vote.reset();
  n.stated.reset();
  n.disk.images.clear();
  n.disk.hardware.birth_time_us++;
  n.disk.votes = 0;
  n.marker = primary.marker;
  static_cast<DataDirectory&>(n.server) = primary.server;
  n.server.out_of_recovery = false;
  n.server.upstream = primary.address;
  observer.Rejoined(n);
  coverage.renewals++;
  Start(n);
  return true;
}

}  // namespace orchestra::sim
