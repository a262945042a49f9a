// How a cluster comes to be, and how a node joins one (design, section 6 "Bootstrapping").
//
// Creation changes nothing that gates anybody until every named voter has stored version 1: the
// others are merely pending until the creator, last of all, stores it too and commits it.
#include <algorithm>
#include <utility>

#include "core/machine.h"

namespace orchestra {

// Only a standby becomes a member of a cluster that it did not form; a witness has no server.
bool Machine::FitsKind(MemberKind kind) const {
  return s_.view.status.db == (kind == MemberKind::kWitness ? DbState::kNone : DbState::kStandby);
}

bool Machine::NamesMe(const Member& member) const {
  return s_.introduced && member.name == s_.introduced->self.name &&
         member.peer == s_.introduced->self.peer && member.server == s_.introduced->self.server;
}

void Machine::OnCreateCluster(const CreateCluster& create) {
  const std::string wrong = Validate(create.value);
  if (s_.phase == Phase::kConfigured || s_.phase == Phase::kQuarantined || !wrong.empty()) {
    Tell(NoteKind::kCreationFailed, create.value.epoch, kNoNode,
         wrong.empty() ? "this node belongs to a cluster already" : wrong);
    return;
  }
  s_.creating = create;
  if (Enforces(create.value)) s_.creating->value.primary_boot = BootCount{1};  // see CreationDone
  for (Member& member : s_.creating->value.members) {
    auto hello = s_.hellos.find(member.name);
    if (member.id == create.identity.node)
      member.incarnation = create.identity.incarnation;
    else if (hello != s_.hellos.end())
      member.incarnation = hello->second.join.incarnation;
  }
  s_.create_acks.clear();
  s_.create_sent = Instant{};
  CreationTick();
}

void Machine::CreationTick() {
  if (!s_.creating) return;
  if (Since(now_, s_.create_sent) < std::chrono::milliseconds(200)) return;
  s_.create_sent = now_;
  const RegisterValue& value = s_.creating->value;
  const Written written{WriteId{Ballot{1, Me()}, value.version},
                        std::make_shared<const RegisterValue>(value)};
  for (const Member& member : value.members)
    if (member.id != Me() && !s_.create_acks.contains(member.id)) Send(member.id, Create{written});
  CreationDone();  // a cluster of one
}

// "Accepted by all named voters, before the first lease": the creator is the last of them.
void Machine::CreationDone() {
  const RegisterValue& value = s_.creating->value;
  if (s_.create_acks.size() + 1 < value.members.size()) return;
  const Written written{WriteId{Ballot{1, Me()}, value.version},
                        std::make_shared<const RegisterValue>(value)};
  Durable& d = Write();
  d = Durable{};
  d.identity = s_.creating->identity;
  d.boot_count = BootCount{1};
  d.promised = written.write.ballot;
  d.accepted = d.committed = written;
  d.max_ttl_granted_ms = value.lease_ttl_ms;
  d.wrote_epoch = d.wal_epoch = value.epoch;
  actions_.write_marker = true;
  s_.marker = Marker{value.cluster_id, value.system_identifier, value.cluster_name};
  s_.creating.reset();
  s_.phase = Phase::kConfigured;
  s_.role = Role::kCoordinator;
  s_.ballot = written.write.ballot;
  s_.proposal = written;
  s_.proposal_committed = true;
  s_.led_since = s_.leased_at = now_;
  s_.newest_epoch_seen = value.epoch;
  s_.coordinator = Me();
  Tell(NoteKind::kConfigured, value.epoch, Me(), "cluster " + value.cluster_name,
       "ask for the first lease");
  Heartbeat();
}

void Machine::On(NodeId from, const Create& m) {
  if (s_.phase == Phase::kConfigured || s_.phase == Phase::kQuarantined || !s_.introduced) return;
  const RegisterValue& value = *m.written.value;
  if (value.system_identifier != s_.introduced->identity.system_identifier) return;
  if (m.written.write.ballot.node != from) return;
  const Member* me = nullptr;
  for (const Member& member : value.members)
    if (NamesMe(member)) me = &member;
  if (!me || !FitsKind(me->kind)) return;
  const bool same = s_.phase == Phase::kPending && s_.durable.accepted == m.written;
  if (!same) {
    Durable& d = Write();
    d = Durable{};
    d.identity = s_.introduced->identity;
    d.identity.node = me->id;
    if (me->incarnation != Incarnation{}) d.identity.incarnation = me->incarnation;
    d.boot_count = BootCount{1};
    d.promised = m.written.write.ballot;
    d.accepted = m.written;
    d.max_ttl_granted_ms = value.lease_ttl_ms;
    d.wal_epoch = value.epoch;
    s_.phase = Phase::kPending;
  }
  Send(from, Accepted{m.written.write});
}

// ---------------------------------------------------------------- joining

void Machine::JoinTick() {
  if (!s_.introduced || Configured()) return;
  if (Since(now_, s_.join_answered) > std::chrono::seconds(5)) s_.join_problem.clear();
  const bool clone = s_.phase == Phase::kQuarantined && s_.marker && !s_.expelled;
  if (s_.phase == Phase::kQuarantined && !clone) return;
  if (!FitsKind(s_.introduced->self.kind)) return;
  if (Since(now_, s_.join_sent) < std::chrono::seconds(1)) return;
  s_.join_sent = now_;
  Send(kNoNode, Join{s_.introduced->self, s_.introduced->identity.system_identifier,
                     s_.introduced->identity.incarnation});
}

void Machine::On(NodeId, const Join& m) {
  if (!Configured()) {
    if (s_.hellos.size() < kMaxMembers || s_.hellos.contains(m.wanted.name))
      s_.hellos[m.wanted.name] = Hello{m, now_};
    return;
  }
  if (!IsCoordinator(s_) || s_.failover.stage != Failover::Stage::kNone) return;
  const RegisterValue& value = *s_.proposal->value;
  if (value.dropped) return;
  if (m.system_identifier != value.system_identifier) return Decline(m);
  RegisterValue next = value;
  next.version.value++;
  Member member = m.wanted;
  member.voter = member.sync_candidate = false;
  member.incarnation = m.incarnation;
  if (const Member* namesake = FindMember(value, m.wanted.name)) {
    if (!MayReplace(*namesake, m)) return Decline(m);
    member.id = namesake->id;
    for (Member& each : next.members)
      if (each.id == member.id) each = member;
  } else {
    if (value.members.size() >= kMaxMembers) return Decline(m);
    next.highest_id = std::max(next.highest_id, next.members.back().id.value);
    member.id = NodeId{++next.highest_id};
    next.members.push_back(member);
  }
  if (!value.active || !Validate(next).empty()) return;
  Tell(NoteKind::kJoined, value.epoch, kNoNode, member.name + " becomes a member without a vote");
  Propose(std::move(next));
}

// A member that was made anew takes its own place, if nothing is counted on it and nobody else
// lives there: a live incumbent keeps its name.
bool Machine::MayReplace(const Member& namesake, const Join& m) const {
  const RegisterValue& value = *s_.proposal->value;
  const bool alive = Lives(namesake.id);
  const bool counted = value.sync.Has(namesake.id) || BasisOf(value).sync.Has(namesake.id) ||
                       HasVote(value, namesake.id) || namesake.id == value.primary;
  return namesake.incarnation != m.incarnation && !counted && !alive &&
         Since(now_, s_.led_since) >= kIncumbentLives && namesake.peer == m.wanted.peer &&
         namesake.server == m.wanted.server && namesake.kind == m.wanted.kind;
}

// The register tells a node that it does not name why.
void Machine::Decline(const Join& m) {
  actions_.send.push_back({Me(), kNoNode, Commit{*s_.proposal, s_.heartbeat_seq}, m.wanted.peer});
}

std::string Machine::JoinProblem(const RegisterValue& value) const {
  const std::string cluster = "cluster \"" + value.cluster_name + "\"";
  if (value.system_identifier != s_.introduced->identity.system_identifier)
    return cluster + " is of another database system: make this node anew from its primary";
  if (s_.marker && s_.marker->cluster_id != value.cluster_id)
    return cluster + " is another one than that of the file orchestra/cluster";
  const std::string& name = s_.introduced->self.name;
  const Member* namesake = FindMember(value, name);
  if (!namesake) return value.members.size() < kMaxMembers ? "" : cluster + " is full";
  if (!NamesMe(*namesake))
    return cluster + " has a member named " + name + " already, at " + namesake->server.host + ":" +
           std::to_string(namesake->server.port) + ": set another orchestra.node_name";
  if (!namesake->voter) return "";
  return cluster + " counts on the vote of " + name +
         ", which is lost: a new clone may join under another orchestra.node_name";
}

// A clone that asked to join learns that the register names it. A voter that lost its vote file is
// named too, but must not vote again: it stays quarantined.
void Machine::BecomeMember(const Written& w) {
  if (!s_.introduced || s_.expelled) return;
  s_.join_problem = JoinProblem(*w.value);
  s_.join_answered = now_;
  if (!FitsKind(s_.introduced->self.kind)) return;
  if (!s_.join_problem.empty()) return;
  for (const Member& member : w.value->members) {
    if (!NamesMe(member) || HasVote(*w.value, member.id)) continue;
    if (member.incarnation != s_.introduced->identity.incarnation) continue;
    Durable& d = Write();
    d = Durable{};
    d.identity = s_.introduced->identity;
    d.identity.node = member.id;
    d.boot_count = BootCount{1};
    d.promised = w.write.ballot;
    d.committed = w;
    d.max_ttl_granted_ms = w.value->lease_ttl_ms;
    d.wal_epoch = w.value->epoch;
    s_.phase = Phase::kConfigured;
    s_.quarantine_reason.clear();
    s_.marker = Marker{w.value->cluster_id, w.value->system_identifier, w.value->cluster_name};
    actions_.write_marker = true;
    Tell(NoteKind::kConfigured, w.value->epoch, Me(), "joined as a member without a vote");
    return;
  }
}

}  // namespace orchestra
