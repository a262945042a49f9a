// The consensus worker: what operators ask for, one thing at a time.
#include "pg/consensus_worker.h"
#include "pg/guard.h"

namespace orchestra::pg {

using std::chrono::seconds;

namespace {

constexpr int kNotNow = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
constexpr Micros kGrace = seconds(1);

std::string Seconds(Micros span) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g s", static_cast<double>(span.count()) / 1e6);
  return text;
}

}  // namespace

void ConsensusWorker::Commands() {
  Outcome outcome;
  if (command_) {
    outcome = std::visit(
        [this](const auto& request) -> Outcome {
          using Request = std::decay_t<decltype(request)>;
          if constexpr (std::is_same_v<Request, CreateRequest>) return CreationSoFar();
          return AnswerSoFar();
        },
        command_->what);
  } else {
    command_ = TakeCommand();
    if (!command_) return;
    command_began_ = now_.monotonic_raw;
    outcome = std::visit([this](const auto& request) { return Begin(request); }, command_->what);
  }
  if (!outcome) return;
  command_.reset();
  publish_now_ = true;
  Publish();  // what was done is seen by whoever asked for it
  FinishCommand(*outcome);
}

// ---------------------------------------------------------------- creation

// The register that `request` describes; returns what is wrong with that, or "".
std::string ConsensusWorker::Compose(const CreateRequest& request, RegisterValue* value) const {
  value->cluster_id = ClusterId{RandomNumber()};
  value->system_identifier = state_.introduced->identity.system_identifier;
  value->cluster_name = request.cluster_name;
  value->mode = request.mode;
  value->durability = request.durability;
  value->version = Version{1};
  value->lease_ttl_ms = value->longest_ttl_ms = request.lease_ttl_ms;
  std::uint16_t next_id = 1;
  for (const Named& name : request.names) {
    Member member;
    if (name.text == settings_.node_name) {
      member = state_.introduced->self;
      value->primary = NodeId{next_id};
    } else {
      auto hello = state_.hellos.find(name.text);
      if (hello == state_.hellos.end()) return "node \"" + name.text + "\" has not said hello";
      member = hello->second.join.wanted;
    }
    member.id = NodeId{next_id++};
    member.voter = member.sync_candidate = true;
    value->members.push_back(member);
  }
  const Ballot ballot{1, value->primary};
  value->epoch = EpochId{WriteId{ballot, value->version}};
  value->active = true;
  value->timeline = state_.view.status.timeline;
  if (Enforces(*value)) value->sync = FullSyncSet(*value, value->primary);
  value->basis = BasisOf(*value);
  value->lineage = {{value->timeline, value->epoch, Lsn{}}};
  return Validate(*value);
}

ConsensusWorker::Outcome ConsensusWorker::Begin(const CreateRequest& request) {
  RegisterValue value;
  const std::string wrong = Compose(request, &value);
  if (!wrong.empty())
    return SqlAnswer{kNotNow, "cannot create the cluster: " + wrong, "Nothing has changed."};
  Identity identity = state_.introduced->identity;
  identity.node = value.primary;
  Apply(CreateCluster{std::move(value), identity});
  return std::nullopt;
}

// The primary may commit, and every other member said something as a configured node.
bool ConsensusWorker::CreationSettled() const {
  const RegisterValue* value = CommittedValue(state_);
  if (state_.phase != Phase::kConfigured || !value) return false;
  if (Enforces(*value) && !state_.view.status.gate_open) return false;
  for (const Member& member : value->members) {
    auto it = state_.peers.find(member.id);
    if (it == state_.peers.end() || !it->second.status_at) return false;
  }
  return true;
}

ConsensusWorker::Outcome ConsensusWorker::CreationSoFar() {
  if (CreationSettled()) return SqlAnswer{};
  if (now_.monotonic_raw <= command_->deadline && !CommandAbandoned()) return std::nullopt;
  if (state_.phase == Phase::kConfigured)
    return SqlAnswer{kNotNow, "the cluster is created, but its primary may not commit yet",
                     "SELECT * FROM orchestra_status() says what it waits for."};
  std::string missing;
  for (const Member& member :
       state_.creating ? state_.creating->value.members : std::vector<Member>{})
    if (member.name != settings_.node_name && !state_.create_acks.contains(member.id))
      missing += (missing.empty() ? "" : ", ") + member.name;
  if (state_.creating) Apply(AbandonCreation{});
  return SqlAnswer{kNotNow, "these nodes did not store the register: " + missing,
                   "Nothing has changed."};
}

// ---------------------------------------------------------------- changes of the register

bool ConsensusWorker::Ask(const Change& change, Micros deadline) {
  return Apply(Command{++asked_, change, std::max(deadline - now_.monotonic_raw, Micros{0})});
}

std::optional<CommandAnswer> ConsensusWorker::Answered() const {
  if (!state_.answer || state_.answer->id != asked_) return std::nullopt;
  return state_.answer;
}

// The core answers by the deadline; it is asked no longer where its caller has left.
ConsensusWorker::Outcome ConsensusWorker::AnswerSoFar() {
  const auto answer = Answered();
  if (answer && answer->done) return SqlAnswer{};
  const bool late = now_.monotonic_raw >= command_->deadline;
  if (answer && !late) return SqlAnswer{kNotNow, answer->text, ""};
  const bool never = now_.monotonic_raw >= command_->deadline + kGrace;
  if (!answer && !never && !CommandAbandoned()) return std::nullopt;
  if (!answer) Apply(AbandonCommand{});
  return SqlAnswer{ERRCODE_QUERY_CANCELED,
                   "not done within " + Seconds(command_->deadline - command_began_) + ": " +
                       (answer ? answer->text : "no coordinator answered"),
                   "It may be done all the same: see orchestra_cluster(), which also names the "
                   "coordinator. Without a majority of the voters there is none."};
}

ConsensusWorker::Outcome ConsensusWorker::Unstored() const {
  return SqlAnswer{kNotNow, "the vote file cannot be written: " + persist_problem_,
                   "Nothing was done."};
}

ConsensusWorker::Outcome ConsensusWorker::Begin(const ChangeRequest& request) {
  return Ask(request.change, command_->deadline) ? AnswerSoFar() : Unstored();
}

// ---------------------------------------------------------------- the operator's last resorts

ConsensusWorker::Outcome ConsensusWorker::Begin(const ForceRequest& request) {
  const RegisterValue* value = CommittedValue(state_);
  if (!value || value->cluster_id != request.cluster || value->epoch != request.epoch)
    return SqlAnswer{kNotNow, "the register has changed meanwhile", "Nothing was done."};
  const ClusterId cluster{RandomNumber()};
  return Apply(ForceRecovery{++asked_, cluster, request.reason}) ? AnswerSoFar() : Unstored();
}

ConsensusWorker::Outcome ConsensusWorker::Begin(const ConfirmRequest&) {
  return Apply(ConfirmIdentity{++asked_}) ? AnswerSoFar() : Unstored();
}

}  // namespace orchestra::pg
