// What the consensus core costs in steady state: the time of a step, the traffic of a cluster, the
// renewals that a voter can serve; and how long a cluster is without a coordinator when it dies.
// Clusters are made of the shipped core in one process, in simulated time, without a disk. Only
// the processor's time is real.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/consensus.h"
#include "core/frame.h"
#include "net/peer_wire.h"
#include "sim/world.h"

namespace orchestra {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr ClusterId kCluster{0xC0FFEE};
constexpr std::uint64_t kSystem = 7;
constexpr NodeId kPrimary{1};
const net::Secret kSecret("0123456789abcdef0123456789abcdef");

double NowNs() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<double>(std::chrono::nanoseconds(now).count());
}

// The mean without the slowest hundredth: interrupts, other processes.
double Mean(std::vector<double> samples) {
  const std::size_t kept = samples.size() - samples.size() / 100;
  if (kept == 0) return 0;
  std::nth_element(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(kept - 1),
                   samples.end());
  double sum = 0;
  for (std::size_t i = 0; i < kept; i++) sum += samples[i];
  return sum / static_cast<double>(kept);
}

template <typename F>
double MeanOf(int times, const F& what) {
  std::vector<double> samples;
  for (int i = 0; i < times; i++) {
    const double begun = NowNs();
    what();
    samples.push_back(NowNs() - begun);
  }
  return Mean(std::move(samples));
}

// ---------------------------------------------------------------- a cluster in one process

const char* const kKinds[] = {"tick",      "observed",  "heartbeat", "heartbeat answered",
                              "LEASE_REQ", "LEASE_ACK", "others"};
constexpr std::size_t kTick = 0, kObserved = 1, kFrames = 2;

std::size_t KindOf(const Message& message) {
  if (std::holds_alternative<Commit>(message)) return kFrames;
  if (std::holds_alternative<HeartbeatAck>(message)) return kFrames + 1;
  if (std::holds_alternative<LeaseRequest>(message)) return kFrames + 2;
  if (std::holds_alternative<LeaseAck>(message)) return kFrames + 3;
  return kFrames + 4;
}

RegisterValue FirstValue(std::uint16_t voters) {
  RegisterValue value;
  value.cluster_id = kCluster;
  value.system_identifier = kSystem;
  value.cluster_name = "main";
  value.version = Version{1};
  value.epoch = EpochId{WriteId{Ballot{1, kPrimary}, Version{1}}};
  value.primary = kPrimary;
  value.active = true;
  value.timeline = TimelineId{1};
  for (std::uint16_t id = 1; id <= voters; id++) {
    const std::string number = std::to_string(id);
    value.members.push_back({NodeId{id}, "n" + number, Address{"10.0.0." + number, 5434},
                             Address{"10.0.0." + number, 5432}, MemberKind::kData, true, true,
                             Incarnation{id}, ""});
  }
  value.sync = FullSyncSet(value, kPrimary);
  value.basis = BasisOf(value);
  value.primary_boot = BootCount{2};
  value.highest_id = voters;
  value.lineage = {{TimelineId{1}, value.epoch, Lsn{}}};
  return value;
}

State Started(const RegisterValue& value, NodeId id) {
  const Ballot ballot = value.epoch.value.ballot;
  BootDecision decision;
  decision.phase = Phase::kConfigured;
  decision.marker = Marker{kCluster, kSystem, "main"};
  Durable& d = decision.durable.emplace();
  d.identity = {id, Incarnation{id.value}, kSystem, 1000u + id.value, 1, 0, 0};
  d.boot_count = BootCount{1};
  d.promised = ballot;
  d.accepted = d.committed =
      Written{WriteId{ballot, value.version}, std::make_shared<const RegisterValue>(value)};
  d.max_ttl_granted_ms = value.lease_ttl_ms;
  d.wal_epoch = value.epoch;
  if (id == kPrimary) d.wrote_epoch = value.epoch;
  return Boot(decision, Instant{seconds(1000), seconds(1000)}, id.value * 7919u);
}

class Cluster {
 public:
  explicit Cluster(std::uint16_t voters) {
    const RegisterValue value = FirstValue(voters);
    for (std::uint16_t id = 1; id <= voters; id++) nodes_.push_back(Started(value, NodeId{id}));
    Run(seconds(15));
    Forget();
  }

  void Run(Micros time) {
    const Micros tick = TimersFor(2000, 100, Policy{}).tick;
    for (Micros passed{}; passed < time; passed += tick) {
      now_ = now_ + tick;
      for (State& s : nodes_) {
        Do(s, kObserved, Observed{ViewOf(s)});
        Do(s, kTick, Tick{});
        DeliverAll();
      }
    }
  }

  // Commits pass, and not the primary coordinates.
  bool Steady() const {
    return GateOpen(nodes_[0], now_) && !IsCoordinator(nodes_[0]) && Coordinator() != nullptr;
  }
  const State* Coordinator() const {
    for (const State& s : nodes_)
      if (IsCoordinator(s)) return &s;
    return nullptr;
  }
  const State& node(NodeId id) const { return nodes_[id.value - 1u]; }
  Instant now() const { return now_; }

  static std::string FrameOf(const State& s, const Envelope& e) {
    FrameHeader header;
    header.cluster = kCluster;
    header.node = Self(s);
    header.to = e.to;
    header.incarnation = s.durable.identity.incarnation;
    header.boot = s.durable.boot_count;
    return EncodeFrame({header, e.message});
  }
  static Received Decoded(const std::string& bytes) {
    auto frame = std::get<Frame>(DecodeFrame(bytes));
    const FrameHeader& h = frame.header;
    return {{h.node, h.to, std::move(frame.message)}, h.cluster, h.incarnation, h.boot};
  }

  // Since the cluster is steady, by kind of event: nanoseconds of the step alone, and with the
  // frame that it takes and those that it sends.
  std::vector<double> step[std::size(kKinds)], whole[std::size(kKinds)];
  std::uint64_t messages = 0, bytes = 0, written = 0;

 private:
  void Forget() {
    for (auto& samples : step) samples.clear();
    for (auto& samples : whole) samples.clear();
    messages = bytes = written = 0;
  }

  LocalView ViewOf(const State& s) const {
    const Lsn end{0x3000000 + static_cast<std::uint64_t>(now_.boottime.count())};
    LocalView view;
    view.status.accepting_connections = true;
    view.status.timeline = TimelineId{1};
    view.status.flush_lsn = view.insert_lsn = end;
    view.status.server_version_num = 150018;
    view.status.version = "1.0";
    if (Self(s) != kPrimary) {
      view.status.db = DbState::kStandby;
      view.status.receiver = ReceiverState::kStreaming;
      view.status.upstream = kPrimary;
      view.status.replay_lsn = end;
      return view;
    }
    view.status.db = DbState::kPrimary;
    view.status.gate_open = GateOpen(s, now_);
    view.receiver_quiet = true;
    view.sync_effective = s.setting_generation;
    for (const State& each : nodes_)
      if (Self(each) != kPrimary) view.standby_flushed.emplace_back(Self(each), end);
    return view;
  }

  void Do(State& s, std::size_t kind, const Event& event) {
    const double begun = NowNs();
    const Actions actions = Step(s, event, now_);
    const double stepped = NowNs();
    SendAll(s, actions);
    const double ended = NowNs();
    step[kind].push_back(stepped - begun);
    whole[kind].push_back(ended - begun);
  }
  void SendAll(const State& s, const Actions& actions) {
    written += actions.persist;
    for (const Envelope& envelope : actions.send)
      if (envelope.to != kNoNode) wire_.emplace_back(envelope.to, FrameOf(s, envelope));
  }
  void DeliverAll() {
    while (!wire_.empty()) {
      const auto [to, frame] = std::move(wire_.front());
      wire_.pop_front();
      messages++;
      bytes += frame.size();
      State& s = nodes_[to.value - 1u];
      const double begun = NowNs();
      const Event event = Decoded(frame);
      const double decoded = NowNs();
      const std::size_t kind = KindOf(std::get<Received>(event).envelope.message);
      Do(s, kind, event);
      whole[kind].back() += decoded - begun;
    }
  }

  std::vector<State> nodes_;
  Instant now_{seconds(1000), seconds(1000)};
  std::deque<std::pair<NodeId, std::string>> wire_;
};

// A heartbeat as it is on the wire: the largest frame of steady state, and the yardstick.
std::string HeartbeatFrame(const Cluster& cluster) {
  const State& leads = *cluster.Coordinator();
  return Cluster::FrameOf(leads, {Self(leads), kPrimary, Commit{*leads.proposal, 1}, {}});
}

double MacNs(const std::string& frame) {
  return MeanOf(2000, [&frame] {
    net::Mac mac;
    benchmark::DoNotOptimize(net::ComputeMac(kSecret.bytes(), frame, &mac));
  });
}

bool Measured(benchmark::State& state, const Cluster& cluster) {
  if (!cluster.Steady())
    state.SkipWithError("the cluster is not steady");
  else if (cluster.written != 0)
    state.SkipWithError("steady state has written to a disk");
  else
    return true;
  return false;
}

// ---------------------------------------------------------------- steady state

void Steps(benchmark::State& state) {
  const auto kind = static_cast<std::size_t>(state.range(0));
  Cluster cluster(static_cast<std::uint16_t>(state.range(1)));
  for (auto _ : state) cluster.Run(seconds(60));
  if (!Measured(state, cluster)) return;
  const double clock = MeanOf(2000, [] {});
  const double mac = MacNs(HeartbeatFrame(cluster)) - clock;
  const double whole = Mean(cluster.whole[kind]) - (kind < kFrames ? clock : 2 * clock);
  state.SetLabel(kKinds[kind]);
  state.counters["step_ns"] = Mean(cluster.step[kind]) - clock;
  state.counters["codec_ns"] = whole;
  state.counters["mac_ns"] = mac;
  state.counters["ratio"] = whole / mac;
  const State& primary = cluster.node(kPrimary);
  state.counters["copy_ns"] = MeanOf(2000,
                                     [&primary] {
                                       const State copy = primary;
                                       benchmark::DoNotOptimize(&copy);
                                     }) -
                              clock;
}
BENCHMARK(Steps)
    ->ArgNames({"kind", "voters"})
    ->ArgsProduct({{0, 1, 2, 3, 4, 5}, {3, 5, 7}})
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

// All that the nodes of a cluster say to each other, in simulated seconds.
void Traffic(benchmark::State& state) {
  constexpr int kSeconds = 60;
  Cluster cluster(static_cast<std::uint16_t>(state.range(0)));
  for (auto _ : state) cluster.Run(seconds(kSeconds));
  if (!Measured(state, cluster)) return;
  const std::string frame = HeartbeatFrame(cluster);
  const auto record = net::EncodeRecord(kSecret, 1, frame);
  if (!record) return state.SkipWithError("no record");
  const auto messages = static_cast<double>(cluster.messages);
  const auto framing = static_cast<double>(record->size() - frame.size());
  const auto bytes = static_cast<double>(cluster.bytes) + framing * messages;
  state.counters["messages_s"] = messages / kSeconds;
  state.counters["bytes_s"] = bytes / kSeconds;
  state.counters["bytes_s_node"] = bytes / kSeconds / static_cast<double>(state.range(0));
  state.counters["heartbeat_bytes"] = static_cast<double>(record->size());
}
BENCHMARK(Traffic)->ArgName("voters")->Arg(3)->Arg(5)->Arg(7)->Iterations(1)->Unit(
    benchmark::kMillisecond);

// ---------------------------------------------------------------- renewals

// What a primary sends next, and next after that: each echoes the nonce of the answer before.
std::vector<std::string> Requests(const State& primary, const State& voter, std::uint64_t seq) {
  const std::uint64_t boot = voter.durable.boot_count.value << 40;
  std::vector<std::string> frames;
  for (std::uint64_t i = 0; i < 4096; i++) {
    const LeaseRequest request{CommittedValue(primary)->epoch, CommittedValue(primary)->version,
                               primary.durable.boot_count, seq + i, boot + voter.nonces + i};
    frames.push_back(Cluster::FrameOf(primary, {Self(primary), Self(voter), request, {}}));
  }
  return frames;
}

// A frame comes and a frame goes, each with its MAC or without; one core.
void Renewals(benchmark::State& state) {
  const bool mac = state.range(0) != 0;
  const Cluster cluster(static_cast<std::uint16_t>(state.range(1)));
  State voter = cluster.node(NodeId{2});
  Instant now = cluster.now();
  std::uint64_t seq = voter.last_request.second + 1;
  std::vector<std::string> frames;
  std::size_t next = 0;
  std::string answer;
  net::Mac made;
  for (auto _ : state) {
    if (next == frames.size()) {
      state.PauseTiming();
      frames = Requests(cluster.node(kPrimary), voter, seq);
      seq += frames.size();
      next = 0;
      state.ResumeTiming();
    }
    now = now + milliseconds(250);
    const std::string& frame = frames[next++];
    if (mac) net::ComputeMac(kSecret.bytes(), frame, &made);
    const Actions actions = Step(voter, Cluster::Decoded(frame), now);
    answer = Cluster::FrameOf(voter, actions.send.at(0));
    if (mac) net::ComputeMac(kSecret.bytes(), answer, &made);
    benchmark::DoNotOptimize(made);
  }
  const Received last = Cluster::Decoded(answer);
  const auto* ack = std::get_if<LeaseAck>(&last.envelope.message);
  if (!ack || !ack->granted) state.SkipWithError("no lease was granted");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(Renewals)->ArgNames({"mac", "voters"})->ArgsProduct({{0, 1}, {3, 5, 7}});

// ---------------------------------------------------------------- the coordinator dies

// Milliseconds until the next one has committed a write, in the simulator; negative: something
// else happened. Clocks drift and messages take 0.1 to 3 ms.
double WithoutCoordinator(std::uint64_t seed, std::size_t voters) {
  sim::Config config;
  config.seed = seed;
  config.nodes = voters;
  sim::Coverage coverage;
  sim::World world(config, coverage);
  world.BeginCreation();
  const bool formed = world.RunUntil([&] { return world.Created(); }, seconds(60)) &&
                      world.RunUntil(
                          [&] {
                            return world.Writable() && world.EveryStandbyStreams() &&
                                   world.Coordinator() && world.Coordinator() != world.Writable();
                          },
                          seconds(60)) &&
                      world.Run(seconds(2) + milliseconds(seed * 7 % 150));
  sim::Node* coordinator = world.Coordinator();
  if (!formed || !coordinator || coordinator == world.Writable()) return -1;
  const EpochId epoch = world.observer.Newest()->epoch;
  const std::uint64_t leases = coverage.leases;
  world.Crash(*coordinator);
  const Micros crashed = world.scheduler.now();
  if (!world.RunUntil([&] { return world.Coordinator() != nullptr; }, seconds(60))) return -1;
  const Micros without = world.scheduler.now() - crashed;
  const bool kept = world.Run(seconds(5)) && world.Writable() && coverage.leases == leases &&
                    world.observer.Newest()->epoch == epoch;
  return kept ? std::chrono::duration<double, std::milli>(without).count() : -1;
}

void CoordinatorLoss(benchmark::State& state) {
  constexpr std::uint64_t kRuns = 100;
  std::vector<double> without;
  for (auto _ : state) {
    for (std::uint64_t seed = 1; seed <= kRuns; seed++) {
      without.push_back(WithoutCoordinator(seed, static_cast<std::size_t>(state.range(0))));
      if (without.back() < 0) return state.SkipWithError("the primary did not write on");
    }
  }
  std::sort(without.begin(), without.end());
  const Timers t = TimersFor(2000, sim::kDriftPermille, Policy{});
  const double patience = std::chrono::duration<double, std::milli>(t.election_min).count();
  state.counters["median_ms"] = without[without.size() / 2];
  state.counters["worst_ms"] = without.back();
  state.counters["ratio"] = without[without.size() / 2] / patience;
}
BENCHMARK(CoordinatorLoss)
    ->ArgName("voters")
    ->Arg(3)
    ->Arg(5)
    ->Arg(7)
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace orchestra
