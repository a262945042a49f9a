// Messages of the protocol (design, section 3 "Messages"), without their frame: see core/frame.h.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

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
};  // "would you vote for me?"
struct PreVoteOk {
  Ballot ballot;
};
struct Prepare {
  Ballot ballot;
};
struct Promise {
  Ballot ballot;
  std::optional<Written> accepted;
};
// Accept doubles as the heartbeat of a coordinator whose first write is not committed yet.
struct Accept {
  Written written;
  std::uint64_t seq = 0;
};
struct Accepted {
  WriteId write;
};
struct Nack {
  Ballot promised;
};
// Heartbeat. `coordinator` is who leads written.write.ballot; the sender may be a relaying voter.
struct Commit {
  Written written;
  std::uint64_t seq = 0;
};
struct HeartbeatAck {
  Ballot ballot;
  std::uint64_t seq = 0;
  bool promise_live = false;
  EpochId fenced;
};
struct LeaseRequest {
  EpochId epoch;
  BootCount boot;
  std::uint64_t seq = 0;
  std::uint64_t echo = 0;
};
// granted = false: only a nonce, no promise (rule 2).
struct LeaseAck {
  EpochId epoch;
  BootCount boot;
  std::uint64_t seq = 0;
  std::uint64_t nonce = 0;
  bool granted = false;
  std::uint32_t ttl_ms = 0;
};
struct Release {
  EpochId epoch;
  BootCount boot;
  std::uint64_t seq = 0;
};
// want_position = false while a majority of voters is not fenced yet (rule 4's order).
struct Fence {
  Ballot ballot;
  Version version;
  EpochId epoch;
  bool want_position = false;
};
struct Fenced {
  Ballot ballot;
  Version version;
  EpochId epoch;
  std::optional<WalPosition> position;
};
// Compare-and-set from the primary: activate epoch `epoch` on `timeline` if the register is at
// `base`.
struct Request {
  EpochId epoch;
  Version base;
  TimelineId timeline;
  Ballot heard;
  std::uint64_t heard_seq = 0;
};
struct Reply {
  Written committed;
};
struct Status {
  NodeStatus status;
};
// Creation: stored by an unconfigured node, answered by Accepted; completed by Commit.
struct Create {
  Written written;
};
// "Hello": a node that is no member introduces itself; creation waits for it, and a coordinator
// makes it a member (no vote, never in S, never a candidate).
struct Join {
  Member wanted;
  std::uint64_t system_identifier = 0;
  Incarnation incarnation;
};

using Message = std::variant<PreVote, PreVoteOk, Prepare, Promise, Accept, Accepted, Nack, Commit,
                             HeartbeatAck, LeaseRequest, LeaseAck, Release, Fence, Fenced, Request,
                             Reply, Status, Create, Join>;

// "LEASE_REQ" and so on; index is Message::index().
const char* MessageName(std::size_t index);
inline const char* NameOf(const Message& message) { return MessageName(message.index()); }

struct Envelope {
  NodeId from;
  NodeId to;
  Message message;
};

}  // namespace orchestra
