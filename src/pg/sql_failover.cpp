// Failover by call. Where something may be lost it takes two steps, of which the first only says
// what the second may lose: where those are missing who may hold commits that nobody else has, and,
// as the last way out, where a majority of the voters is lost for ever (forced recovery).
#include "pg/sql_failover.h"

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
  if (board.gate_open) why = "this node is the primary, and commits pass";
  for (const BoardNode& node : board.nodes)
    if (!node.self && node.status && node.status->gate_open && IsFresh(board, node, RawNow()))
      why = "commits pass on " + node.member.name;
  if (why.empty() && board.coordinator == kNoNode && heard >= needed)
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

// Confirms what `state` says, and nothing else.
std::string Word(const std::string& state) {
  net::Mac mac{};
  if (!net::ComputeMac("orchestra_failover", state, &mac))
    throw Fail(ERRCODE_INTERNAL_ERROR, "no SHA-256");
  std::string word;
  for (std::size_t i = 0; i < 6; i++) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", mac[i]);
    word += digits;
  }
  return word;
}

// The end of WAL that the others are compared with, and where it is: "here", "on n3".
struct Measure {
  const BoardNode& node;
  std::string where;
};

std::string Bytes(const NodeStatus& other, const Measure& measure) {
  const NodeStatus& own = *measure.node.status;
  if (other.timeline != own.timeline) return "another timeline than " + measure.where;
  if (other.flush_lsn > own.flush_lsn)
    return std::to_string(other.flush_lsn.value - own.flush_lsn.value) + " bytes more than " +
           measure.where;
  if (other.flush_lsn == own.flush_lsn) return "as much as " + measure.where;
  return std::to_string(own.flush_lsn.value - other.flush_lsn.value) + " bytes less than " +
         measure.where;
}

std::string LineOf(const Board& board, const BoardNode& node, const Measure& measure) {
  const bool primary = node.member.id == board.value->primary;
  std::string text = node.member.name + (primary ? " (primary): " : ": ");
  if (!node.status || node.status->flush_lsn == Lsn{}) return text + "unknown, never heard";
  text += ToText(node.status->flush_lsn) + " on timeline " +
          std::to_string(node.status->timeline.value);
  if (node.self) text += ", this node";
  if (&node == &measure.node) return text;
  if (node.self) return text + ": " + Bytes(*node.status, measure);
  const auto age = AgeOf(board, node, RawNow());
  char seconds[32] = "at an unknown time";
  if (age)
    std::snprintf(seconds, sizeof seconds, "%.1f s ago", static_cast<double>(age->count()) / 1e6);
  return text + ", heard " + seconds + ": " + Bytes(*node.status, measure) + " then";
}

std::string EndsOfWal(const Board& board, const Measure& measure) {
  std::string text = "end of WAL, as far as it is known here:\n";
  for (const BoardNode& node : board.nodes)
    if (node.member.id != kNoNode && node.member.kind == MemberKind::kData)
      text += "  " + LineOf(board, node, measure) + "\n";
  return text;
}

// The first step: nothing is changed.
std::string Tell(const std::string& warning, const std::string& call, const std::string& word) {
  const std::string text = warning + "\nConfirmation: " + word;
  Call([&] {
    ereport(
        NOTICE,
        (errmsg("nothing was changed: read first what may be lost"), errdetail("%s", text.c_str()),
         errhint("To go on: orchestra_failover(%saccept_data_loss => true, confirm => '%s').",
                 call.c_str(), word.c_str())));
  });
  return text;
}

void CheckWord(const std::string& given, const std::string& word) {
  if (given != word)
    throw Fail(kNotNow, "this confirmation is not that of the state of now",
               "The cluster or this node has changed since, or the word is wrong.",
               "Call it without confirm, and read again what may be lost.");
}

// ---------------------------------------------------------------- through the coordinator

std::string Started(const Board& before, const StartFailover& change, Micros deadline) {
  Perform({deadline, ChangeRequest{change}}, "no failover: ");
  const EpochId ended = before.value->epoch;
  const RegisterValue value = WaitForRegister(
      deadline, [&](const Board& now) { return now.value->epoch > ended && now.value->active; },
      "the failover is under way: no new epoch is active yet");
  const std::string text =
      NameOf(value, value.primary) + " is the primary of epoch " + ToText(value.epoch);
  if (change.target != kNoNode && value.primary != change.target)
    throw Fail(kNotNow, NameOf(value, change.target) + " did not become the primary", text + ".",
               "orchestra_recovery_steps() says why.");
  return text;
}

// Of those that are heard, the one with the most WAL.
const BoardNode& MostAdvanced(const Board& board) {
  const BoardNode* best = nullptr;
  for (const BoardNode& node : board.nodes) {
    if (node.member.id == kNoNode || !node.status || node.status->db != DbState::kStandby) continue;
    if (!IsFresh(board, node, RawNow())) continue;
    if (best == nullptr || node.status->flush_lsn > best->status->flush_lsn) best = &node;
  }
  if (best != nullptr) return *best;
  throw Fail(kNotNow, "no standby is heard", "", "Start one; orchestra_status() names them.");
}

// Who is not heard, and may alone hold what was acknowledged.
std::string Awaited(const Board& board) {
  const Basis basis = BasisOf(*board.value);
  std::string names;
  for (const BoardNode& node : board.nodes) {
    const bool counts = node.member.id == basis.primary || basis.sync.Has(node.member.id);
    if (counts && !IsFresh(board, node, RawNow()))
      names += (names.empty() ? "" : ", ") + node.member.name;
  }
  return names;
}

// Another epoch, another node that is heard, or other WAL on one of them: another word.
std::string WordOf(const Board& board, const StartFailover& change) {
  std::string state = std::to_string(board.value->cluster_id.value) + " " +
                      ToText(board.value->epoch) + " " + std::to_string(change.target.value);
  for (const BoardNode& node : board.nodes)
    if (node.status && IsFresh(board, node, RawNow()))
      state += " " + std::to_string(node.member.id.value) + "@" + ToText(node.status->flush_lsn);
  return Word(state);
}

std::string LossAccepted(const Board& board, const StartFailover& change,
                         const std::optional<std::string>& confirm, Micros deadline) {
  const std::string word = WordOf(board, change);
  if (confirm) {
    CheckWord(*confirm, word);
    return Started(board, change, deadline);
  }
  const BoardNode& best = MostAdvanced(board);
  const std::string awaited = Awaited(board);
  const std::string end = ToText(best.status->flush_lsn);
  std::string text = EndsOfWal(board, {best, "on " + best.member.name});
  if (awaited.empty())
    text +=
        "Everybody is heard who may hold what was acknowledged: try it without "
        "accept_data_loss first.";
  else
    text += "Every commit after " + end +
            " is lost, acknowledged or not, unless one of these is "
            "started first: " +
            awaited +
            ". Who of them comes back later with such a commit must "
            "be made anew.";
  const std::string target =
      change.target == kNoNode ? "" : "'" + NameOf(*board.value, change.target) + "', ";
  return Tell(text, target, word);
}

// ---------------------------------------------------------------- forced recovery

// Another state of the cluster or of this node's WAL needs another confirmation.
std::string ForcedWord(const RegisterValue& value, const NodeStatus& here) {
  return Word(std::to_string(value.cluster_id.value) + " " + ToText(value.epoch) + " " +
              std::to_string(here.timeline.value) + " " + ToText(MayLackFrom(here)));
}

std::string Others(const Board& board) {
  std::string names;
  for (const Member& member : board.value->members)
    if (member.id != board.self) names += (names.empty() ? "" : ", ") + member.name;
  return names.empty() ? "nobody" : names;
}

// What the operator must know before, in lines.
std::string Warning(const Board& board) {
  const NodeStatus& here = *Here(board).status;
  std::string text = EndsOfWal(board, {Here(board), "here"});
  if (here.db == DbState::kPrimary)
    text += "This server is the primary of the register: what it acknowledged, it has.\n";
  else
    text += "Every commit after " + ToText(here.flush_lsn) +
            " is lost, acknowledged or not; the other nodes may have flushed more since they were "
            "heard.\n";
  return text + "Refused from then on, if they ever come back: " + Others(board) +
         ". Each must be made anew as a clone of this node.";
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

std::string Forced(const Board& board, const std::optional<std::string>& target,
                   const std::optional<std::string>& confirm, Micros deadline) {
  CheckTarget(board, target);
  const std::string word = ForcedWord(*board.value, *Here(board).status);
  if (!confirm) return Tell(Warning(board), "", word);
  CheckWord(*confirm, word);
  ForceRequest request{board.value->cluster_id, board.value->epoch, Reason(board)};
  Perform({deadline, std::move(request)}, "not forced: ");
  return WaitForGate(board, deadline);
}

StartFailover RequestFor(const Board& board, const std::optional<std::string>& target, bool loss) {
  return {target ? FindNode(board, *target) : kNoNode, loss};
}

}  // namespace

std::string FailoverByCall(const std::optional<std::string>& target, Micros deadline) {
  const Board board = ConfiguredBoard();
  return Started(board, RequestFor(board, target, false), deadline);
}

std::string LossyFailover(const std::optional<std::string>& target,
                          const std::optional<std::string>& confirm, Micros deadline) {
  const Board board = ConfiguredBoard();
  const StartFailover change = RequestFor(board, target, true);
  CheckNeed(board);
  if (board.coordinator == kNoNode) return Forced(board, target, confirm, deadline);
  return LossAccepted(board, change, confirm, deadline);
}

}  // namespace orchestra::pg
