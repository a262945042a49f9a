// N nodes, each with the shipped consensus core, a disk, two clocks and a simulated PostgreSQL,
// and the network between them. world.cpp: the shell around the core (observe, decide, persist,
// send, perform); performing.cpp: what the servers do.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "clock.h"
#include "core/consensus.h"
#include "coverage.h"
#include "invariants.h"
#include "network.h"
#include "random.h"
#include "scheduler.h"
#include "server.h"
#include "wal.h"

namespace orchestra::sim {

struct Config {
  std::uint64_t seed = 1;
  std::size_t nodes = 3;          // voters with data
  std::size_t extra_members = 0;  // data nodes without a vote, which join by themselves
  std::uint32_t ttl_ms = 2000;
  bool clocks_drift = true;
  bool frames = false;  // every message goes through its frame
  bool plain = false;   // nothing random but the core's own seeds: for scripts
  Policy policy;
};

struct Node {
  NodeId id;
  std::string name;
  Incarnation incarnation;
  MachineClock clock;
  bool up = false;
  bool disk_lies = false;  // its next writes fail, for directed schedules
  std::uint64_t life = 0;  // of the consensus worker
  Micros frozen_until{};
  // disk
  std::optional<Durable> vote;
  std::optional<Marker> marker;
  // memory
  State state;
  Server server;
};

// One line of a run; `detail` lines are single messages and commits.
using TraceSink = std::function<void(const std::string& line, bool detail)>;

class World {
 public:
  World(const Config& config, Coverage& coverage, TraceSink trace = nullptr);
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // ---- running
  // False: an invariant was violated (see observer).
  bool Run(Micros time);
  // Stops as soon as `until` holds (looked at every 5 ms); false: violated, or not within `limit`.
  bool RunUntil(const std::function<bool()>& until, Micros limit);
  bool Healthy() const { return !observer.violation(); }

  // ---- creation, as orchestra_create_cluster on n1 does it
  void BeginCreation();
  bool Created() const;

  // ---- faults
  void Crash(Node& node);  // the whole machine
  void Start(Node& node);
  void RestartWorker(Node& node);
  void Freeze(Node& node, Micros time, bool suspend);
  void LoseVote(Node& node);  // of a node that is down
  bool ForceFence();          // the coordinator begins a failover without cause
  void ForceElection(Node& node);
  // What an operator does to a node that cannot follow: a new copy of the primary's data.
  bool MayRejoin(const Node& node) const;
  void Rejoin(Node& node);

  // ---- questions
  Node& node(NodeId id) { return nodes[id.value - 1u]; }
  const Node& node(NodeId id) const { return nodes[id.value - 1u]; }
  Instant ClockOf(const Node& node) const { return node.clock.At(scheduler.now()); }
  bool Holds(const Node& node) const;
  bool GateOpen(const Node& node) const;
  Node* Writable();     // the node whose gate is open, or null
  Node* Coordinator();  // of the highest ballot, or null
  bool StreamsFrom(const Node& standby, const Node& primary) const;
  bool EveryStandbyStreams();
  std::uint64_t acknowledged() const { return observer.acknowledged().size(); }
  Micros last_acknowledged{};

  bool tracing() const { return trace_ != nullptr; }
  void Trace(const Node* node, const std::string& text, bool detail = false);

  Config config;
  Coverage& coverage;
  Random random;
  Scheduler scheduler;
  Network network;
  WalTree wal;
  std::vector<Node> nodes;
  Observer observer;

 private:
  // world.cpp
  void BuildNodes();
  void BootWorker(Node& node);
  void ScheduleTick(Node& node);
  void TickNode(Node& node);
  bool Apply(Node& node, const Event& event);  // false: the step did not happen
  bool Persist(Node& node, const Actions& actions);
  void CountRefusal(const Node& node, const Event& event);
  void Dispatch(Node& node, const Envelope& envelope);
  void Deliver(Node& to, const Envelope& envelope, ClusterId cluster, const std::string& bytes);
  void Observe(Node& node);
  Member MemberOf(const Node& node) const;
  Identity IdentityOf(const Node& node) const;
  // Runs `what` now, or when the node thaws; dropped if the machine is down.
  void WhenAwake(NodeId id, std::function<void()> what);
  RegisterValue FirstValue();

  // performing.cpp
  void Perform(Node& node);
  void PerformGate(Node& node, const Duties& duties);
  void PerformReceiver(Node& node, const Duties& duties);
  void PerformScan(Node& node, const Duties& duties);
  void PerformPromotion(Node& node, const Duties& duties);
  void PerformSync(Node& node, const Duties& duties);
  void StartServer(Node& node);
  void ServerTick(Node& node);
  void ReceiverTick(Node& node);
  void StreamTo(Node& primary, Node& standby);
  void ReceiveWal(Node& standby, std::uint64_t connection, Record record);
  void HearFlush(Node& primary, std::uint64_t life, NodeId standby, std::uint64_t connection,
                 Record record);
  void Acknowledge(Node& node);
  LocalView ViewOf(const Node& node) const;
  Micros Delay(Micros shortest, Micros longest);

  TraceSink trace_;
  std::uint64_t connections_ = 0;
};

std::string TextOf(const Note& note);

}  // namespace orchestra::sim
