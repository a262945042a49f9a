// Forced recovery: the operator's way out where a majority of the voters is lost for ever, in two
// steps, of which the first only says what the second may lose.
#include "pg/sql_forced.h"

#include "core/node_rows.h"
#include "net/secret.h"
#include "pg/guard.h"
#include "pg/sql_common.h"

namespace orchestra::pg {
namespace {

constexpr int kNotNow = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;

const BoardNode& Here(const Board& board) {
  for (const BoardNode& node : board.nodes)
    if (node.self && node.status) return node;
  throw Fail(kNotNow, "this node does not know itself yet", "", "Try again in a second.");
}

void CheckTarget(const Board& board, const std::optional<std::string>& target) {
  if (!target || *target == board.node_name) return;
  const Member& member = *FindMember(*board.value, FindNode(board, *target));
  throw Fail(kNotNow, "a forced recovery is called on the node that becomes the primary",
             "This node is " + board.node_name + ".",
             "Connect to " + member.name + " (" + member.server.host + ":" +
                 std::to_string(member.server.port) + ") and call it there.");
}

// Whatever can be done without loss must be.
void CheckNeed(const Board& board) {
  const RegisterValue& value = *board.value;
  const std::size_t heard = ReachableVoters(board, RawNow());
  const std::size_t needed = Majority(VoterCount(value));
  std::string why;
  if (board.gate_open)
    why = "this node is the primary, and commits pass";
  else if (board.coordinator != kNoNode)
    why = "the coordinator " + NameOf(value, board.coordinator) + " is heard";
  else if (heard >= needed)
    why = std::to_string(heard) + " of " + std::to_string(VoterCount(value)) +
          " voters are heard, which is a majority";
  if (why.empty()) return;
  throw Fail(kNotNow, "nothing is to be forced: " + why, "",
             "Without accept_data_loss, orchestra_failover() loses nothing.");
}

// What this node alone has is lost by nobody who confirms for it: only as a standby it may lack
// something.
Lsn MayLackFrom(const NodeStatus& here) {
  return here.db == DbState::kPrimary ? Lsn{} : here.flush_lsn;
}

// Another state of the cluster or of this node's WAL needs another confirmation.
std::string Token(const RegisterValue& value, const NodeStatus& here) {
  const std::string text = std::to_string(value.cluster_id.value) + " " + ToText(value.epoch) +
                           " " + std::to_string(here.timeline.value) + " " +
                           ToText(MayLackFrom(here));
  net::Mac mac{};
  if (!net::ComputeMac("orchestra_failover", text, &mac))
    throw Fail(ERRCODE_INTERNAL_ERROR, "no SHA-256");
  std::string token;
  for (std::size_t i = 0; i < 6; i++) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", mac[i]);
    token += digits;
  }
  return token;
}

std::string Bytes(const NodeStatus& other, const NodeStatus& here) {
  if (other.timeline != here.timeline) return "another timeline than here";
  if (other.flush_lsn > here.flush_lsn)
    return std::to_string(other.flush_lsn.value - here.flush_lsn.value) + " bytes more than here";
  if (other.flush_lsn == here.flush_lsn) return "as much as here";
  return std::to_string(here.flush_lsn.value - other.flush_lsn.value) + " bytes less than here";
}

std::string LineOf(const Board& board, const BoardNode& node, const NodeStatus& here) {
  const bool primary = node.member.id == board.value->primary;
  std::string text = node.member.name + (primary ? " (primary): " : ": ");
  if (!node.status || node.status->flush_lsn == Lsn{}) return text + "unknown, never heard";
  text += ToText(node.status->flush_lsn) + " on timeline " +
          std::to_string(node.status->timeline.value);
  if (node.self) return text + ", this node";
  const auto age = AgeOf(board, node, RawNow());
  char seconds[32] = "at an unknown time";
  if (age)
    std::snprintf(seconds, sizeof seconds, "%.1f s ago", static_cast<double>(age->count()) / 1e6);
  return text + ", heard " + seconds + ": " + Bytes(*node.status, here) + " then";
}

std::string Others(const Board& board) {
  std::string names;
  for (const Member& member : board.value->members)
    if (member.id != board.self) names += (names.empty() ? "" : ", ") + member.name;
  return names.empty() ? "nobody" : names;
}

// What the operator must know before, in lines.
std::string Warning(const Board& board, const std::string& token) {
  const NodeStatus& here = *Here(board).status;
  std::string text = "end of WAL, as far as it is known here:\n";
  for (const BoardNode& node : board.nodes)
    if (node.member.id != kNoNode) text += "  " + LineOf(board, node, here) + "\n";
  if (here.db == DbState::kPrimary)
    text += "This server is the primary of the register: what it acknowledged, it has.\n";
  else
    text += "Every commit after " + ToText(here.flush_lsn) +
            " is lost, acknowledged or not; the other nodes may have flushed more since they were "
            "heard.\n";
  return text + "Refused from then on, if they ever come back: " + Others(board) +
         ". Each must be made anew as a clone of this node.\nConfirmation: " + token;
}

std::string Reason(const Board& board) {
  std::string program = application_name != nullptr ? application_name : "";
  std::replace(program.begin(), program.end(), '"', '\'');
  const char* user =
      Call([]() -> const char* { return GetUserNameFromId(GetSessionUserId(), false); });
  return std::string("by ") + user + (program.empty() ? "" : " with " + program) +
         ", data loss accepted: WAL after " + ToText(Here(board).status->flush_lsn) + " and " +
         Others(board);
}

std::string WaitForGate(const Board& before, Micros deadline) {
  for (;;) {
    const Board board = ConfiguredBoard();
    const RegisterValue& value = *board.value;
    if (value.cluster_id != before.value->cluster_id && value.primary == board.self &&
        board.gate_open)
      return board.node_name + " is the primary of epoch " + ToText(value.epoch) +
             " and the only voter; refused from now on: " + Others(before);
    if (RawNow() >= deadline)
      throw Fail(ERRCODE_QUERY_CANCELED, "the recovery is forced, and commits do not pass yet", "",
                 "It goes on by itself: see orchestra_status().");
    Pause();
  }
}

}  // namespace

std::string ForcedFailover(const std::optional<std::string>& target,
                           const std::optional<std::string>& confirm, Micros deadline) {
  const Board board = ConfiguredBoard();
  CheckTarget(board, target);
  CheckNeed(board);
  const std::string token = Token(*board.value, *Here(board).status);
  if (!confirm) {
    const std::string warning = Warning(board, token);
    Call([&] {
      ereport(NOTICE, (errmsg("nothing was changed: read first what may be lost"),
                       errdetail("%s", warning.c_str()),
                       errhint("To go on: orchestra_failover(accept_data_loss => true, confirm => "
                               "'%s').",
                               token.c_str())));
    });
    return warning;
  }
  if (*confirm != token)
    throw Fail(kNotNow, "this confirmation is not that of the state of now",
               "The cluster or this node has changed since, or the word is wrong.",
               "Call it without confirm, and read again what may be lost.");
  ForceRequest request{board.value->cluster_id, board.value->epoch, Reason(board)};
  Perform({deadline, std::move(request)}, "not forced: ");
  return WaitForGate(board, deadline);
}

}  // namespace orchestra::pg
