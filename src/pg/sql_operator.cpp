// What an operator asks of the cluster, from any node: the coordinator commits or refuses it. Who
// may is a matter of EXECUTE.
#include "core/forming.h"
#include "pg/guard.h"
#include "pg/settings.h"
#include "pg/sql_common.h"
#include "pg/sql_failover.h"

namespace orchestra::pg {
namespace {

constexpr char kNotKnown[] = "the change is committed and not known here yet";

std::string Listed(const RegisterValue& value, bool (*wanted)(const Member&)) {
  std::string text;
  for (const Member& member : value.members)
    if (wanted(member)) text += (text.empty() ? "" : ", ") + member.name;
  return text;
}

std::string Voters(const RegisterValue& value) {
  return Listed(value, [](const Member& member) { return member.voter; });
}

// ---------------------------------------------------------------- members

bool VotersAre(const RegisterValue& value, const std::vector<NodeId>& wanted) {
  for (const Member& member : value.members) {
    const bool named = std::find(wanted.begin(), wanted.end(), member.id) != wanted.end();
    if (named != member.voter) return false;
  }
  return value.voters_prev.empty();
}

std::string SetVoters(FunctionCallInfo call) {
  const std::vector<std::string> names = NamesArgument(call, 0);
  const Micros deadline = RawNow() + WaitArgument(call, 1);
  const Board board = ConfiguredBoard();
  // Any node may ask, whether or not it will be one of them.
  const std::string any = names.empty() ? "" : names.front();
  if (const auto complaint = CheckVoterNames(names, any))
    throw Fail(ERRCODE_INVALID_PARAMETER_VALUE, complaint->message, complaint->detail,
               complaint->hint);
  ChangeVoters change;
  for (const std::string& name : names) change.voters.push_back(FindNode(board, name));
  std::sort(change.voters.begin(), change.voters.end());
  Perform({deadline, ChangeRequest{change}}, "the voters stay as they are: ");
  const RegisterValue value = WaitForRegister(
      deadline, [&](const Board& now) { return VotersAre(*now.value, change.voters); },
      "the change of voters has begun and is not final yet");
  return "voters are " + Voters(value) + " for good";
}

std::string SetCandidate(NodeId node, const std::string& name, bool candidate, Micros deadline) {
  Perform({deadline, ChangeRequest{ChangeMember{node, candidate}}}, name + " stays as it is: ");
  WaitForRegister(
      deadline,
      [&](const Board& now) {
        const Member* member = FindMember(*now.value, node);
        return member && member->sync_candidate == candidate;
      },
      kNotKnown);
  return name + (candidate ? " may be counted for commits" : " is not counted for commits");
}

std::string SetZone(NodeId node, const std::string& name, const std::string& zone,
                    Micros deadline) {
  Perform({deadline, ChangeRequest{ChangeZone{node, zone}}}, name + " stays as it is: ");
  WaitForRegister(
      deadline,
      [&](const Board& now) {
        const Member* member = FindMember(*now.value, node);
        return member && member->zone == zone;
      },
      kNotKnown);
  return zone.empty() ? name + " is in no zone" : name + " is in zone " + zone;
}

std::string SetNode(FunctionCallInfo call) {
  RefuseNull(call, 0, "name");
  RefuseNull(call, 3, "wait");
  const std::string name = TextArgument(call, 0);
  const std::optional<std::string> zone = OptionalText(call, 2);
  const Micros deadline = RawNow() + WaitArgument(call, 3);
  const NodeId node = FindNode(ConfiguredBoard(), name);
  if (const std::string wrong = zone ? WrongName(zone->c_str()) : ""; !wrong.empty())
    throw Fail(ERRCODE_INVALID_PARAMETER_VALUE, "\"" + *zone + "\" cannot be a zone", wrong);
  std::string text;
  if (!call->args[1].isnull)
    text = SetCandidate(node, name, DatumGetBool(call->args[1].value), deadline);
  if (zone) text += (text.empty() ? "" : "; ") + SetZone(node, name, *zone, deadline);
  if (!text.empty()) return text;
  throw Fail(ERRCODE_INVALID_PARAMETER_VALUE, "nothing to set", "",
             "Name what shall change: sync_candidate => true or false, zone => 'name'.");
}

std::string RemoveNode(FunctionCallInfo call) {
  const std::string name = TextArgument(call, 0);
  const Micros deadline = RawNow() + WaitArgument(call, 1);
  const Board board = ConfiguredBoard();
  const NodeId node = FindNode(board, name);
  if (node == board.self) {
    throw Fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "a node cannot remove itself", "",
               "Call orchestra_remove_node() on another node.");
  }
  Perform({deadline, ChangeRequest{RemoveMember{node}}}, name + " stays a member: ");
  WaitForRegister(
      deadline, [&](const Board& now) { return FindMember(*now.value, node) == nullptr; },
      "the removal is committed and not known here yet");
  return name + " is no member any more";
}

// ---------------------------------------------------------------- failover by call

std::string Failover(FunctionCallInfo call) {
  RefuseNull(call, 1, "accept_data_loss");
  RefuseNull(call, 3, "wait");
  const std::optional<std::string> target = OptionalText(call, 0);
  const std::optional<std::string> confirm = OptionalText(call, 2);
  const Micros deadline = RawNow() + WaitArgument(call, 3);
  if (DatumGetBool(call->args[1].value)) return LossyFailover(target, confirm, deadline);
  if (confirm) {
    throw Fail(ERRCODE_INVALID_PARAMETER_VALUE, "nothing is to be confirmed", "",
               "confirm belongs to accept_data_loss => true.");
  }
  return FailoverByCall(target, deadline);
}

// ---------------------------------------------------------------- identity

std::string Confirm() {
  const Board board = ConfiguredBoard();
  for (const BoardNode& node : board.nodes)
    if (node.self && node.status && !node.status->suspect)
      throw Fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                 "the identity of this node is not in doubt");
  Perform({RawNow() + std::chrono::seconds(10), ConfirmRequest{}}, "");
  return board.node_name + " votes again";
}

}  // namespace
}  // namespace orchestra::pg

using namespace orchestra::pg;

extern "C" {

PG_FUNCTION_INFO_V1(orchestra_set_voters);
Datum orchestra_set_voters(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnText(SetVoters(fcinfo)); });
}

PG_FUNCTION_INFO_V1(orchestra_set_node);
Datum orchestra_set_node(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnText(SetNode(fcinfo)); });
}

PG_FUNCTION_INFO_V1(orchestra_remove_node);
Datum orchestra_remove_node(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnText(RemoveNode(fcinfo)); });
}

PG_FUNCTION_INFO_V1(orchestra_failover);
Datum orchestra_failover(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnText(Failover(fcinfo)); });
}

PG_FUNCTION_INFO_V1(orchestra_confirm_identity);
Datum orchestra_confirm_identity(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return Boundary([] { return ReturnText(Confirm()); });
}

}  // extern "C"
