// Rule 6: S and k in the register, and in the setting that PostgreSQL enforces.
#include "consensus_node.h"

namespace orchestra::hand {
namespace {

const SyncSet kBoth{{NodeId{2}, NodeId{3}}, 1};
const SyncSet kOnly3{{NodeId{3}}, 1};

// n1, the primary, with its gate open. n3 leads.
class Primary : public Node {
 public:
  explicit Primary(RegisterValue value = FirstValue()) : Node(1, value), value_(std::move(value)) {
    Hear(3, Commit{WriteOf(value_, kBallot), ++seq_});
    view.status.flush_lsn = view.insert_lsn = Lsn{100};
    streams = {2, 3};
    Run(seconds(2));
  }
  // Time goes by: grants, heartbeats, standbys that keep up, a setting that is loaded.
  void Run(Micros time) {
    for (Micros passed{}; passed < time; passed += milliseconds(25)) {
      Pass(milliseconds(25));
      Hear(3, Commit{WriteOf(value_, kBallot), ++seq_});
      view.standby_flushed.clear();
      for (const std::uint16_t id : streams)
        view.standby_flushed.emplace_back(NodeId{id}, view.status.flush_lsn);
      if (loads) view.sync_effective = state.setting_generation;
      See(DbState::kPrimary);
      Collect();
      Tick();
      Collect();
      for (const Envelope& envelope : std::exchange(asked_, {}))
        Grant(std::get<LeaseRequest>(envelope.message), envelope.to.value);
      EXPECT_TRUE(Compatible(state.setting, value_.sync)) << "in force against the register";
    }
  }
  // The coordinator did what was asked for.
  void Commits(const RegisterValue& next) {
    value_ = next;
    Hear(3, Commit{WriteOf(value_, kBallot), ++seq_});
    request.reset();
  }
  RegisterValue With(const SyncSet& sync) const {
    RegisterValue next = value_;
    next.version.value++;
    next.sync = sync;
    return next;
  }
  std::optional<SyncSet> Asked() const {
    const auto* change = request ? std::get_if<ChangeSync>(&request->change) : nullptr;
    return change ? std::optional(change->sync) : std::nullopt;
  }

  std::vector<std::uint16_t> streams;
  bool loads = true;
  bool grants = true;
  std::optional<Request> request;

 private:
  static constexpr Ballot kBallot{5, NodeId{3}};
  void Collect() {
    for (const Envelope& envelope : last.send) {
      if (std::holds_alternative<LeaseRequest>(envelope.message)) asked_.push_back(envelope);
      if (const auto* m = std::get_if<Request>(&envelope.message)) request = *m;
    }
  }
  void Grant(const LeaseRequest& m, std::uint16_t voter) {
    if (grants) Hear(voter, LeaseAck{m.epoch, m.boot, m.seq, m.seq, true, 2000});
  }
  RegisterValue value_;
  std::uint64_t seq_ = 0;
  std::vector<Envelope> asked_;
};

TEST(SyncSet, StandsWhileEveryStandbyStreams) {
  Primary node;
  node.Run(seconds(10));
  EXPECT_TRUE(GateOpen(node.state, node.now));
  EXPECT_FALSE(node.request);
  EXPECT_EQ(node.state.setting, kBoth);
}

TEST(SyncSet, WhatLeavesLeavesTheSettingFirst) {
  Primary node;
  node.streams = {3};
  node.loads = false;
  node.Run(seconds(4));
  EXPECT_EQ(node.state.setting, kOnly3);
  EXPECT_FALSE(node.request) << "not loaded by everybody yet";
  EXPECT_TRUE(GateOpen(node.state, node.now));
  node.loads = true;
  node.view.insert_lsn = Lsn{150};
  node.Run(milliseconds(200));
  EXPECT_FALSE(node.request) << "n3 has not flushed the barrier";
  node.view.status.flush_lsn = Lsn{150};
  node.Run(milliseconds(200));
  ASSERT_EQ(node.Asked(), kOnly3);
  node.Commits(node.With(kOnly3));
  node.Run(seconds(3));
  EXPECT_FALSE(node.request);
  EXPECT_EQ(node.state.setting, kOnly3);
}

// ---- more copies than one

RegisterValue TwoCopies(std::uint16_t nodes, std::uint32_t least) {
  RegisterValue value = FirstValue(nodes);
  value.sync_copies = 2;
  value.min_sync_copies = least;
  value.sync = FullSyncSet(value, value.primary);
  return value;
}

// Never what leaves, and fewer copies, together in one step: first the register counts on fewer.
TEST(SyncSet, FewerCopiesAreAgreedBeforeTheyAreEnforced) {
  Primary node(TwoCopies(3, 1));
  ASSERT_EQ(node.state.setting, (SyncSet{kBoth.nodes, 2}));
  node.streams = {3};
  node.Run(seconds(4));
  ASSERT_EQ(node.Asked(), kBoth);
  EXPECT_EQ(node.state.setting.k, 2u);
  node.Commits(node.With(kBoth));
  node.Run(seconds(2));
  EXPECT_EQ(node.state.setting, kOnly3);
  ASSERT_EQ(node.Asked(), kOnly3);
}

TEST(SyncSet, MoreCopiesAreEnforcedBeforeTheyAreAgreed) {
  Primary node;
  node.loads = false;
  RegisterValue value = node.With(kBoth);
  value.sync_copies = 2;
  node.Commits(value);
  node.Run(seconds(3));
  EXPECT_EQ(node.state.setting, (SyncSet{kBoth.nodes, 2}));
  EXPECT_FALSE(node.request);
  node.loads = true;
  node.Run(seconds(1));
  ASSERT_EQ(node.Asked(), (SyncSet{kBoth.nodes, 2}));
}

TEST(SyncSet, ANodeMoreAndACopyMoreAreTwoSteps) {
  RegisterValue value = TwoCopies(3, 1);
  value.sync = kOnly3;
  Primary node(value);
  node.Run(seconds(3));
  ASSERT_EQ(node.Asked(), kBoth) << "the register first, with as many copies as before";
  node.Commits(node.With(kBoth));
  node.Run(seconds(2));
  ASSERT_EQ(node.Asked(), (SyncSet{kBoth.nodes, 2}));
}

TEST(SyncSet, BelowTheFewestCopies) {
  struct Case {
    const char* name;
    OnNoSync on_no_sync;
    std::optional<SyncSet> asked;
  };
  for (const Case& c : {Case{"commits wait", OnNoSync::kRefuse, std::nullopt},
                        Case{"commits go on", OnNoSync::kDegrade, kBoth}}) {
    RegisterValue value = TwoCopies(3, 2);
    value.on_no_sync = c.on_no_sync;
    Primary node(value);
    node.streams = {3};
    node.Run(seconds(4));
    EXPECT_EQ(node.Asked(), c.asked) << c.name;
  }
}

TEST(SyncSet, WhoIsInTheSameZoneIsNotCounted) {
  RegisterValue value = FirstValue();
  value.members[0].zone = value.members[1].zone = "a";
  value.sync_zone = SyncZone::kOther;
  value.sync = kBoth;
  Primary node(value);
  node.Run(seconds(2));
  ASSERT_EQ(node.Asked(), kOnly3);
  node.Commits(node.With(kOnly3));
  node.streams = {2};
  node.Run(seconds(4));
  EXPECT_FALSE(node.request) << "commits wait";
}

// What a client is told of must be on S as it is after a request that may be committed already.
TEST(SyncSet, AcknowledgedIsWhatTheRegisterCountsOn) {
  Primary node;
  const auto must = [&node] { return DutiesOf(node.state, node.now).ack_names; };
  EXPECT_EQ(must(), (std::vector<std::string>{"n2", "n3"}));
  node.streams = {3};
  node.Run(seconds(4));
  ASSERT_EQ(node.Asked(), kOnly3);
  EXPECT_EQ(must(), std::vector<std::string>{"n3"}) << "asked for, not known to be committed";
  node.Commits(node.With(kOnly3));
  node.streams = {2, 3};
  node.Run(seconds(4));
  ASSERT_EQ(node.Asked(), kBoth);
  EXPECT_EQ(must(), std::vector<std::string>{"n3"}) << "not agreed yet";
}

TEST(SyncSet, WhatJoinsJoinsTheRegisterFirst) {
  RegisterValue value = FirstValue();
  value.sync = kOnly3;
  Primary node(value);
  node.Run(seconds(3));
  ASSERT_EQ(node.Asked(), kBoth);
  EXPECT_EQ(node.state.setting, kOnly3);
  node.Commits(node.With(kBoth));
  node.Run(milliseconds(100));
  EXPECT_EQ(node.state.setting, kBoth);
}

TEST(SyncSet, ARequestIsNeverUndoneBeforeTheVersionMoved) {
  Primary node;
  node.streams = {3};
  node.Run(seconds(4));
  ASSERT_EQ(node.Asked(), kOnly3);
  node.streams = {2, 3};
  node.Run(seconds(5));
  EXPECT_EQ(node.state.setting, kOnly3) << "a copy of the request may land at any time";
  RegisterValue moved = node.With(kBoth);
  moved.paused = true;
  node.Commits(moved);
  node.Run(milliseconds(200));
  EXPECT_EQ(node.state.setting, kBoth);
}

TEST(SyncSet, ADeafPrimaryDoesNotShrink) {
  Primary node;
  node.streams = {};
  node.grants = false;  // it hears nobody; its lease runs out soon
  node.Run(seconds(1));
  node.streams = {3};
  node.Run(milliseconds(500));
  EXPECT_EQ(node.state.setting, kBoth);
  EXPECT_FALSE(node.request);
}

TEST(SyncSet, WithoutAnyStandbyCommitsWaitOrGoOnByTheRegister) {
  for (const OnNoSync rule : {OnNoSync::kRefuse, OnNoSync::kDegrade}) {
    RegisterValue value = FirstValue();
    value.on_no_sync = rule;
    Primary node(value);
    node.streams = {};
    node.Run(seconds(5));
    if (rule == OnNoSync::kRefuse) {
      EXPECT_FALSE(node.request);
      continue;
    }
    ASSERT_EQ(node.Asked(), (SyncSet{kBoth.nodes, 0})) << "the register first";
    EXPECT_EQ(node.state.setting, kBoth);
    node.Commits(node.With({kBoth.nodes, 0}));
    node.Run(milliseconds(200));
    EXPECT_EQ(node.state.setting.k, 0u);
    ASSERT_EQ(node.Asked(), SyncSet{});
    node.Commits(node.With(SyncSet{}));
    node.streams = {2};
    node.Run(seconds(3));
    EXPECT_EQ(node.state.setting, (SyncSet{{NodeId{2}}, 1})) << "k is raised in the setting first";
    EXPECT_EQ(node.Asked(), (SyncSet{{NodeId{2}}, 1}));
  }
}

TEST(SyncSet, GateWaitsUntilTheStartOfTheWorkerIsNoted) {
  RegisterValue value = FirstValue();
  value.primary_boot = BootCount{1};  // an earlier start
  Primary node(value);
  EXPECT_TRUE(HoldsLease(node.state, node.now));
  EXPECT_FALSE(GateOpen(node.state, node.now));
  ASSERT_TRUE(node.request);
  EXPECT_TRUE(std::holds_alternative<NoteStart>(node.request->change));
  RegisterValue noted = node.With(kBoth);
  noted.primary_boot = node.request->boot;
  node.Commits(noted);
  node.Run(milliseconds(100));
  EXPECT_TRUE(GateOpen(node.state, node.now));
}

}  // namespace
}  // namespace orchestra::hand
