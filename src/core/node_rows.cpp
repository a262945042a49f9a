#include "core/node_rows.h"

#include <algorithm>

namespace orchestra {
namespace {

const BoardNode* FindNode(const Board& board, NodeId id) {
  const auto found = std::find_if(board.nodes.begin(), board.nodes.end(),
                                  [&](const BoardNode& node) { return node.member.id == id; });
  return id == kNoNode || found == board.nodes.end() ? nullptr : &*found;
}

bool IsPrimary(const Board& board, const BoardNode& node) {
  return board.value && node.member.id != kNoNode && board.value->primary == node.member.id;
}

const char* PrimaryState(const Board& board, const BoardNode& node) {
  if (!board.value) return "unconfigured";
  if (!IsPrimary(board, node)) return "superseded";
  if (node.status->gate_open || !Enforces(*board.value)) return "open";
  return board.value->active ? "closed" : "activating";
}

const char* StandbyState(const Board& board, const BoardNode& node) {
  if (IsPrimary(board, node)) return "promoting";
  switch (node.status->receiver) {
    case ReceiverState::kStopped:
      return "stopped";
    case ReceiverState::kStarting:
      return "connecting";
    case ReceiverState::kParked:
      return "parked";
    case ReceiverState::kStreaming:
      return "streaming";
  }
  return "unknown";
}

bool IsFenced(const Board& board, const BoardNode& node) {
  return board.value && node.fenced != EpochId{} && node.fenced >= board.value->epoch;
}

std::string StateOf(const Board& board, const BoardNode& node, Micros now) {
  if (!AgeOf(board, node, now)) return "unknown";
  if (!IsFresh(board, node, now)) return "unreachable";
  if (node.self && board.phase == Phase::kQuarantined) return "quarantined";
  if (node.status && node.status->quarantined) return "quarantined";
  if (node.self && node.member.id == kNoNode && board.phase == Phase::kConfigured)
    return "starting";
  if (node.member.id == kNoNode) return node.self ? "unconfigured" : "hello";
  if (!node.status) return "unknown";
  if (node.status->db == DbState::kStarting) return "starting";
  if (node.status->db == DbState::kStopping) return "stopping";
  if (IsFenced(board, node)) return "fenced";
  if (node.status->db == DbState::kNone) return "witness";
  return node.status->db == DbState::kPrimary ? PrimaryState(board, node)
                                              : StandbyState(board, node);
}

std::optional<std::string> RoleOf(const Board& board, const BoardNode& node) {
  if (board.value && node.member.id != kNoNode) {
    return IsPrimary(board, node) ? "primary" : "standby";
  }
  if (node.status && node.status->db == DbState::kPrimary) return "primary";
  if (node.status && node.status->db == DbState::kStandby) return "standby";
  return std::nullopt;
}

// Two positions may only be compared while both are fresh.
std::optional<std::uint64_t> LagOf(const Board& board, const BoardNode& node, Micros now) {
  const BoardNode* primary = board.value ? FindNode(board, board.value->primary) : nullptr;
  if (primary == nullptr || IsPrimary(board, node)) return std::nullopt;
  for (const BoardNode* each : {primary, &node}) {
    if (!IsFresh(board, *each, now) || !each->status || each->status->flush_lsn == Lsn{}) {
      return std::nullopt;
    }
  }
  const std::uint64_t ahead = primary->status->flush_lsn.value;
  return ahead - std::min(ahead, node.status->flush_lsn.value);
}

std::optional<std::string> ProblemOf(const Board& board, const BoardNode& node, Micros now) {
  if (node.self && !IsFresh(board, node, now)) {
    const std::string silent = "the consensus worker of this node does not answer";
    return board.problem.empty() ? silent : silent + "; " + board.problem;
  }
  if (node.self && !board.problem.empty()) return board.problem;
  if (node.status && !node.status->problem.empty()) return node.status->problem;
  return std::nullopt;
}

template <typename T>
std::optional<T> Known(T value) {
  return value == T{} ? std::nullopt : std::optional<T>(std::move(value));
}

void CopyStatus(const NodeStatus& status, NodeRow& row) {
  row.timeline = Known(status.timeline);
  row.flush_lsn = Known(status.flush_lsn);
  row.replay_lsn = Known(status.replay_lsn);
  if (status.lease_left_ms >= 0) row.lease_ms_left = status.lease_left_ms;
  row.version = Known(status.version);
  row.server_version_num = Known(status.server_version_num);
}

void CopyMembership(const Board& board, const BoardNode& node, NodeRow& row) {
  row.voter = node.member.voter;
  row.zone = Known(node.member.zone);
  row.coordinator = board.coordinator == node.member.id;
  if (!IsPrimary(board, node)) {
    row.sync_state = board.value->sync.Has(node.member.id) ? "quorum" : "async";
  }
}

NodeRow RowOf(const Board& board, const BoardNode& node, Micros now) {
  NodeRow row;
  row.id = node.member.id;
  row.name = node.member.name;
  row.self = node.self;
  row.role = RoleOf(board, node);
  row.state = StateOf(board, node, now);
  if (node.status) CopyStatus(*node.status, row);
  if (board.value && node.member.id != kNoNode) CopyMembership(board, node, row);
  row.lag_bytes = LagOf(board, node, now);
  row.fenced = Known(node.fenced);
  if (!node.member.server.host.empty()) {
    row.address = node.member.server.host + ":" + std::to_string(node.member.server.port);
  }
  if (const auto age = AgeOf(board, node, now)) row.seen_ago_ms = age->count() / 1000;
  // What is left of a lease gets less while nothing is heard.
  if (row.lease_ms_left) row.lease_ms_left = *row.lease_ms_left - row.seen_ago_ms.value_or(0);
  if (row.lease_ms_left && *row.lease_ms_left <= 0) row.lease_ms_left.reset();
  row.problem = ProblemOf(board, node, now);
  return row;
}

}  // namespace

std::optional<Micros> AgeOf(const Board& board, const BoardNode& node, Micros now) {
  const Micros seen = node.self ? board.written_at : node.seen_at;
  if (seen == Micros{}) return std::nullopt;
  return std::max(Micros{0}, now - seen);
}

bool IsFresh(const Board& board, const BoardNode& node, Micros now) {
  const auto age = AgeOf(board, node, now);
  return age && *age < kFreshFor;
}

std::size_t ReachableVoters(const Board& board, Micros now) {
  return static_cast<std::size_t>(
      std::count_if(board.nodes.begin(), board.nodes.end(), [&](const BoardNode& node) {
        return node.member.id != kNoNode && node.member.voter && IsFresh(board, node, now);
      }));
}

std::vector<NodeRow> NodeRows(const Board& board, Micros now) {
  std::vector<NodeRow> rows;
  rows.reserve(board.nodes.size());
  for (const BoardNode& node : board.nodes) rows.push_back(RowOf(board, node, now));
  return rows;
}

}  // namespace orchestra
