// The consensus core: one register, one lease, one WAL fence (design, section 3, rules 1 to 6 and
// 8).
//
// Pure: Step(state, event, now) -> actions. The caller persists, then sends, then performs the
// duties. If persisting fails the caller restores the state that it had before the step and drops
// the actions: to the protocol this is a lost message.
//
// Sources: Lamport, "Paxos Made Simple" (register); Trencseni et al., "PaxosLease" (lease granted
// by acceptors); Ongaro, "Consensus: Bridging Theory and Practice", 9.6 (pre-vote).
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "core/analysis.h"
#include "core/backend.h"
#include "core/durable.h"
#include "core/message.h"
#include "core/policy.h"
#include "core/status.h"
#include "core/types.h"

namespace orchestra {

// ---------------------------------------------------------------- events

struct Tick {};    // at least every Timers::tick
struct Received {  // authenticated by the caller
  Envelope envelope;
  ClusterId cluster;
  Incarnation incarnation;  // of the sender, as its frame says
  BootCount boot;
};
struct Observed {
  LocalView view;
};  // on every change, and before each tick
// From create_cluster on the primary. `value` is complete: version 1, epoch, S, k, members.
struct CreateCluster {
  RegisterValue value;
  Identity identity;
};
struct AbandonCreation {};  // its caller gave up or timed out
// This node's own introduction; sets what it sends in Join and what it answers to Create.
struct Introduced {
  Member self;
  Identity identity;
};
// An operator's wish, from SQL on any node. Answered in State::answer within `patience`.
struct Command {
  std::uint64_t id = 0;
  Change change;
  Micros patience{};
};
struct AbandonCommand {};  // its caller is gone: no answer is wanted (it may be done all the same)
// Drops the lease after closing the gate, and tells the voters (rule 11). The caller must not let
// anything commit before the gate opens again.
struct ReleaseLease {};
// What the peers said of themselves is to be stored, if that is due. Apart from Tick, so that a
// disk that takes no writes costs nothing else. Once a tick is often enough.
struct StorePeers {};
// The operator's last resort where the majority of the voters is lost for ever: this node becomes
// the only voter and the primary of a new cluster made of what is here. `cluster` is random.
struct ForceRecovery {
  std::uint64_t id = 0;  // answered as a Command is
  ClusterId cluster;
  std::string reason;  // who and why, for the audit
};
// An operator vouches that a suspect disk is this node's newest and only one.
struct ConfirmIdentity {
  std::uint64_t id = 0;
};
using Event =
    std::variant<Tick, StorePeers, Received, Observed, WalEndRead, CreateCluster, AbandonCreation,
                 Introduced, Command, AbandonCommand, ReleaseLease, ForceRecovery, ConfirmIdentity>;

// ---------------------------------------------------------------- actions

struct Actions {
  bool persist = false;  // state.durable changed: make it durable before sending anything
  bool write_marker = false;
  bool leave = false;  // the cluster was dropped: the marker and the vote file go, in this order
  std::vector<Envelope> send;
  std::vector<Note> notes;
};

// ---------------------------------------------------------------- state

struct Timers {
  Micros tick, heartbeat, election_min, election_max, renewal, request_retry;
  Micros ttl, promise_ttl;  // of the lease
  Micros lease_span;        // TTL(1-2 rho): how long a holder trusts a grant
  Micros hold_off;          // TTL(1+2 rho)
};
// All times follow from the TTL and the drift bound in the register (design: 2 s ->
// 150/250/600-1200 ms).
Timers TimersFor(std::uint32_t lease_ttl_ms, std::uint32_t drift_permille, const Policy& policy);

// What became of a Command.
struct CommandAnswer {
  std::uint64_t id = 0;
  bool done = false;
  std::string text;  // not done: why
};

// A Command on its way, or the primary's own Request.
struct Asking {
  std::uint64_t id = 0;
  Change change;
  Instant since{};  // of a primary's own: unanswered since
  std::optional<Instant> asked_at;
  Instant until{};      // of a Command: the end of its patience
  EpochId epoch;        // in which it was first asked
  Version base;         // of a primary's own: the version that it is about
  std::string held_up;  // of a Command: why not yet, as the coordinator said
};

struct PeerView {
  NodeStatus status;
  std::optional<Instant> status_at;  // last Status heard
  std::optional<Instant> heard_at;   // last HeartbeatAck under this coordinator's ballot
  std::uint64_t heard_seq = 0;       // highest heartbeat that it has answered
  bool promise_live = true;
  EpochId fenced;
};

struct Hello {
  Join join;
  Instant at;
};

enum class Role : std::uint8_t { kFollower, kCandidate, kCoordinator };

// Rule 5 as the coordinator goes through it.
struct Failover {
  enum class Stage : std::uint8_t { kNone, kFenceVoters, kCollect, kFeed } stage = Stage::kNone;
  std::string recovery;
  Instant sent_at{};
  std::set<NodeId> voters_fenced;
  NodeId wanted;                  // by call: only this one; kNoNode: whoever is best
  bool accept_data_loss = false;  // by call
  std::map<NodeId, WalPosition> positions;
  NodeId fed;  // kFeed: who is fed, and how
  Feed feed;
  Lsn fed_end;                        // as the fed node said last
  Instant fed_at{};                   // when it was asked first, or had got on
  std::map<NodeId, int> feeds;        // how often each source was tried
  std::optional<Lsn> primary_end;     // how far the primary of the basis is known to have got
  Version version;                    // register version that the replies named
  std::optional<Instant> enough_at;   // since when enough replies are in
  std::optional<Instant> blocked_at;  // since when something was missing; told after a second
  std::string blocked;                // last reason told
};

// After the new epoch is committed: what is still to be seen.
struct Aftermath {
  std::string recovery;  // empty: none
  EpochId epoch;
  NodeId failed;  // the primary that was replaced; nobody waits for it
  Instant since{};
  bool promoted = false, activated = false;
  std::set<NodeId> repointed;
};

struct State {
  Phase phase = Phase::kUnconfigured;
  std::string quarantine_reason;
  Durable durable;
  std::optional<Marker> marker;
  std::uint64_t random = 1;  // seeded by the caller at boot
  Instant started{};
  LocalView view;
  std::optional<Introduced> introduced;
  std::map<std::string, Hello> hellos;  // by name; bounded by kMaxMembers
  std::map<NodeId, PeerView> peers;

  // voter
  Instant promise_until{};
  Instant hold_until{};
  EpochId newest_epoch_seen;
  std::pair<BootCount, std::uint64_t> last_request{};
  std::deque<std::pair<std::uint64_t, Instant>> nonces_issued;
  std::uint64_t nonces = 0;

  // identity
  bool suspect = false;
  bool moved = false;
  bool expelled = false;
  std::uint64_t recall_nonce = 0;
  Instant recall_sent{};
  std::set<NodeId> vouched;     // other voters that remember nothing newer of this node
  std::string suspect_problem;  // what stands against it
  std::map<NodeId, Instant> refusal_sent;
  Instant remembered_at{};

  // an operator's command, or the primary's own request
  std::optional<Asking> command, request;
  std::optional<CommandAnswer> answer;
  std::uint64_t request_ids = 0;

  // election
  Role role = Role::kFollower;
  Ballot ballot;  // candidate's or coordinator's own
  std::uint64_t highest_round = 0;
  bool preparing = false;
  Instant election_at{};
  std::set<NodeId> pre_votes;
  std::map<NodeId, std::optional<Written>> promises;
  std::optional<Written> adopting;  // highest accepted value of those promises
  std::set<NodeId> prepared;        // whom Prepare was sent to
  std::optional<Instant> heartbeat_heard;
  std::pair<Ballot, std::uint64_t> heartbeat_newest{};
  NodeId coordinator;  // whom this node believes in

  // coordinator
  std::optional<Written> proposal;
  bool proposal_committed = false;
  std::set<NodeId> proposal_acks;
  std::uint64_t heartbeat_seq = 0;
  Instant heartbeat_sent{};
  Instant led_since{};
  std::uint64_t commit_seq = 0;        // first heartbeat that told of the proposal's commit
  std::optional<Instant> joint_since;  // a quorum knows that a change of voters is committed
  Micros step_aside_after{};           // grows each time that stepping aside did not help
  Instant stepped_aside_at{};
  std::optional<Instant> better_since;  // somebody who should lead rather than this node
  struct Farewell {
    Address to;
    int left = 0;
  };
  Farewell farewell;  // a removed member is told a few times
  struct Owed {
    NodeId to;
    std::uint64_t id = 0;
    WriteId write;
  };
  std::vector<Owed> owed;     // replies for when the write is committed
  Instant leased_at{};        // last moment at which a majority was not known to be without promise
  bool lease_lapsed = false;  // a majority of voters is known to be without a promise
  Failover failover;
  struct BasisEnd {
    NodeId primary;
    TimelineId timeline;
    Lsn end;
  };
  std::optional<BasisEnd> basis_end;  // of the last active epoch's primary, as known when it failed
  Aftermath aftermath;
  std::optional<Instant> leaving_since;  // the cluster is known to be dropped
  bool left = false;                     // waits for the shell to make a plain server of this one
  std::optional<FindingCode> finding_now, finding_told;  // told once it lasts
  Instant finding_since{};

  // creation, on the primary
  std::optional<CreateCluster> creating;
  std::set<NodeId> create_acks;
  Instant create_sent{};

  // lease holder
  EpochId lease_epoch;
  Instant lease_until{};
  struct Grant {
    Instant sent{};   // of the request that it answers
    Instant until{};  // how long the holder may trust it
  };
  std::map<NodeId, Grant> grants;
  std::map<std::uint64_t, Instant> requests_sent;
  std::map<NodeId, std::uint64_t> echo;
  std::uint64_t request_seq = 0;
  std::uint64_t request_cancelled = 0;  // acks up to here are ignored (RELEASE)
  Instant lease_rest_until{};           // after a RELEASE by call
  Instant lease_request_at{};
  std::optional<Lsn> barrier;  // end of WAL when this server left recovery: k of S must flush it
  bool barrier_passed = false;
  SyncSet setting;  // what PostgreSQL is told to enforce (S_setting, k_setting)
  std::uint64_t setting_generation = 0;  // of `setting`; grows with every change of it
  std::uint64_t settings_made = 0;
  bool setting_proven = false;     // a setting of this epoch is effective
  bool setting_effective = false;  // `setting` is
  bool shrinking = false;          // `setting` is ahead of the register
  std::optional<Lsn> sync_barrier;
  struct StandbyHeard {
    Lsn flushed;
    Instant at{};  // last moment at which it was caught up or moved on
    bool streams = false;
    Instant streams_since{};
    Lsn goal;  // end of the primary's WAL when it began to stream
  };
  std::map<NodeId, StandbyHeard> standbys;
  bool gate_was_open = false;
  bool lease_was_held = false;

  // fenced node
  std::uint64_t scan_seq = 0;
  bool scan_running = false;
  std::optional<Fence> fence_asked;  // last FENCE that wants a position, not answered yet
  std::optional<Feed> feed;          // last asked for, until the next FENCE
  Instant feed_at{};                 // lapses unless it is asked for again and again

  Instant status_sent{};
  Instant join_sent{};
  std::string join_problem;  // why the register heard last will not have this node; empty: nothing
  Instant join_answered{};
};

// A node at its start. Raises boot_count in the returned state; the caller must persist it before
// anything else. `seed` feeds the election timers.
State Boot(const BootDecision& decision, Instant now, std::uint64_t seed,
           const Policy& policy = Policy{});

Actions Step(State& state, const Event& event, Instant now, const Policy& policy = Policy{});

Duties DutiesOf(const State& state, Instant now, const Policy& policy = Policy{});

// ---------------------------------------------------------------- questions for status

NodeId Self(const State& state);
// Where to send to. nullopt: unknown. Envelope::to == kNoNode means Envelope::at, and every seed
// when that is not set.
std::optional<Address> PeerAddress(const State& state, NodeId node);
const RegisterValue* CommittedValue(const State& state);  // nullptr: none
bool IsCoordinator(const State& state);
// Is the lease of the committed epoch held here at this moment?
bool HoldsLease(const State& state, Instant now, const Policy& policy = Policy{});
bool GateOpen(const State& state, Instant now, const Policy& policy = Policy{});
// May this node's WAL be continued by the primary of the committed epoch?
bool MayFollow(const State& state);
Topology TopologyOf(const State& state, Instant now);

}  // namespace orchestra
