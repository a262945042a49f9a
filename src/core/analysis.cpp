#include "core/analysis.h"

namespace orchestra {
namespace {

// A coordinator that hears nobody is the isolated one.
bool AllNodesUnreachable(const Topology& t) { return t.others > 0 && t.others_reachable == 0; }

// The only veto (rule 8). Also while standbys stream on from a primary whose lease has just lapsed:
// that is PrimaryWithoutLease once it lasts.
bool UnreachablePrimary(const Topology& t) {
  if (t.primary_reachable) return false;
  return !t.lease_lapsed || (t.standbys_streaming > 0 && t.without_lease < t.lease_ttl);
}

bool DeadPrimary(const Topology& t) {
  return !t.primary_reachable && t.lease_lapsed && t.standbys_streaming == 0;
}

// No failover could choose anybody. Nothing is fenced, so that a primary that comes back goes on in
// its epoch.
bool DeadPrimaryWithoutStandbys(const Topology& t) {
  return DeadPrimary(t) && t.standbys_reachable == 0;
}

bool DeadPrimaryAndSomeStandbys(const Topology& t) {
  return DeadPrimary(t) && t.standbys_reachable < t.standbys;
}

bool PrimaryWithoutLease(const Topology& t) {
  return t.lease_lapsed && t.without_lease >= t.lease_ttl;
}

bool SplitBrain(const Topology& t) { return !t.second_primary.empty(); }

bool SyncSetDegraded(const Topology& t) { return !t.degraded.empty(); }

bool AllStandbyNotReplicating(const Topology& t) {
  return t.primary_reachable && t.standbys > 0 && t.standbys_streaming == 0;
}

bool StandbyNotReplicating(const Topology& t) {
  return t.primary_reachable && t.standbys_streaming < t.standbys;
}

bool ConfigMismatch(const Topology& t) { return !t.mismatch.empty(); }

bool NoProblem(const Topology& /*t*/) { return true; }

std::string Evidence(const Topology& t) {
  std::string text = t.primary_reachable ? "primary reachable" : "primary unreachable";
  if (t.lease_lapsed) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(t.without_lease).count();
    text += ", no lease for " + std::to_string(ms) + " ms";
  } else {
    text += ", lease renewed";
  }
  auto of = [](std::size_t part, std::size_t all) {
    return std::to_string(part) + " of " + std::to_string(all);
  };
  text += ", " + of(t.others_reachable, t.others) + " other nodes reachable";
  text += ", " + of(t.standbys_reachable, t.standbys) + " standbys reachable";
  text += ", " + of(t.standbys_streaming, t.standbys) + " streaming";
  for (const std::string& more : {t.second_primary, t.degraded, t.mismatch})
    if (!more.empty()) text += ", " + more;
  return text;
}

}  // namespace

// As in Orchestrator: who may see nothing decides nothing; then what calls for a recovery, the
// worst first; then what people must know, the worst first. So SplitBrain, urgent as it is, comes
// after the failovers: what a node says of itself must not keep a cluster without a primary (the
// lease is the only veto, rule 8), and the fence of a failover is what stops a second primary. It
// comes before UnreachablePrimary, which is often half of the same story.
const std::vector<Rule>& Rules() {
  using Code = FindingCode;
  using Action = FindingAction;
  static const std::vector<Rule> kRules = {
      {Code::kAllNodesUnreachable, Action::kNone,
       "no other node can be reached: this node is the isolated one", AllNodesUnreachable},
      {Code::kDeadPrimaryWithoutStandbys, Action::kDetect,
       "as DeadPrimary, and no standby can be reached: there is nothing to fail over to",
       DeadPrimaryWithoutStandbys},
      {Code::kDeadPrimaryAndSomeStandbys, Action::kFailover,
       "as DeadPrimary, and some standbys cannot be reached either", DeadPrimaryAndSomeStandbys},
      {Code::kDeadPrimary, Action::kFailover,
       "the primary cannot be reached, its lease has lapsed and no standby streams from it",
       DeadPrimary},
      {Code::kPrimaryWithoutLease, Action::kFailover,
       "the primary's lease lapsed at least one TTL ago, whatever still streams from it",
       PrimaryWithoutLease},
      {Code::kSplitBrain, Action::kDetect,
       "another node than the primary lets commits in; in mode observe: is out of recovery",
       SplitBrain},
      {Code::kUnreachablePrimary, Action::kNone,
       "the primary cannot be reached, but a majority renews its lease or standbys still stream",
       UnreachablePrimary},
      {Code::kSyncSetDegraded, Action::kDetect,
       "commits are on fewer standbys than min_sync_copies; with none, no failover",
       SyncSetDegraded},
      {Code::kAllStandbyNotReplicating, Action::kDetect,
       "the primary is well, no standby streams from it", AllStandbyNotReplicating},
      {Code::kStandbyNotReplicating, Action::kDetect,
       "the primary is well, some standby does not stream from it", StandbyNotReplicating},
      {Code::kConfigMismatch, Action::kDetect,
       "members differ in versions, share a name or an address, or override a managed setting",
       ConfigMismatch},
      {Code::kNoProblem, Action::kNone, "nothing of the above", NoProblem},
  };
  return kRules;
}

const char* NameOf(FindingCode code) {
  switch (code) {
    case FindingCode::kNoProblem:
      return "NoProblem";
    case FindingCode::kAllNodesUnreachable:
      return "AllNodesUnreachable";
    case FindingCode::kDeadPrimaryWithoutStandbys:
      return "DeadPrimaryWithoutStandbys";
    case FindingCode::kDeadPrimaryAndSomeStandbys:
      return "DeadPrimaryAndSomeStandbys";
    case FindingCode::kDeadPrimary:
      return "DeadPrimary";
    case FindingCode::kPrimaryWithoutLease:
      return "PrimaryWithoutLease";
    case FindingCode::kSplitBrain:
      return "SplitBrain";
    case FindingCode::kUnreachablePrimary:
      return "UnreachablePrimary";
    case FindingCode::kSyncSetDegraded:
      return "SyncSetDegraded";
    case FindingCode::kAllStandbyNotReplicating:
      return "AllStandbyNotReplicating";
    case FindingCode::kStandbyNotReplicating:
      return "StandbyNotReplicating";
    case FindingCode::kConfigMismatch:
      return "ConfigMismatch";
  }
  return "Unknown";
}

const char* NameOf(FindingAction action) {
  switch (action) {
    case FindingAction::kNone:
      return "none";
    case FindingAction::kDetect:
      return "detect";
    case FindingAction::kFailover:
      return "failover";
  }
  return "unknown";
}

Finding Analyze(const Topology& topology) {
  for (const Rule& rule : Rules())
    if (rule.holds(topology)) return {rule.code, rule.action, Evidence(topology)};
  return {};
}

}  // namespace orchestra
