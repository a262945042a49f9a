#include "core/analysis.h"

#include <functional>
#include <set>
#include <sstream>

#include "unit/consensus_node.h"
#include "unit/golden.h"
#include "unit/printers.h"

namespace orchestra {
namespace {

using std::chrono::seconds;

constexpr Micros kTtl{2'000'000};

// Everything that a small cluster's coordinator can see. Who takes writes too, and what does not
// match, where the rest leaves something to say.
std::vector<Topology> AllSmall() {
  std::vector<Topology> all;
  auto add = [&all](bool primary, int lapsed, std::size_t others, std::size_t heard) {
    const Micros without{lapsed == 0 ? 0 : (lapsed - 1) * kTtl.count()};
    for (std::size_t standbys = 0; standbys <= 2; standbys++)
      for (std::size_t reachable = 0; reachable <= standbys; reachable++)
        for (std::size_t streaming = 0; streaming <= standbys; streaming++)
          for (const int more : {0, 1, 2, 3, 4})
            if (more == 0 || (others == 2 && streaming == reachable))
              all.push_back({primary, lapsed > 0, without, kTtl, others, heard, standbys, reachable,
                             streaming, (more & 1) != 0 ? "n3 too" : "",
                             more == 4 ? "commits are on n1 alone" : "",
                             (more & 2) != 0 ? "n1 is not as n2" : ""});
  };
  for (const bool primary : {true, false})
    for (int lapsed = 0; lapsed <= 2; lapsed++)
      for (std::size_t others = 0; others <= 2; others++)
        for (std::size_t heard = 0; heard <= others; heard++) add(primary, lapsed, others, heard);
  return all;
}

const char* Lease(const Topology& t) {
  if (!t.lease_lapsed) return "held";
  return t.without_lease < t.lease_ttl ? "lapsed" : "lapsed-a-ttl-ago";
}

std::string Table() {
  std::ostringstream out;
  for (const Rule& rule : Rules())
    out << NameOf(rule.code) << " -> " << NameOf(rule.action) << ": " << rule.when << '\n';
  for (const Topology& t : AllSmall()) {
    const Finding finding = Analyze(t);
    out << "primary=" << (t.primary_reachable ? "up" : "unreachable") << " lease=" << Lease(t)
        << " others=" << t.others_reachable << '/' << t.others
        << " standbys=" << t.standbys_reachable << '/' << t.standbys
        << " streaming=" << t.standbys_streaming << (t.second_primary.empty() ? "" : " second")
        << (t.degraded.empty() ? "" : " degraded") << (t.mismatch.empty() ? "" : " mismatch")
        << " -> " << NameOf(finding.code) << ' ' << NameOf(finding.action) << '\n';
  }
  return out.str();
}

TEST(Analysis, TheWholeTable) { ExpectGolden("analysis.txt", Table()); }

TEST(Analysis, EveryFindingOccurs) {
  std::set<FindingCode> seen;
  for (const Topology& t : AllSmall()) seen.insert(Analyze(t).code);
  EXPECT_EQ(seen.size(), Rules().size());
}

// Said once more without the table: what no rule may ever do.
TEST(Analysis, AHeldLeaseIsAVeto) {
  for (const Topology& t : AllSmall()) {
    const bool failover = Analyze(t).action == FindingAction::kFailover;
    if (!t.lease_lapsed) {
      EXPECT_FALSE(failover);
    }
    if (t.others > 0 && t.others_reachable == 0) {
      EXPECT_FALSE(failover);
    }
    // Whatever else is wrong, and whatever a node says of itself.
    const bool due = t.lease_lapsed && t.without_lease >= t.lease_ttl;
    const bool nobody =
        !t.primary_reachable && t.standbys_reachable == 0 && t.standbys_streaming == 0;
    if (due && !nobody && (t.others == 0 || t.others_reachable > 0)) {
      EXPECT_TRUE(failover);
    }
    if (nobody) {
      EXPECT_FALSE(failover);
    }
    if (Analyze(t).code == FindingCode::kNoProblem) {
      EXPECT_TRUE(t.primary_reachable && t.second_primary.empty() && t.degraded.empty() &&
                  t.mismatch.empty());
    }
  }
}

TEST(Analysis, EvidenceHasTheNumbers) {
  Topology t{false, true, Micros{2'345'678}, kTtl, 2, 1, 2, 1, 0, {}, {}, {}};
  const Finding finding = Analyze(t);
  EXPECT_EQ(finding.code, FindingCode::kDeadPrimaryAndSomeStandbys);
  EXPECT_EQ(finding.action, FindingAction::kFailover);
  EXPECT_EQ(finding.evidence,
            "primary unreachable, no lease for 2345 ms, 1 of 2 other nodes reachable, "
            "1 of 2 standbys reachable, 0 of 2 streaming");
  t = {true, false, {}, kTtl, 2, 2, 2, 2, 2, {}, {}, {}};
  EXPECT_EQ(Analyze(t), (Finding{FindingCode::kNoProblem, FindingAction::kNone,
                                 "primary reachable, lease renewed, 2 of 2 other nodes reachable, "
                                 "2 of 2 standbys reachable, 2 of 2 streaming"}));
}

// n1 is the primary, all is well, and `self` has led for a minute.
struct Seen {
  State state;
  RegisterValue value;
  Instant now{seconds(1000), seconds(900)};

  Seen(std::uint16_t data, std::uint16_t witnesses, std::uint16_t self) {
    value = hand::FirstValue(static_cast<std::uint16_t>(data + witnesses));
    state.phase = Phase::kConfigured;
    state.durable.identity.node = NodeId{self};
    state.role = Role::kCoordinator;
    state.proposal_committed = true;
    state.led_since = {now.boottime - seconds(60), now.monotonic_raw - seconds(60)};
    state.leased_at = now;
    for (Member& member : value.members) {
      const bool witness = member.id.value > data;
      if (witness) member.kind = MemberKind::kWitness;
      PeerView& peer = state.peers[member.id];
      peer.heard_at = peer.status_at = now;
      peer.status.db = witness                ? DbState::kNone
                       : member.id.value == 1 ? DbState::kPrimary
                                              : DbState::kStandby;
      peer.status.gate_open = member.id.value == 1;
      peer.status.version = "0.1";
      if (witness) continue;
      peer.status.server_version_num = 150'020;
      if (member.id.value > 1) peer.status.receiver = ReceiverState::kStreaming;
    }
  }
  NodeStatus& Says(std::uint16_t id) { return state.peers[NodeId{id}].status; }
  void Silent(std::uint16_t id) {
    PeerView& peer = state.peers[NodeId{id}];
    peer.heard_at = peer.status_at = {now.boottime - seconds(10), now.monotonic_raw - seconds(10)};
  }
  void Lapsed() {
    state.lease_lapsed = true;
    for (auto& [id, peer] : state.peers) peer.status.receiver = ReceiverState::kStopped;
  }
  void Promoted(std::uint16_t id, bool gate_open) {
    Says(id).db = DbState::kPrimary;
    Says(id).timeline = TimelineId{2};
    Says(id).gate_open = gate_open;
  }
  Finding Find() {
    state.durable.committed = hand::WriteOf(value, value.epoch.value.ballot);
    return Analyze(TopologyOf(state, now));
  }
};

struct Case {
  const char* name;
  std::function<void(Seen&)> change;
  FindingCode code;
  const char* evidence = "";  // how it ends
};

void PrintTo(const Case& c, std::ostream* os) { *os << c.name; }

void Check(Seen seen, const Case& c) {
  c.change(seen);
  const Finding finding = seen.Find();
  EXPECT_EQ(finding.code, c.code) << finding.evidence;
  const std::string end = c.evidence;
  EXPECT_TRUE(finding.evidence.size() >= end.size() &&
              finding.evidence.substr(finding.evidence.size() - end.size()) == end)
      << finding.evidence;
}

class FiveNodes : public testing::TestWithParam<Case> {};
TEST_P(FiveNodes, Finding) { Check(Seen(5, 0, 2), GetParam()); }

using Code = FindingCode;
INSTANTIATE_TEST_SUITE_P(
    Analysis, FiveNodes,
    testing::Values(
        Case{"all is well", [](Seen&) {}, Code::kNoProblem,
             "primary reachable, lease renewed, 4 of 4 other nodes reachable, 4 of 4 standbys "
             "reachable, 4 of 4 streaming"},
        Case{"nobody answers",
             [](Seen& s) {
               s.Lapsed();
               for (const std::uint16_t id : {1, 3, 4, 5}) s.Silent(id);
             },
             Code::kAllNodesUnreachable},
        Case{"the primary dies",
             [](Seen& s) {
               s.Lapsed();
               s.Silent(1);
             },
             Code::kDeadPrimary, "4 of 4 standbys reachable, 0 of 4 streaming"},
        Case{"the primary and two standbys die",
             [](Seen& s) {
               s.Lapsed();
               for (const std::uint16_t id : {1, 3, 4}) s.Silent(id);
             },
             Code::kDeadPrimaryAndSomeStandbys, "2 of 4 standbys reachable, 0 of 4 streaming"},
        Case{"only the coordinator does not reach the primary", [](Seen& s) { s.Silent(1); },
             Code::kUnreachablePrimary, "4 of 4 streaming"},
        Case{"the primary streams without a lease",
             [](Seen& s) {
               s.state.lease_lapsed = true;
               s.state.leased_at = {s.now.boottime - seconds(3), s.now.monotonic_raw - seconds(3)};
             },
             Code::kPrimaryWithoutLease, "4 of 4 streaming"},
        Case{"two standbys are gone",
             [](Seen& s) {
               s.Silent(4);
               s.Silent(5);
             },
             Code::kStandbyNotReplicating, "2 of 4 standbys reachable, 2 of 4 streaming"},
        Case{"three standbys are gone, and the last does not stream",
             [](Seen& s) {
               for (const std::uint16_t id : {3, 4, 5}) s.Silent(id);
               s.Says(2).receiver = ReceiverState::kStarting;
             },
             Code::kAllStandbyNotReplicating, "1 of 4 standbys reachable, 0 of 4 streaming"}));

INSTANTIATE_TEST_SUITE_P(
    SplitBrain, FiveNodes,
    testing::Values(Case{"a gate is open beside the primary's",
                         [](Seen& s) { s.Promoted(4, true); }, Code::kSplitBrain,
                         "n4 takes writes too, on timeline 2"},
                    Case{"and the primary cannot be reached",
                         [](Seen& s) {
                           s.Promoted(4, true);
                           s.Silent(1);
                         },
                         Code::kSplitBrain},
                    Case{"a former primary behind its closed gate",
                         [](Seen& s) {
                           s.Promoted(4, false);
                           s.Says(4).receiver = ReceiverState::kStopped;
                         },
                         Code::kStandbyNotReplicating, "3 of 4 streaming"},
                    Case{"an open gate that is not heard of any more",
                         [](Seen& s) {
                           s.Promoted(4, true);
                           s.Silent(4);
                         },
                         Code::kStandbyNotReplicating, "3 of 4 streaming"},
                    Case{"what it says is old, though it answers heartbeats",
                         [](Seen& s) {
                           s.Promoted(4, true);
                           s.state.peers[NodeId{4}].status_at = Instant{};
                         },
                         Code::kNoProblem},
                    Case{"it is no veto",
                         [](Seen& s) {
                           s.Lapsed();
                           s.Silent(1);
                           s.Promoted(4, true);
                         },
                         Code::kDeadPrimary, "n4 takes writes too, on timeline 2"},
                    Case{"mode observe: without a gate",
                         [](Seen& s) {
                           s.value.mode = Mode::kObserve;
                           s.Promoted(4, false);
                         },
                         Code::kSplitBrain, "n4 takes writes too, on timeline 2"},
                    Case{"mode observe: standbys only",
                         [](Seen& s) { s.value.mode = Mode::kObserve; }, Code::kNoProblem}));

INSTANTIATE_TEST_SUITE_P(
    ConfigMismatch, FiveNodes,
    testing::Values(
        Case{"another orchestra", [](Seen& s) { s.Says(5).version = "0.2"; }, Code::kConfigMismatch,
             "n1 runs orchestra 0.1, n5 0.2"},
        Case{"one that did not say", [](Seen& s) { s.Says(5).version = ""; }, Code::kNoProblem},
        Case{"another major version", [](Seen& s) { s.Says(3).server_version_num = 160'004; },
             Code::kConfigMismatch, "n1 runs PostgreSQL 15, n3 16"},
        Case{"another minor version", [](Seen& s) { s.Says(3).server_version_num = 150'019; },
             Code::kNoProblem},
        Case{"another orchestra, long ago",
             [](Seen& s) {
               s.Says(5).version = "0.2";
               s.state.peers[NodeId{5}].status_at = Instant{};
             },
             Code::kNoProblem},
        Case{"one application_name", [](Seen& s) { s.value.members[3].name = "N2"; },
             Code::kConfigMismatch, "n2 and N2 have one name"},
        Case{"one server address",
             [](Seen& s) { s.value.members[3].server = s.value.members[0].server; },
             Code::kConfigMismatch, "n1 and n4 have one server address"},
        Case{"one peer address", [](Seen& s) { s.value.members[3].peer = s.value.members[2].peer; },
             Code::kConfigMismatch, "n3 and n4 have one peer address"},
        Case{"one host, two ports",
             [](Seen& s) {
               s.value.members[3].server = s.value.members[0].server;
               s.value.members[3].server.port++;
             },
             Code::kNoProblem},
        Case{"no addresses",
             [](Seen& s) { s.value.members[3].server = s.value.members[2].server = Address{}; },
             Code::kNoProblem},
        Case{"a setting is overridden",
             [](Seen& s) {
               s.Says(1).problem = "it rains; synchronous_standby_names" +
                                   std::string(kOverridden) + " (by the weather); and snows";
             },
             Code::kConfigMismatch, "on n1 synchronous_standby_names is overridden"},
        Case{"another problem", [](Seen& s) { s.Says(1).problem = "it rains"; }, Code::kNoProblem},
        Case{"a standby that does not stream is more urgent",
             [](Seen& s) {
               s.Says(5).version = "0.2";
               s.Silent(4);
             },
             Code::kStandbyNotReplicating, "3 of 4 streaming, n1 runs orchestra 0.1, n5 0.2"}));

// n1 and n2 have data, the witness n3 leads.
class TwoAndAWitness : public testing::TestWithParam<Case> {};
TEST_P(TwoAndAWitness, Finding) { Check(Seen(2, 1, 3), GetParam()); }

INSTANTIATE_TEST_SUITE_P(
    Analysis, TwoAndAWitness,
    testing::Values(
        Case{"all is well", [](Seen&) {}, Code::kNoProblem,
             "2 of 2 other nodes reachable, 1 of 1 standbys reachable, 1 of 1 streaming"},
        Case{"the primary dies",
             [](Seen& s) {
               s.Lapsed();
               s.Silent(1);
             },
             Code::kDeadPrimary, "1 of 1 standbys reachable, 0 of 1 streaming"},
        Case{"the standby dies", [](Seen& s) { s.Silent(2); }, Code::kAllStandbyNotReplicating,
             "0 of 1 standbys reachable, 0 of 1 streaming"},
        Case{"both die",
             [](Seen& s) {
               s.Lapsed();
               s.Silent(1);
               s.Silent(2);
             },
             Code::kAllNodesUnreachable},
        Case{"the witness runs another orchestra", [](Seen& s) { s.Says(3).version = "0.2"; },
             Code::kConfigMismatch, "n1 runs orchestra 0.1, n3 0.2"},
        Case{"the standby was promoted by hand",
             [](Seen& s) {
               s.value.mode = Mode::kObserve;
               s.Promoted(2, false);
             },
             Code::kSplitBrain, "n2 takes writes too, on timeline 2"}));

// Three witnesses are a majority although no data is left.
class TwoAndThreeWitnesses : public testing::TestWithParam<Case> {};
TEST_P(TwoAndThreeWitnesses, Finding) { Check(Seen(2, 3, 3), GetParam()); }

INSTANTIATE_TEST_SUITE_P(
    Analysis, TwoAndThreeWitnesses,
    testing::Values(Case{"the primary dies",
                         [](Seen& s) {
                           s.Lapsed();
                           s.Silent(1);
                         },
                         Code::kDeadPrimary},
                    Case{"the primary and the standby die",
                         [](Seen& s) {
                           s.Lapsed();
                           s.Silent(1);
                           s.Silent(2);
                         },
                         Code::kDeadPrimaryWithoutStandbys,
                         "2 of 4 other nodes reachable, 0 of 1 standbys reachable, 0 of 1 "
                         "streaming"}));

}  // namespace
}  // namespace orchestra
