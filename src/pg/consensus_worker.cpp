#include "pg/consensus_worker.h"

#include <algorithm>

#include "pg/faults.h"
#include "pg/guard.h"
#include "pg/observe.h"
#include "pg/shared.h"
#include "pg/storage.h"
#include "pg/sync_setting.h"
#include "pg/version.h"
#include "pg/worker.h"

namespace orchestra::pg {

using std::chrono::milliseconds;

namespace {

constexpr Micros kBusyWait = milliseconds(3);

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
  leave_ = leave_ || actions.leave;
  Performer::PublishGate(DutiesOf(state_, now_, policy_));
  for (const Envelope& envelope : actions.send) Send(envelope);
  for (const Note& note : actions.notes) {
    notes_.Add(note, CommittedValue(state_), settings_.node_name, now_.monotonic_raw);
    publish_now_ = true;
  }
  return true;
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
    Apply(StorePeers{});
  }
  const auto read =
      performer_.Perform(DutiesOf(state_, now_, policy_), state_.view, LookAround(), now_);
  if (read && !Apply(*read)) performer_.ScanAgain();
  TellRepaired();
  if (std::exchange(leave_, false)) Leave();
  Publish();
  Micros wait = performer_.busy() ? kBusyWait : timers.tick - Since(now_, ticked_at_);
  if (net_) wait = std::min(wait, net_->NextTimeout(now_.monotonic_raw));
  return std::max(wait, Micros{1000});
}

void ConsensusWorker::TellRepaired() {
  const std::string what = TakeRepaired();
  const RegisterValue* value = CommittedValue(state_);
  if (what.empty() || !value) return;
  notes_.Add({NoteKind::kSettingRepaired, value->epoch, Self(state_),
              what + " on " + settings_.node_name, "it is as the register says again", ""},
             value, settings_.node_name, now_.monotonic_raw);
}

Neighbours ConsensusWorker::LookAround() const {
  Neighbours neighbours;
  for (const auto& [id, peer] : state_.peers)
    if (id != Self(state_) && !peer.status.slot.empty())
      neighbours.slots.push_back(peer.status.slot);
  const RegisterValue* value = CommittedValue(state_);
  if (value == nullptr) return neighbours;
  neighbours.timeline = value->timeline;
  if (const Member* primary = FindMember(*value, value->primary)) {
    neighbours.primary = primary->server;
    if (primary->id != Self(state_))
      neighbours.other_primary = primary->name + ", at " + net::ToText(primary->server);
  }
  return neighbours;
}

void ConsensusWorker::ObserveNode() {
  MemberNames names;
  const RegisterValue* value = CommittedValue(state_);
  if (value)
    for (const Member& member : value->members) names.emplace_back(member.name, member.id);
  const bool lineage = value && !value->lineage.empty();
  LocalView view = Observe(names, lineage ? value->lineage.back().timeline : TimelineId{});
  NodeStatus& status = view.status;
  if (stopping_) status.db = DbState::kStopping;
  const Duties duties = DutiesOf(state_, now_, policy_);
  status.gate_open = duties.gate_open;
  status.quarantined = state_.phase == Phase::kQuarantined;
  status.upstream = duties.upstream;
  status.suspect = state_.suspect;
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
