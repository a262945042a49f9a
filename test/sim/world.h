// N nodes, each with the shipped consensus core, a disk, two clocks and a
// simulated PostgreSQL, and the network between them. world.cpp: running,
// creation, questions; shell.cpp: the shell around the core (observe, decide,
// persist, send, perform); disk.cpp: what is stored, and what a crash leaves of
// it; performing.cpp: duties; servers.cpp: what the servers do by themselves;
// machines.cpp: what happens to machines.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "clock.h"
#include "core/consensus.h"
#include "coverage.h"
#include "disk.h"
#include "invariants.h"
#include "network.h"
#include "random.h"
#include "scheduler.h"
#include "server.h"
#include "wal.h"

namespace orchestra::sim {

inline constexpr std::uint64_t kSystemIdentifier = 7'000'000'001;
inline constexpr std::uint32_t kDriftPermille = 100;  // the bound that the protocol counts on

struct Config {
  std::uint64_t seed = 1;
  std::size_t nodes = 3;          // voters with data
  std::size_t witnesses = 0;      // voters without data; with `nodes` an odd number
  std::size_t extra_members = 0;  // data nodes without a vote, which join by themselves
  std::size_t spares = 0;         // machines with nothing on them, for CloneOnto
  Durability durability = Durability::kQuorum;
  OnNoSync on_no_sync = OnNoSync::kRefuse;
  std::uint32_t sync_copies = 1, min_sync_copies = 1;
  Mode mode = Mode::kAutomatic;
  bool auto_voters = false;
  std::uint32_t ttl_ms = 2000;
  bool clocks_drift = true;
  bool frames = false;  // every message goes through its frame
  bool plain = false;   // nothing random but the core's own seeds: for scripts
  Policy policy;
};

// A machine. Its number is also its address; what a member of the register is
// called, and where, says which machine it is (World::MachineOf).
struct Node {
  bool has_data() const { return kind == MemberKind::kData; }

  NodeId id;
  std::string name;
  std::string member_name;  // what its settings call it: another node's name on a clone
  NodeId address;           // likewise
  MemberKind kind = MemberKind::kData;
  bool spare = false;       // nothing is on it yet
  Incarnation incarnation;  // of the identity that this start of the worker would make
  MachineClock clock;
  bool up = false;
  bool wal_lost = false;   // to a roll-back
  bool booted = false;     // the worker could store that it was started (rule 3)
  bool disk_lies = false;  // its next writes fail, for directed schedules
  std::uint64_t life = 0;  // of the consensus worker
  Micros frozen_until{};
  // The worker is in the middle of a turn: what arrives waits for the next one.
  bool busy = false;
  std::vector<std::function<void()>> next_turn;
  std::optional<Instant> clock_read;  // what this turn takes for now
  Micros stale_until{};               // stale_clock: a turn that began before a freeze
  Instant stale_clock{};
  // disk
  std::optional<Durable> vote;  // what a reader of the file finds
  std::optional<Marker> marker;
  Disk disk;
  std::optional<Durable> stated;  // what this worker knows to be stored
  // memory
  State state;
  std::uint64_t heard = 0;  // the last answer that was taken from it
  Server server;
};

// What a frame's header says of who sent it, and what only the observer knows
// of it.
struct Sender {
  ClusterId cluster;
  Incarnation incarnation;
  BootCount boot;
  LastVotes voted;        // on its disk
  bool outdated = false;  // its disk lacks something that its identity has voted (I14)
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
  // Stops as soon as `until` holds (looked at every 5 ms); false: violated, or
  // not within `limit`.
  bool RunUntil(const std::function<bool()>& until, Micros limit);
  bool Healthy() const { return !observer.violation(); }

  // ---- what an operator asks for, at any node; false: it was not even taken
  // in The answer comes within `patience` in state.answer.
  bool Ask(Node& node, Change change, Micros patience = Seconds(5));
  bool AbandonAsking(Node& node);
  bool Release(Node& node);                 // a holder: no new commits, and then the lease goes
  bool Force(Node& node);                   // the majority is lost for ever, says the operator
  bool Confirm(Node& node);                 // a suspect disk is the newest and only one
  bool MayConfirm(const Node& node) const;  // and that is true
  bool IsNeeded(const Node& node) const;    // it has a vote, or may be counted for commits
  // A new copy of the primary's data in place of whatever the node had; it
  // joins by itself.
  bool Renew(Node& node);

  // ---- creation, as orchestra_create_cluster on n1 does it
  void BeginCreation();
  bool Created() const;

  // ---- faults
  void Crash(Node& node);  // the whole machine
  void Start(Node& node);
  void RestartWorker(Node& node);
  void Freeze(Node& node, Micros time, bool suspend);
  void LoseVote(Node& node);  // of a node that is down
  // No write to it succeeds for so long.
  void FillDisk(Node& node, Micros time);
  // A node that is down gets its files back as they were some time ago (the
  // oldest image that is not older than `age`; false: there is none), with or
  // without the WAL of then.
  bool RollBack(Node& node, Micros age, bool with_wal);
  // The whole disk of `from` goes to another machine, which is started under
  // the same name and address while `from` runs on: what is sent there reaches
  // both, or either. `keeps_anchor`: a snapshot, with the same inode and birth
  // time, and not a copy file by file.
  void CloneOnto(Node& from, Node& to, bool keeps_anchor);
  void Move(Node& node);  // its disk is put into another machine
  bool ForceFence();      // the coordinator begins a failover without cause
  void ForceElection(Node& node);
  // What an operator does to a node that cannot follow: a new copy of the
  // primary's data.
  bool MayRejoin(const Node& node) const;
  void Rejoin(Node& node);

  // ---- questions
  Node& node(NodeId id) { return nodes[id.value - 1u]; }
  const Node& node(NodeId id) const { return nodes[id.value - 1u]; }
  // The machine at the address of a member; its address is among those that
  // `value` knows.
  Node& MachineOf(const RegisterValue& value, NodeId member);
  Node& At(NodeId address);  // whoever answers there: there may be two
  const Node& MachineOf(const RegisterValue& value, NodeId member) const;
  Instant ClockOf(const Node& node) const { return node.clock.At(scheduler.now()); }
  bool Holds(const Node& node) const;
  bool GateOpen(const Node& node) const;
  bool Commits(const Node& node) const;  // its gate is open, or in mode observe has none
  Node* Writable();                      // the node whose gate is open, or null
  Node* Coordinator();                   // of the highest ballot, or null
  bool StreamsFrom(const Node& standby, const Node& primary) const;
  bool EveryStandbyStreams();
  std::uint64_t acknowledged() const { return observer.acknowledged(); }
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
  Member MemberOf(const Node& node) const;
  Identity IdentityOf(const Node& node) const;
  std::uint16_t MachineAt(const Address& server) const;
  std::size_t Pick(std::size_t below) {
    return static_cast<std::size_t>(random.Between(0, static_cast<std::int64_t>(below) - 1));
  }
  RegisterValue FirstValue();

  // shell.cpp
  void BootWorker(Node& node);
  void ScheduleTick(Node& node);
  void TickNode(Node& node);
  bool Apply(Node& node, const Event& event);  // false: the step did not happen
  void Finish(Node& node, const Actions& actions);
  void GoPlain(Node& node);
  void CountRefusal(const Node& node, const Event& event);
  void Dispatch(Node& node, const Envelope& envelope);
  void Hear(Node& to, const Envelope& envelope, const Sender& from, const std::string& bytes);
  void Deliver(Node& to, const Envelope& envelope, const Sender& from, const std::string& bytes);
  void Observe(Node& node);
  Surroundings SurroundingsOf(const Node& node) const;
  Incarnation IncarnationOf(const Node& node) const;
  // Runs `what` now, or when the node thaws; dropped if the machine is down.
  void WhenAwake(NodeId id, std::function<void()> what);
  // The worker is held up: nothing else is handled before `what`, which comes
  // after `time`.
  void HoldUp(Node& node, Micros time, std::function<void()> what);

  // operator.cpp
  bool MayCopy(const Node& node) const;
  bool AtWork(const Node& primary, const RegisterValue& value) const;
  std::string CommandText(const Node& node, const Change& change) const;

  // disk.cpp
  enum class Write { kDone, kFailed, kDied };
  template <typename T>
  Write WriteFile(Node& node, std::optional<T>* file, std::optional<T>* before, bool* unsynced,
                  const T& value, bool fails);
  Write Store(Node& node, const Durable& vote, const Marker* marker, bool fails);
  bool DiskFails(const Node& node);
  void RetryStore(Node& node);
  void Settle(Node& node);  // what a crash of the machine leaves of its files
  void TakeImage(Node& node);
  void DieAndReturn(Node& node);

  // performing.cpp
  void Perform(Node& node);
  void PerformGate(Node& node, const Duties& duties);
  void PerformReceiver(Node& node, const Duties& duties);
  void PerformScan(Node& node, const Duties& duties);
  void PerformPromotion(Node& node, const Duties& duties);
  void PerformSync(Node& node, const Duties& duties);
  void EndWalsenders(Node& node);
  LocalView ViewOf(const Node& node) const;
  NodeId UpstreamOf(const Node& node) const;  // as a member
  Micros Delay(Micros shortest, Micros longest);

  // servers.cpp
  void StartServer(Node& node);
  void ServerTick(Node& node);
  void ReceiverTick(Node& node);
  void StreamTo(Node& primary, Node& standby);
  void ReceiveWal(Node& standby, std::uint64_t connection, Record record);
  void HearFlush(Node& primary, std::uint64_t life, NodeId standby, std::uint64_t connection,
                 Record record);
  void Acknowledge(Node& node);
  bool Confirmed(const Server& server, const SyncNames& sync, Record commit) const;
  void Leave(Node& node, Record commit, EpochId decided_in);

  TraceSink trace_;
  std::uint64_t connections_ = 0;
  std::uint64_t commands_ = 0;
  bool clones_ = false;  // some address is taken twice
};

std::string TextOf(const Note& note);

}  // namespace orchestra::sim
