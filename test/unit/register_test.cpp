#include "core/register.h"

#include <functional>
#include <set>

#include "unit/printers.h"
#include "unit/samples.h"

namespace orchestra {
namespace {

TEST(Register, FindsMembers) {
  const RegisterValue value = samples::Value();
  ASSERT_NE(FindMember(value, NodeId{9}), nullptr);
  EXPECT_EQ(FindMember(value, NodeId{9})->name, "n9");
  EXPECT_EQ(FindMember(value, NodeId{4}), nullptr);
  EXPECT_EQ(FindMember(value, kNoNode), nullptr);
  ASSERT_NE(FindMember(value, "n2"), nullptr);
  EXPECT_EQ(FindMember(value, "n2")->id, NodeId{2});
  EXPECT_EQ(FindMember(value, "N2"), nullptr);
  EXPECT_EQ(NameOf(value, NodeId{2}), "n2");
  EXPECT_EQ(NameOf(value, NodeId{7}), "#7");
}

TEST(Register, CountsVotersOnly) {
  const RegisterValue value = samples::Value();
  EXPECT_EQ(VoterCount(value), 3U);
  EXPECT_TRUE(IsVoter(value, NodeId{3}));
  EXPECT_FALSE(IsVoter(value, NodeId{9}));
  EXPECT_FALSE(IsVoter(value, NodeId{4}));
  EXPECT_EQ(Majority(1), 1U);
  EXPECT_EQ(Majority(3), 2U);
  EXPECT_EQ(Majority(5), 3U);
}

TEST(Register, AnInactiveEpochCountsOnItsBasis) {
  RegisterValue value = samples::Value();
  EXPECT_EQ(BasisOf(value), (Basis{NodeId{2}, TimelineId{5}, value.sync}));
  value = samples::InactiveValue();
  EXPECT_EQ(BasisOf(value), value.basis);
}

// n1 to n4 in zones; n1 is the primary. S and k as they are when every node keeps up.
TEST(Register, FullSyncSet) {
  struct Case {
    const char* name;
    std::vector<std::string> zones;
    std::function<void(RegisterValue&)> set;
    SyncSet full;
    std::uint32_t fewest;
  };
  const auto copies = [](std::uint32_t some, std::uint32_t least) {
    return [=](RegisterValue& v) {
      v.sync_copies = some;
      v.min_sync_copies = least;
    };
  };
  const auto other = [](RegisterValue& v) { v.sync_zone = SyncZone::kOther; };
  const NodeId n2{2}, n3{3}, n4{4};
  for (const Case& c : {Case{"one copy", {"", "", ""}, copies(1, 1), {{n2, n3}, 1}, 1},
                        Case{"two copies", {"", "", "", ""}, copies(2, 1), {{n2, n3, n4}, 2}, 1},
                        Case{"more than there are", {"", "", ""}, copies(3, 2), {{n2, n3}, 2}, 2},
                        Case{"fewer candidates than wanted", {"", ""}, copies(2, 2), {{n2}, 1}, 1},
                        Case{"nobody else", {""}, copies(2, 2), {{}, 0}, 0},
                        Case{"another zone", {"a", "a", "b"}, other, {{n3}, 1}, 1},
                        Case{"no other zone", {"a", "a", "a"}, other, {{n2, n3}, 2}, 1},
                        Case{"two copies, one zone",
                             {"a", "a", "b"},
                             [&](RegisterValue& v) {
                               copies(2, 2)(v);
                               other(v);
                             },
                             {{n2, n3}, 2},
                             2},
                        Case{"async",
                             {"", ""},
                             [](RegisterValue& v) { v.durability = Durability::kAsync; },
                             {{}, 0},
                             0}}) {
    RegisterValue value = samples::Value();
    value.sync_zone = SyncZone::kAny;
    value.members.clear();
    for (std::size_t i = 0; i < c.zones.size(); i++) {
      value.members.push_back(samples::Node(static_cast<std::uint16_t>(i + 1)));
      value.members.back().zone = c.zones[i];
    }
    c.set(value);
    EXPECT_EQ(FullSyncSet(value, NodeId{1}), c.full) << c.name;
    EXPECT_EQ(FewestCopies(value, NodeId{1}), c.fewest) << c.name;
  }
}

TEST(Register, OnlyWalOfTheLineageIsOnIt) {
  const RegisterValue value = samples::InactiveValue();
  struct Case {
    std::uint32_t timeline;
    EpochId wal_epoch;
    bool on;
  };
  for (const Case& c :
       {Case{4, samples::Epoch(1, 1, 1), true}, Case{4, EpochId{}, false},
        Case{5, samples::Epoch(4, 3, 12), true}, Case{5, samples::Epoch(6, 1, 18), true},
        Case{5, samples::Epoch(4, 3, 11), false},  // abandoned, same number
        Case{6, samples::Epoch(5, 2, 15), true},   // the target's own branch
        Case{6, samples::Epoch(5, 2, 16), false},  // another primary's
        Case{6, samples::Epoch(5, 3, 16), true},   // it stayed primary since then
        Case{6, samples::Epoch(6, 1, 18), true}, Case{7, samples::Epoch(6, 1, 18), false}})
    EXPECT_EQ(OnLineage(value, TimelineId{c.timeline}, c.wal_epoch), c.on)
        << c.timeline << ' ' << ToText(c.wal_epoch);
  EXPECT_FALSE(OnLineage(samples::Value(), TimelineId{6}, samples::Epoch(5, 2, 15)));
}

TEST(Register, AQuorumIsAMajorityOfBothSetsOfVoters) {
  RegisterValue value = samples::Value();  // voters 1, 2, 3; before: 1, 2, 9
  struct Case {
    std::set<NodeId> nodes;
    bool joint, now;
  };
  const auto of = [](std::initializer_list<std::uint16_t> ids) {
    std::set<NodeId> nodes;
    for (const std::uint16_t id : ids) nodes.insert(NodeId{id});
    return nodes;
  };
  for (const Case& c :
       {Case{of({1, 2}), true, true}, Case{of({1, 3}), false, true}, Case{of({1, 9}), false, false},
        Case{of({1, 3, 9}), true, true}, Case{of({3, 9}), false, false}, Case{of({}), false, false},
        Case{of({1, 7, 8}), false, false}}) {
    EXPECT_EQ(HasQuorum(value, c.nodes), c.joint);
    EXPECT_EQ(HasQuorum(value, c.nodes, false), c.now);
  }
  EXPECT_TRUE(HasVote(value, NodeId{9}));
  EXPECT_FALSE(IsVoter(value, NodeId{9}));
  value.voters_prev.clear();
  EXPECT_FALSE(HasVote(value, NodeId{9}));
}

TEST(Register, TheSettingIsWithinTheRegister) {
  const SyncSet agreed{{NodeId{1}, NodeId{2}}, 1};
  EXPECT_TRUE(Compatible(agreed, agreed));
  EXPECT_TRUE(Compatible({{NodeId{2}}, 1}, agreed));
  EXPECT_TRUE(Compatible({{NodeId{1}, NodeId{2}}, 2}, agreed));
  EXPECT_FALSE(Compatible({{NodeId{1}, NodeId{3}}, 1}, agreed));
  EXPECT_FALSE(Compatible({{}, 0}, agreed));
  EXPECT_TRUE(Compatible({{NodeId{3}}, 1}, {{NodeId{1}}, 0})) << "nothing is counted on";
}

TEST(Register, HasLooksIntoTheSet) {
  const SyncSet sync{{NodeId{1}, NodeId{3}, NodeId{9}}, 1};
  EXPECT_TRUE(sync.Has(NodeId{1}));
  EXPECT_TRUE(sync.Has(NodeId{9}));
  EXPECT_FALSE(sync.Has(NodeId{2}));
  EXPECT_FALSE(SyncSet{}.Has(NodeId{1}));
}

TEST(Register, ValidValues) {
  EXPECT_EQ(Validate(samples::Value()), "");
  EXPECT_EQ(Validate(samples::LargestValue()), "");
  RegisterValue value = samples::Value();
  value.basis = Basis{};  // nothing was ever abandoned
  EXPECT_EQ(Validate(value), "");
  EXPECT_EQ(Validate(samples::InactiveValue()), "");
  value = samples::Value();
  value.members = {samples::Node(2)};
  value.voters_prev = {};
  value.sync = SyncSet{};
  value.basis = Basis{};
  EXPECT_EQ(Validate(value), "");
}

struct Breakage {
  const char* complaint;  // part of it
  std::function<void(RegisterValue&)> breaks;
};

void PrintTo(const Breakage& breakage, std::ostream* os) { *os << breakage.complaint; }

class InvalidRegister : public testing::TestWithParam<Breakage> {};

TEST_P(InvalidRegister, IsRefusedWithAReason) {
  RegisterValue value = samples::Value();
  GetParam().breaks(value);
  EXPECT_NE(Validate(value).find(GetParam().complaint), std::string::npos) << Validate(value);
}

using Value = RegisterValue;
INSTANTIATE_TEST_SUITE_P(
    All, InvalidRegister,
    testing::Values(
        Breakage{"no cluster id", [](Value& v) { v.cluster_id = {}; }},
        Breakage{"cluster's name", [](Value& v) { v.cluster_name.assign(64, 'a'); }},
        Breakage{"cluster's name", [](Value& v) { v.cluster_name = "a\nb"; }},
        Breakage{"no version", [](Value& v) { v.version = {}; }},
        Breakage{"epoch is not one", [](Value& v) { v.epoch = {}; }},
        Breakage{"epoch is not one", [](Value& v) { v.version = Version{11}; }},
        Breakage{"no members", [](Value& v) { v.members.clear(); }},
        Breakage{"too many members",
                 [](Value& v) { v.members.resize(kMaxMembers + 1, samples::Node(1)); }},
        Breakage{"sorted by unique", [](Value& v) { v.members[0].id = kNoNode; }},
        Breakage{"sorted by unique", [](Value& v) { v.members[1].id = NodeId{1}; }},
        Breakage{"sorted by unique", [](Value& v) { std::swap(v.members[0], v.members[1]); }},
        Breakage{"name is empty", [](Value& v) { v.members[0].name.clear(); }},
        Breakage{"name is empty", [](Value& v) { v.members[0].name.assign(64, 'a'); }},
        Breakage{"name is empty", [](Value& v) { v.members[0].name = "n\t1"; }},
        Breakage{"called n2", [](Value& v) { v.members[0].name = "n2"; }},
        Breakage{"address of n1", [](Value& v) { v.members[0].peer.host.assign(256, 'a'); }},
        Breakage{"address of n1", [](Value& v) { v.members[0].server.host = "a\x7f"; }},
        Breakage{"not odd", [](Value& v) { v.members[3].voter = true; }},
        Breakage{"not odd",
                 [](Value& v) {
                   for (auto& m : v.members) m.voter = false;
                 }},
        Breakage{"previous voters is not odd", [](Value& v) { v.voters_prev.pop_back(); }},
        Breakage{"previous voters are not sorted",
                 [](Value& v) { std::swap(v.voters_prev[0], v.voters_prev[1]); }},
        Breakage{"previous voter is no member", [](Value& v) { v.voters_prev[2] = NodeId{8}; }},
        Breakage{"voters are not of one", [](Value& v) { v.voters_since = Version{18}; }},
        Breakage{"witness cannot be the primary",
                 [](Value& v) { v.members[1].kind = MemberKind::kWitness; }},
        Breakage{"witness cannot be a synchronous",
                 [](Value& v) { v.members[0].kind = MemberKind::kWitness; }},
        Breakage{"longest lease", [](Value& v) { v.longest_ttl_ms = 1499; }},
        Breakage{"former clusters",
                 [](Value& v) { v.former_clusters.resize(kMaxFormerClusters + 1); }},
        Breakage{"has no synchronous set", [](Value& v) { v.durability = Durability::kAsync; }},
        Breakage{"primary is no member", [](Value& v) { v.primary = NodeId{4}; }},
        Breakage{"primary is no member", [](Value& v) { v.primary = kNoNode; }},
        Breakage{"has a timeline", [](Value& v) { v.timeline = {}; }},
        Breakage{"has a timeline", [](Value& v) { v.active = false; }},
        Breakage{"not sorted", [](Value& v) { std::swap(v.sync.nodes[0], v.sync.nodes[1]); }},
        Breakage{"not sorted", [](Value& v) { v.sync.nodes[1] = v.sync.nodes[0]; }},
        Breakage{"is no member", [](Value& v) { v.sync.nodes[1] = NodeId{4}; }},
        Breakage{"own synchronous set", [](Value& v) { v.sync.nodes[0] = v.primary; }},
        Breakage{"k is larger", [](Value& v) { v.sync.k = 3; }},
        Breakage{"k is larger", [](Value& v) { v.basis.sync.k = 3; }},
        Breakage{"sync_copies", [](Value& v) { v.min_sync_copies = v.sync_copies + 1; }},
        Breakage{"sync_copies", [](Value& v) { v.min_sync_copies = 0; }},
        Breakage{"zone of", [](Value& v) { v.members[0].zone = "a\n"; }},
        Breakage{"no lineage", [](Value& v) { v.lineage.clear(); }},
        Breakage{"too long a one",
                 [](Value& v) { v.lineage.resize(kMaxLineage + 1, v.lineage.back()); }},
        Breakage{"branch of its own", [](Value& v) { v.target_branch = v.lineage.back(); }},
        Breakage{"no basis",
                 [](Value& v) {
                   v.active = false;
                   v.timeline = {};
                   v.basis = {};
                 }},
        Breakage{"lease is too", [](Value& v) { v.lease_ttl_ms = 99; }},
        Breakage{"lease is too", [](Value& v) { v.lease_ttl_ms = 60'001; }},
        Breakage{"drift bound", [](Value& v) { v.drift_permille = 251; }}));

}  // namespace
}  // namespace orchestra
