#include "pg/consensus_worker.h"

#include <algorithm>
#include <cstring>

#include "core/frame.h"
#include "pg/board_io.h"
#include "pg/faults.h"
#include "pg/guard.h"
#include "pg/observe.h"
#include "pg/receiver.h"
#include "pg/shared.h"
#include "pg/storage.h"
#include "pg/version.h"
#include "pg/worker.h"

namespace orchestra::pg {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr Micros kBusyWait = milliseconds(3);
constexpr Micros kBoardPeriod = milliseconds(100);
constexpr Micros kRetry = seconds(1);
constexpr Micros kShowRefusal = seconds(10);

std::uint64_t RandomNumber() {
  std::uint64_t number = 0;
  do {
    unsigned char bytes[sizeof number];
    if (!net::RandomBytes(bytes, sizeof bytes)) throw Fail(ERRCODE_INTERNAL_ERROR, "no randomness");
    std::memcpy(&number, bytes, sizeof number);
  } while (number == 0);
  return number;
}

}  // namespace

ConsensusWorker::ConsensusWorker() {
  now_ = Now();
  settings_ = ReadSettings();
  policy_.highest_target = !faults::PromoteAny();
  policy_.fence_receiver = !faults::NoFence();
  decision_ = DecideBoot(ReadSurroundings());
  ResetCommands();
  Booted();
  ConfigureNet();
  Introduce();
}

int ConsensusWorker::fd() const { return net_ ? net_->fd() : -1; }

// Rule 3: every start raises boot_count durably before this node says anything.
bool ConsensusWorker::Booted() {
  if (booted_) return true;
  if (persist_failed_at_ != Instant{} && Since(now_, persist_failed_at_) < kRetry) return false;
  State fresh = Boot(decision_, now_, RandomNumber());
  if (fresh.durable.boot_count != BootCount{}) {
    persist_problem_ = WriteVote(EncodeDurable(fresh.durable));
    if (persist_problem_.empty() && decision_.write_marker)
      persist_problem_ = WriteMarker(EncodeMarker(*decision_.marker));
    if (!persist_problem_.empty()) {
      persist_failed_at_ = now_;
      return false;
    }
  }
  state_ = std::move(fresh);
  booted_ = true;
  return true;
}

void ConsensusWorker::Introduce() {
  if (!incarnation_) incarnation_ = Incarnation{RandomNumber()};
  const Surroundings here = ReadSurroundings();
  Introduced me;
  me.self.name = settings_.node_name;
  me.self.peer = settings_.peer_address;
  me.self.server = settings_.server;
  me.identity.incarnation = *incarnation_;
  me.identity.system_identifier = here.system_identifier;
  me.identity.inode = here.inode;
  me.identity.birth_time_us = here.birth_time_us;
  Apply(me);
}

void ConsensusWorker::ConfigureNet() {
  net_.reset();
  net_problem_.clear();
  net_tried_at_ = Instant{};
  if (settings_.secret_file.empty()) {
    if (state_.phase != Phase::kUnconfigured)
      net_problem_ = "orchestra.secret_file is not set: the peer port stays closed";
    return;
  }
  auto secret = net::LoadSecret(settings_.secret_file);
  if (auto* error = std::get_if<std::string>(&secret)) {
    net_problem_ = *error;
    return;
  }
  if (net_problem_ = PrepareStorage(); !net_problem_.empty()) return;
  net::PeerConfig config;
  config.bind = settings_.peer_bind;
  config.name = settings_.node_name;
  config.secret = std::move(std::get<net::Secret>(secret));
  net_ = std::make_unique<net::PeerNet>(std::move(config));
}

void ConsensusWorker::Reload() {
  const Settings old = settings_;
  settings_ = ReadSettings();
  if (old.peer_bind != settings_.peer_bind || old.secret_file != settings_.secret_file || !net_)
    ConfigureNet();
  else
    RereadSecret();
  Introduce();
  publish_now_ = true;
}

// The file may hold another secret by now. That it cannot be read any more is to be told, and no
// reason to leave the cluster.
void ConsensusWorker::RereadSecret() {
  auto secret = net::LoadSecret(settings_.secret_file);
  net_problem_.clear();
  if (auto* error = std::get_if<std::string>(&secret))
    net_problem_ = *error;
  else if (!net_->Uses(std::get<net::Secret>(secret)))
    ConfigureNet();
}

void ConsensusWorker::Stopping() {
  if (stopping_) return;
  stopping_ = true;
  ObserveNode();
  Publish();
}

// ---------------------------------------------------------------- one step

bool ConsensusWorker::Apply(const Event& event) {
  const State before = state_;
  Actions actions = Step(state_, event, now_, policy_);
  if ((actions.persist || actions.write_marker) && !Persist(actions, before)) return false;
  Performer::PublishGate(DutiesOf(state_, now_, policy_));
  for (const Envelope& envelope : actions.send) Send(envelope);
  for (const Note& note : actions.notes) {
    notes_.Add(note, CommittedValue(state_), settings_.node_name, now_.monotonic_raw);
    publish_now_ = true;
  }
  return true;
}

// A step that cannot be made durable did not happen: to the protocol a lost message.
bool ConsensusWorker::Persist(const Actions& actions, const State& before) {
  const bool resting =
      persist_failed_at_ != Instant{} && Since(now_, persist_failed_at_) < milliseconds(200);
  if (!resting) {
    persist_problem_.clear();
    if (actions.persist) persist_problem_ = WriteVote(EncodeDurable(state_.durable));
    if (persist_problem_.empty() && actions.write_marker)
      persist_problem_ = WriteMarker(EncodeMarker(*state_.marker));
    now_ = Now();  // an fsync may have taken its time
    if (persist_problem_.empty()) {
      persist_failed_at_ = Instant{};
      return true;
    }
    persist_failed_at_ = now_;
    publish_now_ = true;
  }
  state_ = before;
  return false;
}

// A step that could not be stored may never come again: only another write tells that the disk
// takes writes again.
void ConsensusWorker::RetryPersist() {
  if (persist_failed_at_ == Instant{} || Since(now_, persist_failed_at_) < kRetry) return;
  if (state_.phase != Phase::kConfigured && state_.phase != Phase::kPending) return;
  persist_problem_ = WriteVote(EncodeDurable(state_.durable));
  persist_failed_at_ = persist_problem_.empty() ? Instant{} : now_;
  publish_now_ = true;
}

void ConsensusWorker::Send(const Envelope& envelope) {
  if (!net_) return;
  Frame frame;
  const RegisterValue* value = CommittedValue(state_);
  if (!value && state_.durable.accepted) value = state_.durable.accepted->value.get();
  if (state_.creating) value = &state_.creating->value;
  frame.header.cluster = value           ? value->cluster_id
                         : state_.marker ? state_.marker->cluster_id
                                         : ClusterId{};
  frame.header.node = envelope.from;
  frame.header.to = envelope.to;
  frame.header.incarnation =
      state_.phase == Phase::kUnconfigured ? *incarnation_ : state_.durable.identity.incarnation;
  frame.header.boot = state_.durable.boot_count;
  frame.message = envelope.message;
  const std::string bytes = EncodeFrame(frame);
  if (envelope.to != kNoNode) {
    if (const std::optional<Address> to = PeerAddress(state_, envelope.to))
      net_->Send(now_.monotonic_raw, *to, bytes);
    return;
  }
  if (envelope.at.port != 0) return net_->Send(now_.monotonic_raw, envelope.at, bytes);
  for (const Address& seed : settings_.seeds)
    if (seed != settings_.peer_address) net_->Send(now_.monotonic_raw, seed, bytes);
}

// ---------------------------------------------------------------- a turn

Micros ConsensusWorker::Turn() {
  now_ = Now();
  if (!booted_) {
    if (!Booted()) {
      Publish();
      return kRetry;
    }
    Introduce();
  }
  RetryPersist();
  ReceiveFrames();
  ObserveNode();
  Commands();
  const RegisterValue* value = CommittedValue(state_);
  const Timers timers = value ? TimersFor(value->lease_ttl_ms, value->drift_permille, Policy{})
                              : TimersFor(2000, 100, Policy{});
  if (Since(now_, ticked_at_) >= timers.tick) {
    ticked_at_ = now_;
    Apply(Tick{});
  }
  std::vector<std::string> slots;
  for (const auto& [id, peer] : state_.peers)
    if (id != Self(state_) && !peer.status.slot.empty()) slots.push_back(peer.status.slot);
  const auto read = performer_.Perform(DutiesOf(state_, now_, policy_), state_.view, slots, now_);
  if (read && !Apply(*read)) performer_.ScanAgain();
  Publish();
  Micros wait = performer_.busy() ? kBusyWait : timers.tick - Since(now_, ticked_at_);
  if (net_) wait = std::min(wait, net_->NextTimeout(now_.monotonic_raw));
  return std::max(wait, Micros{1000});
}

void ConsensusWorker::ReceiveFrames() {
  if (!net_) return;
  if (!net_->listening() && Since(now_, net_tried_at_) >= kRetry) {
    net_tried_at_ = now_;
    const net::NetError error = net_->Start();
    net_problem_ = error.text;
    pg_atomic_write_u32(&shared->workers.peer_port_error, static_cast<uint32>(error.code));
    publish_now_ = true;
  }
  std::vector<net::Incoming> arrived;
  net_->Poll(now_.monotonic_raw, &arrived);
  // What was read may have been sent after this turn began: a promise counts from its receipt.
  now_ = Now();
  TellRefusals();
  for (const net::Incoming& in : arrived) {
    const FrameHeader& header = in.frame.header;
    const RegisterValue* value = CommittedValue(state_);
    // Two nodes with one configuration: the number must belong to the name.
    if (value && header.node != kNoNode && NameOf(*value, header.node) != in.name) continue;
    Apply(Received{{header.node, header.to, in.frame.message}, header.cluster});
  }
}

// Ports differ from attempt to attempt: without digits the same refusal reads the same.
void ConsensusWorker::TellRefusals() {
  const net::PeerIncident& incident = net_->last_incident();
  if (incident.text.empty() || incident.at == refusal_told_) return;
  refusal_told_ = incident.at;
  std::string key = incident.text;
  std::erase_if(key, [](char c) { return c >= '0' && c <= '9'; });
  notes_.Repeat(
      key,
      "orchestra: peer_refused node=" + settings_.node_name + " reason=\"" + incident.text + "\"",
      now_.monotonic_raw);
}

void ConsensusWorker::ObserveNode() {
  MemberNames names;
  const RegisterValue* value = CommittedValue(state_);
  if (value)
    for (const Member& member : value->members) names.emplace_back(member.name, member.id);
  LocalView view = Observe(names);
  NodeStatus& status = view.status;
  if (stopping_) status.db = DbState::kStopping;
  const Duties duties = DutiesOf(state_, now_, policy_);
  status.gate_open = duties.gate_open;
  status.quarantined = state_.phase == Phase::kQuarantined;
  status.upstream = duties.upstream;
  status.fenced = state_.durable.fenced;
  if (HoldsLease(state_, now_)) {
    const Micros left = std::min(state_.lease_until.boottime - now_.boottime,
                                 state_.lease_until.monotonic_raw - now_.monotonic_raw);
    status.lease_left_ms = left.count() / 1000;
  }
  status.version = kVersion;
  status.problem = Problem().substr(0, kMaxProblemBytes);
  Apply(Observed{std::move(view)});
}

std::string ConsensusWorker::Problem() const {
  std::string text;
  auto add = [&text](const std::string& more) {
    if (!more.empty()) text += (text.empty() ? "" : "; ") + more;
  };
  if (state_.phase == Phase::kQuarantined) add(state_.quarantine_reason);
  if (!booted_) add(decision_.reason);
  if (state_.phase != Phase::kConfigured) add(state_.join_problem);
  add(persist_problem_);
  add(settings_.problem);
  add(net_problem_);
  if (net_ && !net_->last_incident().text.empty() &&
      now_.monotonic_raw - net_->last_incident().at < kShowRefusal)
    add(net_->last_incident().text);
  add(performer_.problem());
  if (booted_ && state_.phase == Phase::kConfigured && state_.view.status.db == DbState::kStandby) {
    const RegisterValue* value = CommittedValue(state_);
    if (value && value->primary != Self(state_) && state_.durable.fenced < value->epoch &&
        !MayFollow(state_))
      add("this node's WAL is not on the cluster's lineage: it must be made anew from the primary");
    if (state_.view.status.receiver != ReceiverState::kStreaming) add(ReceiverError());
  }
  if (booted_ && state_.view.status.db == DbState::kPrimary && CommittedValue(state_) &&
      CommittedValue(state_)->primary != Self(state_))
    add("this server is out of recovery but the register names " +
        NameOf(*CommittedValue(state_), CommittedValue(state_)->primary) + " as primary");
  return text;
}

// ---------------------------------------------------------------- creation

std::string ConsensusWorker::StartCreation(const CreateRequest& request) {
  RegisterValue value;
  value.cluster_id = ClusterId{RandomNumber()};
  value.system_identifier = state_.introduced->identity.system_identifier;
  value.cluster_name = settings_.cluster_name;
  value.version = Version{1};
  value.lease_ttl_ms = request.lease_ttl_ms;
  std::uint16_t next_id = 1;
  for (const std::string& name : request.names) {
    Member member;
    if (name == settings_.node_name) {
      member = state_.introduced->self;
      value.primary = NodeId{next_id};
    } else {
      auto hello = state_.hellos.find(name);
      if (hello == state_.hellos.end()) return "node \"" + name + "\" has not said hello";
      member = hello->second.join.wanted;
    }
    member.id = NodeId{next_id++};
    member.voter = true;
    value.members.push_back(member);
  }
  const Ballot ballot{1, value.primary};
  value.epoch = EpochId{WriteId{ballot, value.version}};
  value.active = true;
  value.timeline = state_.view.status.timeline;
  value.sync = FixedSyncSet(value, value.primary);
  value.basis = BasisOf(value);
  value.lineage = {{value.timeline, value.epoch}};
  const std::string wrong = Validate(value);
  if (!wrong.empty()) return wrong;
  Identity identity = state_.introduced->identity;
  identity.node = value.primary;
  Apply(CreateCluster{value, identity});
  return "";
}

void ConsensusWorker::FinishCreation(const CommandAnswer& answer) {
  creating_.reset();
  if (state_.creating) Apply(AbandonCreation{});
  FinishCommand(answer);
}

// The primary may commit, and every other member said something as a configured node.
bool ConsensusWorker::CreationSettled() const {
  if (state_.phase != Phase::kConfigured || !state_.view.status.gate_open) return false;
  for (const Member& member : CommittedValue(state_)->members) {
    auto it = state_.peers.find(member.id);
    if (it == state_.peers.end() || !it->second.status_at) return false;
  }
  return true;
}

void ConsensusWorker::Commands() {
  if (!creating_) {
    creating_ = TakeCommand();
    if (!creating_) return;
    const std::string wrong = StartCreation(*creating_);
    if (!wrong.empty())
      FinishCreation({ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                      "cannot create the cluster: " + wrong, "Nothing has changed."});
    return;
  }
  if (CreationSettled()) return FinishCreation({});
  const bool late = now_.monotonic_raw > creating_->deadline;
  if (!late && !CommandAbandoned()) return;
  if (state_.phase == Phase::kConfigured)
    return FinishCreation({ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                           "the cluster is created, but its primary may not commit yet",
                           "SELECT * FROM orchestra_status() says what it waits for."});
  std::string missing;
  for (const Member& member :
       state_.creating ? state_.creating->value.members : std::vector<Member>{})
    if (member.name != settings_.node_name && !state_.create_acks.contains(member.id))
      missing += (missing.empty() ? "" : ", ") + member.name;
  FinishCreation({ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                  "these nodes did not store the register: " + missing, "Nothing has changed."});
}

// ---------------------------------------------------------------- board

void ConsensusWorker::Publish() {
  if (!publish_now_ && Since(now_, published_at_) < kBoardPeriod) return;
  publish_now_ = false;
  published_at_ = now_;
  Board board;
  board.phase = booted_ ? state_.phase : decision_.phase;
  board.self = Self(state_);
  board.node_name = settings_.node_name;
  if (state_.heartbeat_heard && Since(now_, *state_.heartbeat_heard) < seconds(2))
    board.coordinator = state_.coordinator;
  board.is_coordinator = IsCoordinator(state_);
  board.gate_open = state_.view.status.gate_open;
  board.written_at = now_.monotonic_raw;
  if (const RegisterValue* value = CommittedValue(state_)) board.value = *value;
  board.fenced = state_.durable.fenced;
  board.finding = Analyze(TopologyOf(state_, now_));
  board.problem = Problem();
  auto mine = [&](Member member) {
    board.nodes.push_back(
        {std::move(member), state_.view.status, now_.monotonic_raw, true, state_.durable.fenced});
  };
  if (board.value) {
    for (const Member& member : board.value->members) {
      if (member.id == Self(state_)) {
        mine(member);
        continue;
      }
      BoardNode node;
      node.member = member;
      auto it = state_.peers.find(member.id);
      if (it != state_.peers.end() && it->second.status_at) {
        node.status = it->second.status;
        node.seen_at = it->second.status_at->monotonic_raw;
        node.fenced = it->second.status.fenced;
      }
      board.nodes.push_back(std::move(node));
    }
  } else {
    Member self;
    self.name = settings_.node_name;
    self.peer = settings_.peer_address;
    self.server = settings_.server;
    mine(self);
    for (const auto& [name, hello] : state_.hellos) {
      BoardNode node;
      node.member = hello.join.wanted;
      node.seen_at = hello.at.monotonic_raw;
      board.nodes.push_back(std::move(node));
    }
  }
  PublishBoard(board);
}

}  // namespace orchestra::pg

extern "C" {
PGDLLEXPORT void orchestra_consensus_main(Datum);
}

void orchestra_consensus_main(Datum) {
  using namespace orchestra;
  using namespace orchestra::pg;
  WorkerBoundary("orchestra consensus", [] {
    StartWorker(&shared->workers.consensus_pid, AtExit::kCloseGate);
    ConsensusWorker worker;
    WaitSet wait;
    wait.Watch(worker.fd());
    while (!StopRequested()) {
      if (TakeReload()) {
        worker.Reload();
        wait.Watch(worker.fd());
      }
      wait.Wait(worker.Turn());
    }
    worker.Stopping();
  });
  proc_exit(1);
}
