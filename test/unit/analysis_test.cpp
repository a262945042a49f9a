#include "core/analysis.h"

#include <set>
#include <sstream>

#include "unit/golden.h"
#include "unit/printers.h"

namespace orchestra {
namespace {

constexpr Micros kTtl{2'000'000};

// Everything that a small cluster's coordinator can see.
std::vector<Topology> AllSmall() {
  std::vector<Topology> all;
  auto add = [&all](bool primary, int lapsed, std::size_t others, std::size_t heard) {
    for (std::size_t standbys = 0; standbys <= 2; standbys++)
      for (std::size_t reachable = 0; reachable <= standbys; reachable++)
        for (std::size_t streaming = 0; streaming <= standbys; streaming++)
          all.push_back({primary, lapsed > 0, Micros{lapsed == 0 ? 0 : (lapsed - 1) * kTtl.count()},
                         kTtl, others, heard, standbys, reachable, streaming});
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
        << " streaming=" << t.standbys_streaming << " -> " << NameOf(finding.code) << ' '
        << NameOf(finding.action) << '\n';
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
    const bool due = t.lease_lapsed && t.without_lease >= t.lease_ttl;
    if (due && (t.others == 0 || t.others_reachable > 0)) {
      EXPECT_TRUE(failover);
    }
    if (Analyze(t).code == FindingCode::kNoProblem) {
      EXPECT_TRUE(t.primary_reachable);
    }
  }
}

TEST(Analysis, EvidenceHasTheNumbers) {
  Topology t{false, true, Micros{2'345'678}, kTtl, 2, 1, 2, 1, 0};
  const Finding finding = Analyze(t);
  EXPECT_EQ(finding.code, FindingCode::kDeadPrimaryAndSomeStandbys);
  EXPECT_EQ(finding.action, FindingAction::kFailover);
  EXPECT_EQ(finding.evidence,
            "primary unreachable, no lease for 2345 ms, 1 of 2 other nodes reachable, "
            "1 of 2 standbys reachable, 0 of 2 streaming");
  t = {true, false, {}, kTtl, 2, 2, 2, 2, 2};
  EXPECT_EQ(Analyze(t), (Finding{FindingCode::kNoProblem, FindingAction::kNone,
                                 "primary reachable, lease renewed, 2 of 2 other nodes reachable, "
                                 "2 of 2 standbys reachable, 2 of 2 streaming"}));
}

}  // namespace
}  // namespace orchestra
