// From evidence to findings: an ordered rule table (design, section 5). The first rule that holds
// about the primary wins; the table is data, so that it can be printed and golden-tested.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/types.h"

namespace orchestra {

enum class FindingCode : std::uint8_t {
  kNoProblem,
  kAllNodesUnreachable,
  kDeadPrimaryWithoutStandbys,
  kDeadPrimaryAndSomeStandbys,
  kDeadPrimary,
  kPrimaryWithoutLease,
  kSplitBrain,
  kUnreachablePrimary,
  kSyncSetDegraded,
  kAllStandbyNotReplicating,
  kStandbyNotReplicating,
  kConfigMismatch,
};
inline constexpr FindingCode kLastFindingCode = FindingCode::kConfigMismatch;

enum class FindingAction : std::uint8_t { kNone, kDetect, kFailover };

// One immutable snapshot of what a coordinator knows. Counts are of nodes other than itself where
// "reachable" is meant; a coordinator that is a standby counts itself among the standbys.
struct Topology {
  bool primary_reachable = true;
  bool lease_lapsed = false;  // at a majority of voters
  Micros without_lease{};     // for how long
  Micros lease_ttl{};
  std::size_t others = 0;  // members but this one
  std::size_t others_reachable = 0;
  std::size_t standbys = 0;  // data nodes but the primary
  std::size_t standbys_reachable = 0;
  std::size_t standbys_streaming = 0;
  std::string second_primary;  // who takes writes beside the primary, one clause; empty: nobody
  std::string degraded;        // on how few nodes commits are, one clause; empty: on enough
  std::string mismatch;        // on what members disagree, one clause; empty: on nothing
};

struct Rule {
  FindingCode code;
  FindingAction action;
  const char* when;  // for people
  bool (*holds)(const Topology&);
};

struct Finding {
  FindingCode code = FindingCode::kNoProblem;
  FindingAction action = FindingAction::kNone;
  std::string evidence;  // numbers behind it, one clause
  friend bool operator==(const Finding&, const Finding&) = default;
};

const std::vector<Rule>& Rules();
const char* NameOf(FindingCode code);  // Orchestrator's names: "DeadPrimary"
const char* NameOf(FindingAction action);
Finding Analyze(const Topology& topology);

}  // namespace orchestra
