// The vocabulary of the consensus core: strong types for everything that must not be mixed up.
#pragma once
#include <algorithm>
#include <chrono>
#include <compare>
#include <cstdint>
#include <string>

namespace orchestra {

// A value that only compares with its own kind.
template <typename Tag, typename Rep>
struct Strong {
  Rep value{};
  friend auto operator<=>(const Strong&, const Strong&) = default;
};

using NodeId = Strong<struct NodeIdTag, std::uint16_t>;  // 0: none
using Lsn = Strong<struct LsnTag, std::uint64_t>;        // byte position in the WAL; 0: unknown
using TimelineId = Strong<struct TimelineTag, std::uint32_t>;  // 0: unknown
using Version = Strong<struct VersionTag, std::uint64_t>;  // of the register, grows by one a write
using BootCount = Strong<struct BootCountTag, std::uint64_t>;  // starts of the consensus process
using Incarnation = Strong<struct IncarnationTag, std::uint64_t>;  // random, made with the identity
using ClusterId = Strong<struct ClusterIdTag, std::uint64_t>;      // random, made by create_cluster
using Micros = std::chrono::microseconds;

inline constexpr NodeId kNoNode{0};

// Paxos ballot. Ordered by round, then by the node that leads it. What is decoded has no round
// above the largest, so that a next one can always be counted.
inline constexpr std::uint64_t kMaxRound = std::uint64_t{1} << 62;
struct Ballot {
  std::uint64_t round = 0;
  NodeId node;
  friend auto operator<=>(const Ballot&, const Ballot&) = default;
};

// Names one write of the register: a ballot proposes each version at most once.
struct WriteId {
  Ballot ballot;
  Version version;
  friend auto operator<=>(const WriteId&, const WriteId&) = default;
};

// Names a primary's term: the write that made it primary (design, "epoch_id").
using EpochId = Strong<struct EpochTag, WriteId>;

// A moment on both clocks that matter for leases. A holder's lease is over as soon as *either*
// clock says so; a voter's promise lasts until the *latest* says so (rule 2).
struct Instant {
  Micros boottime{};       // CLOCK_BOOTTIME
  Micros monotonic_raw{};  // CLOCK_MONOTONIC_RAW
  friend bool operator==(const Instant&, const Instant&) = default;
};

inline Instant operator+(Instant t, Micros d) { return {t.boottime + d, t.monotonic_raw + d}; }

// True while no clock has reached `deadline` (what a lease holder must ask).
inline bool BeforeOnEveryClock(Instant now, Instant deadline) {
  return now.boottime < deadline.boottime && now.monotonic_raw < deadline.monotonic_raw;
}

// True while some clock has not reached `deadline` (what a voter that promised must ask).
inline bool BeforeOnSomeClock(Instant now, Instant deadline) {
  return now.boottime < deadline.boottime || now.monotonic_raw < deadline.monotonic_raw;
}

// The later of two moments, clock by clock.
inline Instant Latest(Instant a, Instant b) {
  return {std::max(a.boottime, b.boottime), std::max(a.monotonic_raw, b.monotonic_raw)};
}

// Time since `then` for ordinary timers. Never negative.
inline Micros Since(Instant now, Instant then) {
  return std::max(
      {Micros{0}, now.boottime - then.boottime, now.monotonic_raw - then.monotonic_raw});
}

// Texts for logs and SQL. "0/1A2B3C" as PostgreSQL prints it; "4.n2/17" for an epoch is ToText.
std::string ToText(Lsn lsn);
std::string ToText(const Ballot& ballot);
std::string ToText(const WriteId& write);
std::string ToText(const EpochId& epoch);

}  // namespace orchestra
