// What each change makes of the register, and what is refused.
#include "core/change.h"

#include <gtest/gtest.h>

#include <functional>

#include "printers.h"
#include "samples.h"

namespace orchestra {
namespace {

constexpr NodeId kPrimary{2};

// Voters 1, 2, 3, member 9, witness 10; primary 2, no change of voters under way.
RegisterValue Base() {
  RegisterValue value = samples::Value();
  value.voters_prev.clear();
  value.basis = Basis{};
  Member witness = samples::Node(10, false);
  witness.kind = MemberKind::kWitness;
  value.members.push_back(witness);
  return value;
}

Request Asks(const RegisterValue& value, Change change) {
  Request request;
  request.epoch = value.epoch;
  request.base = value.version;
  request.boot = value.primary_boot;
  request.change = std::move(change);
  return request;
}

using Voters = std::vector<NodeId>;
Voters Of(std::initializer_list<std::uint16_t> ids) {
  Voters voters;
  for (const std::uint16_t id : ids) voters.push_back(NodeId{id});
  return voters;
}

struct Row {
  const char* name;
  Change change;
  const char* refusal;  // part of it; empty: the register becomes as `expect` says
  std::function<void(RegisterValue&)> before = nullptr;
  std::function<bool(const RegisterValue&)> expect = nullptr;
  Verdict verdict = Verdict::kRefused;
};
void PrintTo(const Row& row, std::ostream* os) { *os << row.name; }

class Changes : public testing::TestWithParam<Row> {};

TEST_P(Changes, MakeOfTheRegister) {
  const Row& row = GetParam();
  RegisterValue value = Base();
  if (row.before) row.before(value);
  ASSERT_EQ(Validate(value), "");
  const auto outcome = Changed(value, kPrimary, Asks(value, row.change));
  EXPECT_FALSE(TextOf(value, row.change).empty());
  if (*row.refusal != '\0') {
    ASSERT_TRUE(std::holds_alternative<Refusal>(outcome));
    EXPECT_EQ(std::get<Refusal>(outcome).verdict, row.verdict);
    EXPECT_NE(std::get<Refusal>(outcome).reason.find(row.refusal), std::string::npos)
        << std::get<Refusal>(outcome).reason;
    return;
  }
  ASSERT_TRUE(std::holds_alternative<RegisterValue>(outcome)) << std::get<Refusal>(outcome).reason;
  const RegisterValue& next = std::get<RegisterValue>(outcome);
  EXPECT_EQ(Validate(next), "");
  EXPECT_EQ(next.epoch, value.epoch);
  EXPECT_TRUE(next == value || next.version.value == value.version.value + 1);
  if (row.expect) {
    EXPECT_TRUE(row.expect(next));
  } else {
    EXPECT_EQ(next, value) << "says so already";
  }
}

void Inactive(RegisterValue& v) {
  v.basis = BasisOf(v);
  v.active = false;
  v.timeline = TimelineId{};
}
void Joint(RegisterValue& v) { v.voters_prev = Of({1, 2, 9}); }
bool Votes(const RegisterValue& v, std::uint16_t id) { return IsVoter(v, NodeId{id}); }
bool Counted(const RegisterValue& v, std::uint16_t id) {
  return FindMember(v, NodeId{id})->sync_candidate;
}
ChangeSettings Set(const std::function<void(ChangeSettings&)>& what) {
  ChangeSettings settings;
  what(settings);
  return settings;
}

INSTANTIATE_TEST_SUITE_P(
    Primarys, Changes,
    testing::Values(Row{"activation", Activate{TimelineId{6}, Lsn{0x77}}, "", Inactive,
                        [](const RegisterValue& v) {
                          return v.active && v.timeline == TimelineId{6} &&
                                 v.lineage.back() ==
                                     LineageEntry{TimelineId{6}, v.epoch, Lsn{0x77}};
                        }},
                    Row{"activation without a timeline", Activate{}, "needs a timeline", Inactive},
                    Row{"activation twice", Activate{TimelineId{6}, Lsn{0x77}}, "active already",
                        nullptr, nullptr, Verdict::kMoved},
                    Row{"start noted", NoteStart{}, "", nullptr,
                        [](const RegisterValue& v) { return v.primary_boot == BootCount{6}; }},
                    Row{"synchronous set", ChangeSync{{Of({1}), 1}}, "", nullptr,
                        [](const RegisterValue& v) {
                          return v.sync == SyncSet{Of({1}), 1};
                        }},
                    Row{"synchronous set with the primary", ChangeSync{{Of({1, 2}), 1}}, "its own"},
                    Row{"k above S", ChangeSync{{Of({1}), 2}}, "k is larger"},
                    Row{"a witness in S", ChangeSync{{Of({10}), 1}}, "witness"}),
    [](const auto& row) { return "r" + std::to_string(row.index); });

INSTANTIATE_TEST_SUITE_P(
    Voters, Changes,
    testing::Values(Row{"three to one", ChangeVoters{Of({2})}, "", nullptr,
                        [](const RegisterValue& v) {
                          return VoterCount(v) == 1 && v.voters_prev == Of({1, 2, 3}) &&
                                 v.voters_since == v.version && Counted(v, 3);
                        }},
                    Row{"three to five", ChangeVoters{Of({9, 1, 2, 3, 10})}, "", nullptr,
                        [](const RegisterValue& v) {
                          return VoterCount(v) == 5 && Counted(v, 9) && !Counted(v, 10);
                        }},
                    Row{"a swap: first the one that leaves is not counted",
                        ChangeVoters{Of({1, 2, 9})}, "", nullptr,
                        [](const RegisterValue& v) {
                          return Votes(v, 3) && !Votes(v, 9) && !Counted(v, 3) && Counted(v, 9);
                        }},
                    Row{"a swap: then the primary takes it out of S", ChangeVoters{Of({1, 2, 9})},
                        "still counted",
                        [](RegisterValue& v) {
                          v.members[2].sync_candidate = false;
                          v.members[3].sync_candidate = true;
                        },
                        nullptr, Verdict::kMoved},
                    Row{"a swap", ChangeVoters{Of({1, 2, 9})}, "",
                        [](RegisterValue& v) {
                          v.sync = {Of({1}), 1};
                        },
                        [](const RegisterValue& v) {
                          return Votes(v, 9) && Counted(v, 9) && !Votes(v, 3) && !Counted(v, 3);
                        }},
                    Row{"the same", ChangeVoters{Of({3, 2, 1})}, ""},
                    Row{"the same, under way", ChangeVoters{Of({3, 2, 1})}, "", Joint},
                    Row{"another one under way", ChangeVoters{Of({2})}, "not final yet", Joint,
                        nullptr, Verdict::kMoved},
                    Row{"two", ChangeVoters{Of({1, 2})}, "must be odd"},
                    Row{"none", ChangeVoters{}, "must be odd"},
                    Row{"twice", ChangeVoters{Of({2, 2, 3})}, "twice"},
                    Row{"a stranger", ChangeVoters{Of({1, 2, 8})}, "member first"},
                    Row{"without the primary", ChangeVoters{Of({1, 3, 9})},
                        "the primary keeps its vote"}),
    [](const auto& row) { return "r" + std::to_string(row.index); });

INSTANTIATE_TEST_SUITE_P(
    Members, Changes,
    testing::Values(Row{"not counted", ChangeMember{NodeId{3}, false}, "", nullptr,
                        [](const RegisterValue& v) { return !Counted(v, 3); }},
                    Row{"counted already", ChangeMember{NodeId{3}, true}, ""},
                    Row{"counted without a vote", ChangeMember{NodeId{9}, true}, "give it a vote"},
                    Row{"counted beside a lone voter", ChangeMember{NodeId{9}, true}, "",
                        [](RegisterValue& v) { v.members[0].voter = v.members[2].voter = false; },
                        [](const RegisterValue& v) { return Counted(v, 9); }},
                    Row{"a witness", ChangeMember{NodeId{10}, true}, "no data"},
                    Row{"nobody", ChangeMember{NodeId{8}, true}, "no such member"},
                    Row{"removed", RemoveMember{NodeId{9}}, "", nullptr,
                        [](const RegisterValue& v) { return FindMember(v, NodeId{9}) == nullptr; }},
                    Row{"removed already", RemoveMember{NodeId{8}}, ""},
                    Row{"a voter", RemoveMember{NodeId{3}}, "has a vote"},
                    Row{"a previous voter", RemoveMember{NodeId{9}}, "has a vote", Joint},
                    Row{"counted on", RemoveMember{NodeId{9}}, "still counted",
                        [](RegisterValue& v) {
                          v.sync = {Of({1, 9}), 1};
                        },
                        nullptr, Verdict::kMoved},
                    Row{"counted on before", RemoveMember{NodeId{9}}, "still counted",
                        [](RegisterValue& v) {
                          v.sync = {Of({1, 9}), 1};
                          Inactive(v);
                          v.sync = {Of({1}), 1};
                        },
                        nullptr, Verdict::kMoved}),
    [](const auto& row) { return "r" + std::to_string(row.index); });

INSTANTIATE_TEST_SUITE_P(
    Settings, Changes,
    testing::Values(
        Row{"longer lease", Set([](auto& s) { s.lease_ttl_ms = 5000; }), "", nullptr,
            [](const RegisterValue& v) {
              return v.lease_ttl_ms == 5000 && v.longest_ttl_ms == 5000;
            }},
        Row{"shorter lease", Set([](auto& s) { s.lease_ttl_ms = 500; }), "", nullptr,
            [](const RegisterValue& v) {
              return v.lease_ttl_ms == 500 && v.longest_ttl_ms == 3000;
            }},
        Row{"too short", Set([](auto& s) { s.lease_ttl_ms = 5; }), "too short"},
        Row{"too much drift", Set([](auto& s) { s.drift_permille = 400; }), "drift"},
        Row{"mode and pause", Set([](auto& s) {
              s.mode = Mode::kAutomatic;
              s.paused = false;
            }),
            "", nullptr,
            [](const RegisterValue& v) { return v.mode == Mode::kAutomatic && !v.paused; }},
        Row{"nothing", ChangeSettings{}, ""},
        Row{"as it is", Set([](auto& s) { s.lease_ttl_ms = 1500; }), ""},
        Row{"async", Set([](auto& s) { s.durability = Durability::kAsync; }), "", nullptr,
            [](const RegisterValue& v) { return v.sync == SyncSet{}; }},
        Row{"async too early", Set([](auto& s) { s.durability = Durability::kAsync; }),
            "not active", Inactive, nullptr, Verdict::kMoved},
        Row{"copies", Set([](auto& s) { s.sync_copies = 3; }), "", nullptr,
            [](const RegisterValue& v) { return v.sync_copies == 3; }},
        Row{"fewer copies than must be", Set([](auto& s) { s.min_sync_copies = 3; }),
            "sync_copies"},
        Row{"a zone", ChangeZone{NodeId{3}, "east"}, "", nullptr,
            [](const RegisterValue& v) { return FindMember(v, NodeId{3})->zone == "east"; }},
        Row{"the zone it has", ChangeZone{NodeId{3}, "zone3"}, ""},
        Row{"a zone of nobody", ChangeZone{NodeId{8}, "east"}, "no such"},
        Row{"other zones, and there is none", Set([](auto& s) { s.sync_zone = SyncZone::kOther; }),
            "another zone",
            [](RegisterValue& v) {
              for (Member& member : v.members) member.zone = "a";
            }},
        Row{"lag", Set([](auto& s) { s.max_failover_lag_bytes = 0; }), "", nullptr,
            [](const RegisterValue& v) { return v.max_failover_lag_bytes == 0; }},
        Row{"failover to a standby", StartFailover{NodeId{3}, false}, ""},
        Row{"failover to anybody", StartFailover{}, ""},
        Row{"failover to the primary", StartFailover{kPrimary, false}, "already"},
        Row{"failover to a witness", StartFailover{NodeId{10}, false}, "witness"},
        Row{"failover to a member", StartFailover{NodeId{9}, false}, "only a voter"},
        Row{"failover to nobody", StartFailover{NodeId{8}, false}, "no such"}),
    [](const auto& row) { return "r" + std::to_string(row.index); });

void Observing(RegisterValue& v) {
  v.mode = Mode::kObserve;
  v.sync = SyncSet{};
  v.primary_boot = BootCount{};
}

INSTANTIATE_TEST_SUITE_P(
    Observe, Changes,
    testing::Values(
        Row{"begins", Set([](auto& s) { s.mode = Mode::kObserve; }), "", nullptr,
            [](const RegisterValue& v) {
              return v.sync == SyncSet{} && v.primary_boot == BootCount{};
            }},
        Row{"too early", Set([](auto& s) { s.mode = Mode::kObserve; }), "not active", Inactive,
            nullptr, Verdict::kMoved},
        Row{"ends", Set([](auto& s) { s.mode = Mode::kManual; }), "", Observing,
            [](const RegisterValue& v) {
              return v.sync == SyncSet{} && v.primary_boot == BootCount{};
            }},
        Row{"commits counted", ChangeSync{{Of({1}), 1}}, "nothing is set", Observing},
        Row{"failover", StartFailover{NodeId{3}, false}, "nobody is promoted", Observing},
        Row{"dropped", DropCluster{}, "", Observing,
            [](const RegisterValue& v) { return v.dropped; }},
        Row{"dropped while gated", DropCluster{}, "mode observe first"},
        Row{"changed once dropped", Set([](auto& s) { s.mode = Mode::kManual; }), "being dropped",
            [](RegisterValue& v) {
              Observing(v);
              v.dropped = true;
            }}),
    [](const auto& row) { return "r" + std::to_string(row.index); });

TEST(Settings, AreNamedWithTheirNewValues) {
  struct Case {
    Change change;
    std::string text;
  };
  for (const Case& c : {
           Case{Set([](auto& s) { s.mode = Mode::kObserve; }), "mode observe"},
           Case{Set([](auto& s) { s.mode = Mode::kManual; }), "mode manual"},
           Case{Set([](auto& s) { s.mode = Mode::kAutomatic; }), "mode automatic"},
           Case{Set([](auto& s) { s.paused = true; }), "paused"},
           Case{Set([](auto& s) { s.paused = false; }), "not paused"},
           Case{Set([](auto& s) { s.durability = Durability::kAsync; }), "durability async"},
           Case{Set([](auto& s) { s.durability = Durability::kQuorum; }), "durability quorum"},
           Case{Set([](auto& s) { s.lease_ttl_ms = 5000; }), "lease 5000 ms"},
           Case{Set([](auto& s) { s.drift_permille = 50; }), "drift 50 permille"},
           Case{Set([](auto& s) { s.on_no_sync = OnNoSync::kDegrade; }), "on_no_sync degrade"},
           Case{Set([](auto& s) { s.on_no_sync = OnNoSync::kRefuse; }), "on_no_sync refuse"},
           Case{Set([](auto& s) { s.auto_voters = true; }), "auto_voters on"},
           Case{Set([](auto& s) { s.auto_voters = false; }), "auto_voters off"},
           Case{Set([](auto& s) {
                  s.lease_ttl_ms = 5000;
                  s.mode = Mode::kObserve;
                }),
                "mode observe, lease 5000 ms"},
           Case{Set([](auto& s) {
                  s.sync_copies = 2;
                  s.min_sync_copies = 2;
                  s.sync_zone = SyncZone::kOther;
                  s.max_failover_lag_bytes = 7;
                }),
                "sync_copies 2, min_sync_copies 2, sync_zone other, max_failover_lag_bytes 7"},
           Case{ChangeZone{NodeId{3}, "east"}, "zone of n3: east"},
           Case{StartFailover{NodeId{3}, true}, "failover to n3, loss accepted"},
           Case{ChangeSettings{}, "no setting"},
       })
    EXPECT_EQ(TextOf(Base(), c.change), c.text);
}

TEST(Whole, AStepOnTheWayIsNotTheChange) {
  const RegisterValue value = Base();
  const Change change = ChangeVoters{Of({2, 1, 9})};
  EXPECT_FALSE(
      IsWhole(std::get<RegisterValue>(Changed(value, kPrimary, Asks(value, change))), change));
  EXPECT_TRUE(IsWhole(value, ChangeVoters{Of({3, 2, 1})}));
  EXPECT_TRUE(IsWhole(value, NoteStart{}));
}

TEST(PrimarysOwn, IsComparedWithVersionEpochAskerAndStart) {
  const RegisterValue value = Base();
  const Request good = Asks(value, ChangeSync{{Of({1}), 1}});
  struct Case {
    const char* name;
    NodeId from;
    std::function<void(Request&)> spoil;
    bool taken;
  };
  for (const Case& c : {
           Case{"good", kPrimary, [](Request&) {}, true},
           Case{"after a newer start", kPrimary, [](Request& r) { r.boot.value++; }, true},
           Case{"before the last start", kPrimary, [](Request& r) { r.boot.value--; }, false},
           Case{"of an older version", kPrimary, [](Request& r) { r.base.value--; }, false},
           Case{"of another epoch", kPrimary, [](Request& r) { r.epoch = {}; }, false},
           Case{"of a standby", NodeId{3}, [](Request&) {}, false},
       }) {
    Request request = good;
    c.spoil(request);
    EXPECT_EQ(std::holds_alternative<RegisterValue>(Changed(value, c.from, request)), c.taken)
        << c.name;
  }
}

}  // namespace
}  // namespace orchestra
