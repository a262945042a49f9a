// Looking: everything comes from shared memory, so that it works on a standby, on a fenced node,
// and while no primary exists.
#include "core/analysis.h"
#include "core/choices.h"
#include "core/node_rows.h"
#include "pg/guard.h"
#include "pg/login_checks.h"
#include "pg/sql_common.h"
#include "pg/version.h"

namespace orchestra::pg {
namespace {

Cell TextOf(const std::optional<Lsn>& lsn) { return lsn ? Cell(ToText(*lsn)) : std::nullopt; }
Cell NumberOf(std::uint64_t number) { return number == 0 ? Cell() : Cell(std::to_string(number)); }

Row StatusRow(const NodeRow& node) {
  return {NumberOf(node.id.value),
          node.name,
          node.role,
          node.state,
          node.timeline ? NumberOf(node.timeline->value) : Cell(),
          TextOf(node.flush_lsn),
          TextOf(node.replay_lsn),
          ToCell(node.lag_bytes),
          node.sync_state,
          ToCell(node.voter),
          ToCell(node.coordinator),
          ToCell(node.lease_ms_left),
          node.fenced ? Cell(ToText(*node.fenced)) : Cell(),
          node.version,
          ToCell(node.server_version_num),
          node.address,
          ToCell(node.seen_ago_ms),
          node.self ? "self" : "peer",
          node.problem,
          node.zone};
}

// A node that answers its peers but not a login is a problem that only this node may have.
void AddLoginProblems(std::vector<NodeRow>& nodes) {
  for (const LoginCheck& check : ReadLoginChecks()) {
    for (NodeRow& node : nodes) {
      if (node.id != check.node || check.reachable || node.state == "unreachable") continue;
      const std::string problem = "no login from this node: " + check.text;
      node.problem = node.problem ? *node.problem + "; " + problem : problem;
    }
  }
}

std::vector<Row> StatusRows() {
  std::vector<NodeRow> nodes = NodeRows(CurrentBoard(), RawNow());
  AddLoginProblems(nodes);
  std::vector<Row> rows;
  for (const NodeRow& node : nodes) rows.push_back(StatusRow(node));
  return rows;
}

std::string Hexadecimal(std::uint64_t number) {
  char text[17];
  snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(number));
  return text;
}

Row ConfiguredCluster(const Board& board, const RegisterValue& value) {
  std::vector<std::string> voters, sync;
  for (const Member& member : value.members) {
    if (member.voter) voters.push_back(member.name);
    if (value.sync.Has(member.id)) sync.push_back(member.name);
  }
  return {value.cluster_name,
          Hexadecimal(value.cluster_id.value),
          NameOf(board.phase),
          ToCell(value.version.value),
          ToText(value.epoch),
          ToCell(value.active),
          NameOf(value, value.primary),
          board.coordinator == kNoNode ? Cell() : Cell(NameOf(value, board.coordinator)),
          ArrayText(voters),
          ToCell(Majority(voters.size())),
          ToCell(ReachableVoters(board, RawNow())),
          NameOf(value.durability),
          ArrayText(sync),
          ToCell(value.sync.k),
          ToCell(value.lease_ttl_ms),
          NameOf(value.mode),
          ToCell(value.paused),
          ToCell(!value.voters_prev.empty()),
          NameOf(value.on_no_sync),
          ToCell(value.auto_voters),
          ToCell(value.drift_permille),
          ToCell(value.former_clusters.size()),
          ToCell(value.dropped),
          ToCell(value.sync_copies),
          ToCell(value.min_sync_copies),
          NameOf(value.sync_zone),
          ToCell(value.max_failover_lag_bytes)};
}

constexpr std::size_t kClusterColumns = 27;

std::vector<Row> ClusterRows() {
  const Board board = CurrentBoard();
  if (board.value) return {ConfiguredCluster(board, *board.value)};
  Row row(kClusterColumns);
  row[2] = NameOf(board.phase);
  return {row};
}

Row FindingRow(const Board& board) {
  Row row{"rules",
          std::nullopt,
          NameOf(board.finding.code),
          NameOf(board.finding.action),
          std::nullopt,
          board.finding.evidence,
          std::nullopt};
  if (board.value) row[1] = NameOf(*board.value, board.value->primary);
  if (board.written_at != Micros{}) row[6] = ToCell((RawNow() - board.written_at).count() / 1000);
  return row;
}

std::vector<Row> AnalysisRows() {
  const Board board = CurrentBoard();
  std::vector<Row> rows{FindingRow(board)};
  for (const LoginCheck& check : ReadLoginChecks()) {
    const std::string name =
        board.value ? NameOf(*board.value, check.node) : std::to_string(check.node.value);
    rows.push_back({"login", name, std::nullopt, std::nullopt, ToCell(check.reachable), check.text,
                    ToCell((RawNow() - check.checked_at).count() / 1000)});
  }
  return rows;
}

std::vector<Row> RuleRows() {
  std::vector<Row> rows;
  for (const Rule& rule : Rules()) {
    rows.push_back({ToCell(rows.size() + 1), NameOf(rule.code), NameOf(rule.action), rule.when});
  }
  return rows;
}

}  // namespace
}  // namespace orchestra::pg

using namespace orchestra::pg;

extern "C" {

PG_FUNCTION_INFO_V1(orchestra_version);
Datum orchestra_version(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return Boundary([] { return ReturnText(kVersion); });
}

PG_FUNCTION_INFO_V1(orchestra_status);
Datum orchestra_status(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnRows(fcinfo, StatusRows()); });
}

PG_FUNCTION_INFO_V1(orchestra_cluster);
Datum orchestra_cluster(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnRows(fcinfo, ClusterRows()); });
}

PG_FUNCTION_INFO_V1(orchestra_analysis);
Datum orchestra_analysis(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnRows(fcinfo, AnalysisRows()); });
}

PG_FUNCTION_INFO_V1(orchestra_rules);
Datum orchestra_rules(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnRows(fcinfo, RuleRows()); });
}

}  // extern "C"
