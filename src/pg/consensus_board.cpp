// The consensus worker: what it shows.
#include "pg/consensus_worker.h"

#include "pg/board_io.h"
#include "pg/receiver.h"

namespace orchestra::pg {

using std::chrono::seconds;

namespace {
constexpr Micros kBoardPeriod = std::chrono::milliseconds(100);
constexpr Micros kShowRefusal = seconds(10);
}  // namespace

// Why this server may not do what a member may, or not what it does.
std::string ConsensusWorker::StandingProblem() const {
  const RegisterValue* value = CommittedValue(state_);
  if (!booted_) return decision_.reason;
  if (state_.phase == Phase::kQuarantined) return state_.quarantine_reason;
  if (state_.phase != Phase::kConfigured || !value) return "";
  const bool primary = value->primary == Self(state_);
  if (state_.suspect)
    return "this node's files are on another machine or file system than before: it takes no part "
           "until a majority of the other voters confirms that they remember nothing newer of it" +
           (state_.suspect_problem.empty() ? "" : " (" + state_.suspect_problem + ")") +
           "; where they cannot, make sure that no copy of it runs and call "
           "orchestra_confirm_identity() here";
  if (state_.view.status.db == DbState::kPrimary && !primary)
    return "this server is out of recovery but the register names " +
           NameOf(*value, value->primary) + " as primary";
  if (state_.view.status.db == DbState::kStandby && !primary &&
      state_.durable.fenced < value->epoch && !MayFollow(state_))
    return "this node's WAL is not on the cluster's lineage: it must be made anew from the primary";
  return "";
}

std::string ConsensusWorker::Problem() const {
  std::string text;
  auto add = [&text](const std::string& more) {
    if (!more.empty()) text += (text.empty() ? "" : "; ") + more;
  };
  const bool configured = booted_ && state_.phase == Phase::kConfigured;
  add(StandingProblem());
  if (state_.phase != Phase::kConfigured) add(state_.join_problem);
  add(persist_problem_);
  add(leave_problem_);
  add(settings_.problem);
  add(net_problem_);
  if (net_ && !net_->last_incident().text.empty() &&
      now_.monotonic_raw - net_->last_incident().at < kShowRefusal)
    add(net_->last_incident().text);
  add(performer_.problem());
  if (configured && state_.view.status.db == DbState::kStandby &&
      state_.view.status.receiver != ReceiverState::kStreaming)
    add(ReceiverError());
  return text;
}

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
