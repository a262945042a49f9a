// Messages of the protocol (design, section 3 "Messages"), without their frame: see core/frame.h.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/register.h"
#include "core/status.h"
#include "core/types.h"

namespace orchestra {

using ValuePtr = std::shared_ptr<const RegisterValue>;

// A value with the write that proposed it.
struct Written {
  WriteId write;
  ValuePtr value;  // never null inside an engaged optional or a message
  friend bool operator==(const Written& a, const Written& b) {
    return a.write == b.write &&
           (a.value == b.value || (a.value && b.value && *a.value == *b.value));
  }
};

struct PreVote {
  Ballot ballot;
  bool as_holder = false;
  friend bool operator==(const PreVote&, const PreVote&) = default;
};  // "would you vote for me?"
struct PreVoteOk {
  Ballot ballot;
  friend bool operator==(const PreVoteOk&, const PreVoteOk&) = default;
};
struct Prepare {
  Ballot ballot;
  friend bool operator==(const Prepare&, const Prepare&) = default;
};
struct Promise {
  Ballot ballot;
  std::optional<Written> accepted;
  friend bool operator==(const Promise&, const Promise&) = default;
};
// Accept doubles as the heartbeat of a coordinator whose first write is not committed yet.
struct Accept {
  Written written;
  std::uint64_t seq = 0;
  friend bool operator==(const Accept&, const Accept&) = default;
};
struct Accepted {
  WriteId write;
  friend bool operator==(const Accepted&, const Accepted&) = default;
};
struct Nack {
  Ballot promised;
  friend bool operator==(const Nack&, const Nack&) = default;
};
// Heartbeat. `coordinator` is who leads written.write.ballot; the sender may be a relaying voter.
struct Commit {
  Written written;
  std::uint64_t seq = 0;
  friend bool operator==(const Commit&, const Commit&) = default;
};
struct HeartbeatAck {
  Ballot ballot;
  std::uint64_t seq = 0;
  bool promise_live = false;
  EpochId fenced;
  friend bool operator==(const HeartbeatAck&, const HeartbeatAck&) = default;
};
// `known` is the register version that the primary goes by: a voter that knows of newer voters
// does not grant (rule 7).
struct LeaseRequest {
  EpochId epoch;
  Version known;
  BootCount boot;
  std::uint64_t seq = 0;
  std::uint64_t echo = 0;
  friend bool operator==(const LeaseRequest&, const LeaseRequest&) = default;
};
// granted = false: only a nonce, no promise (rule 2).
struct LeaseAck {
  EpochId epoch;
  BootCount boot;
  std::uint64_t seq = 0;
  std::uint64_t nonce = 0;
  bool granted = false;
  std::uint32_t ttl_ms = 0;
  friend bool operator==(const LeaseAck&, const LeaseAck&) = default;
};
struct Release {
  EpochId epoch;
  BootCount boot;
  std::uint64_t seq = 0;
  friend bool operator==(const Release&, const Release&) = default;
};
// want_position = false while a majority of voters is not fenced yet (rule 4's order).
struct Fence {
  Ballot ballot;
  Version version;
  EpochId epoch;
  bool want_position = false;
  friend bool operator==(const Fence&, const Fence&) = default;
};
struct Fenced {
  Ballot ballot;
  Version version;
  EpochId epoch;
  std::optional<WalPosition> position;
  friend bool operator==(const Fenced&, const Fenced&) = default;
};
// To a fenced data node that shall be promoted and is behind (rule 5 iv): take WAL from `source`,
// itself fenced and counted, up to its counted end and no further. Ends with the next FENCE.
struct Feed {
  Ballot ballot;
  EpochId epoch;  // that is fenced
  NodeId source;
  Lsn upto;
  EpochId wal_epoch;  // of the source's WAL
  friend bool operator==(const Feed&, const Feed&) = default;
};
// ---- what a member may ask the register to become: core/change.h applies it. The first three are
// the primary's own (rules 5 vii and 6), the others are an operator's.
struct Activate {  // the epoch, on this timeline, which begins there
  TimelineId timeline;
  Lsn begin;
  friend bool operator==(const Activate&, const Activate&) = default;
};
// The primary's worker was started: what it asked for before must not land any more.
struct NoteStart {
  friend bool operator==(const NoteStart&, const NoteStart&) = default;
};
struct ChangeSync {
  SyncSet sync;
  friend bool operator==(const ChangeSync&, const ChangeSync&) = default;
};
struct ChangeVoters {  // all of them: one joint change
  std::vector<NodeId> voters;
  friend bool operator==(const ChangeVoters&, const ChangeVoters&) = default;
};
struct ChangeMember {
  NodeId node;
  bool sync_candidate = false;
  friend bool operator==(const ChangeMember&, const ChangeMember&) = default;
};
struct ChangeZone {
  NodeId node;
  std::string zone;  // empty: none is known
  friend bool operator==(const ChangeZone&, const ChangeZone&) = default;
};
struct RemoveMember {
  NodeId node;
  friend bool operator==(const RemoveMember&, const RemoveMember&) = default;
};
struct ChangeSettings {  // what is not set stays
  std::optional<std::uint32_t> lease_ttl_ms, drift_permille;
  std::optional<Mode> mode;
  std::optional<bool> paused, auto_voters;
  std::optional<Durability> durability;
  std::optional<OnNoSync> on_no_sync;
  std::optional<std::uint32_t> sync_copies, min_sync_copies;
  std::optional<SyncZone> sync_zone;
  std::optional<std::uint64_t> max_failover_lag_bytes;
  friend bool operator==(const ChangeSettings&, const ChangeSettings&) = default;
};
struct StartFailover {  // by call: rules 4 and 5 as ever, and only to `target` when it is set
  NodeId target;
  // An operator takes the loss of what nobody that answers holds: the most advanced node that is
  // counted is promoted, though a member of S that may be ahead is missing (rule 5 iii).
  bool accept_data_loss = false;
  friend bool operator==(const StartFailover&, const StartFailover&) = default;
};
struct DropCluster {  // only in mode observe, so that nothing is gated or set any more
  friend bool operator==(const DropCluster&, const DropCluster&) = default;
};
using Change = std::variant<Activate, NoteStart, ChangeSync, ChangeVoters, ChangeMember,
                            RemoveMember, ChangeSettings, StartFailover, DropCluster, ChangeZone>;

// Compare-and-set: `change` if the register is at version `base`. `id` names it to its asker.
struct Request {
  std::uint64_t id = 0;
  EpochId epoch;
  Version base;
  BootCount boot;
  Change change;
  Ballot heard;  // newest heartbeat that the asker heard
  std::uint64_t heard_seq = 0;
  friend bool operator==(const Request&, const Request&) = default;
};
enum class Verdict : std::uint8_t {
  kDone,
  kMoved,    // the register is not at `base` any more: look at it and ask again
  kRefused,  // never as asked; `reason` says why
};
struct Reply {
  std::uint64_t id = 0;
  Verdict verdict = Verdict::kDone;
  std::string reason;  // at most kMaxProblemBytes
  Written committed;
  friend bool operator==(const Reply&, const Reply&) = default;
};

// ---- identity (rule 9)
// "What do you remember of me?" From a node whose disk may be another one than it was.
struct Recall {
  std::uint64_t nonce = 0;
  friend bool operator==(const Recall&, const Recall&) = default;
};
// The newest that the sender remembers of the addressee; also unasked, to one that is older.
struct Recalled {
  std::uint64_t nonce = 0;  // of the question; 0: unasked
  Incarnation incarnation;
  BootCount boot;
  Ballot ballot;
  WriteId accepted;
  EpochId fenced;
  bool alive = false;  // somebody who is not suspect speaks in the addressee's name
  friend bool operator==(const Recalled&, const Recalled&) = default;
};
struct Status {
  NodeStatus status;
  friend bool operator==(const Status&, const Status&) = default;
};
// Creation: stored by an unconfigured node, answered by Accepted; completed by Commit.
struct Create {
  Written written;
  friend bool operator==(const Create&, const Create&) = default;
};
// "Hello": a node that is no member introduces itself; creation waits for it, and a coordinator
// makes it a member (no vote, never in S, never a candidate).
struct Join {
  Member wanted;
  std::uint64_t system_identifier = 0;
  Incarnation incarnation;
  friend bool operator==(const Join&, const Join&) = default;
};

using Message = std::variant<PreVote, PreVoteOk, Prepare, Promise, Accept, Accepted, Nack, Commit,
                             HeartbeatAck, LeaseRequest, LeaseAck, Release, Fence, Fenced, Request,
                             Reply, Status, Create, Join, Recall, Recalled, Feed>;

// "LEASE_REQ" and so on; index is Message::index().
const char* MessageName(std::size_t index);
inline const char* NameOf(const Message& message) { return MessageName(message.index()); }

struct Envelope {
  NodeId from;
  NodeId to;
  Message message;
  Address at{};  // of an addressee that is no member; else unset
};

}  // namespace orchestra
