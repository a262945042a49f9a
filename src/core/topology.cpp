// What a node knows of all of them at one moment, for the rule table.
#include <algorithm>

#include "core/consensus.h"

namespace orchestra {
namespace {

constexpr Micros kFresh = std::chrono::seconds(2);  // four rounds of Status

// What a node said of itself, unless that is too old to tell anything.
const NodeStatus* Said(const State& state, NodeId id, Instant now) {
  const auto peer = state.peers.find(id);
  const bool fresh = peer != state.peers.end() && peer->second.status_at &&
                     Since(now, *peer->second.status_at) < kFresh;
  return fresh ? &peer->second.status : nullptr;
}

// Orchestra's own primary of a former epoch is out of recovery too, until it is made anew, but
// behind a closed gate. Where nothing is gated, whoever is out of recovery takes writes.
bool TakesWrites(const RegisterValue& value, const NodeStatus& status) {
  return status.db == DbState::kPrimary && (status.gate_open || !Enforces(value));
}

// As PostgreSQL compares application_names.
bool SameName(const std::string& a, const std::string& b) {
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [lower](char x, char y) { return lower(x) == lower(y); });
}

bool SameAddress(const Address& a, const Address& b) { return a == b && !a.host.empty(); }

std::string SharedBy(const Member& a, const Member& b) {
  const char* what = SameName(a.name, b.name)          ? "name"
                     : SameAddress(a.peer, b.peer)     ? "peer address"
                     : SameAddress(a.server, b.server) ? "server address"
                                                       : nullptr;
  return what ? a.name + " and " + b.name + " have one " + what : "";
}

std::string Differing(const Member& a, const Member& b, const char* what, const std::string& at_a,
                      const std::string& at_b) {
  return a.name + " runs " + what + " " + at_a + ", " + b.name + " " + at_b;
}

std::string VersionsDiffer(const Member& a, const NodeStatus& at_a, const Member& b,
                           const NodeStatus& at_b) {
  const std::uint32_t major_a = at_a.server_version_num / 10'000;
  const std::uint32_t major_b = at_b.server_version_num / 10'000;
  if (at_a.version != at_b.version && !at_a.version.empty() && !at_b.version.empty())
    return Differing(a, b, "orchestra", at_a.version, at_b.version);
  if (major_a != major_b && major_a != 0 && major_b != 0)
    return Differing(a, b, "PostgreSQL", std::to_string(major_a), std::to_string(major_b));
  return "";
}

// The clause of its problem that tells of a setting that is not as orchestra set it.
std::string Overridden(const Member& member, const NodeStatus& status) {
  const std::string& problem = status.problem;
  const std::size_t at = problem.find(kOverridden);
  if (at == std::string::npos) return "";
  const std::size_t before = problem.rfind("; ", at);
  const std::size_t begin = before == std::string::npos ? 0 : before + 2;
  return "on " + member.name + " " + problem.substr(begin, at + kOverridden.size() - begin);
}

// Asked at every tick: nothing is built before there is something to tell.
std::string MismatchOf(const State& state, const RegisterValue& value, Instant now) {
  for (auto b = value.members.begin(); b != value.members.end(); ++b) {
    const NodeStatus* at_b = Said(state, b->id, now);
    if (at_b)
      if (std::string found = Overridden(*b, *at_b); !found.empty()) return found;
    for (auto a = value.members.begin(); a != b; ++a) {
      const NodeStatus* at_a = Said(state, a->id, now);
      if (std::string found = SharedBy(*a, *b); !found.empty()) return found;
      if (!at_a || !at_b) continue;
      if (std::string found = VersionsDiffer(*a, *at_a, *b, *at_b); !found.empty()) return found;
    }
  }
  return "";
}

std::string DegradedOf(const RegisterValue& value) {
  const std::uint32_t fewest = FewestCopies(value, value.primary);
  if (!Enforces(value) || !value.active || value.sync.k >= fewest) return "";
  if (value.sync.k == 0) return "commits are on " + NameOf(value, value.primary) + " alone";
  return "commits wait for " + std::to_string(value.sync.k) + " standbys, min_sync_copies is " +
         std::to_string(value.min_sync_copies);
}

}  // namespace

Topology TopologyOf(const State& state, Instant now) {
  Topology t;
  const RegisterValue* value = CommittedValue(state);
  if (!value) return t;
  const Timers timers = TimersFor(value->lease_ttl_ms, value->drift_permille, Policy{});
  const bool leading = IsCoordinator(state);
  // A coordinator goes by the answers to its own heartbeat, others by the last Status.
  const Micros patience = leading ? timers.heartbeat * 3 : kFresh;
  auto reachable = [&](NodeId id) {
    if (id == Self(state)) return true;
    auto it = state.peers.find(id);
    if (leading && Since(now, state.led_since) < patience) return true;  // not asked long enough
    if (it == state.peers.end()) return false;
    const std::optional<Instant>& at = leading ? it->second.heard_at : it->second.status_at;
    return at && Since(now, *at) < patience;
  };
  for (const Member& member : value->members) {
    const bool here = reachable(member.id);
    if (member.id != Self(state)) {
      t.others++;
      if (here) t.others_reachable++;
    }
    if (member.id == value->primary) {
      t.primary_reachable = here;
      continue;
    }
    if (member.kind == MemberKind::kWitness) continue;
    t.standbys++;
    if (!here) continue;
    t.standbys_reachable++;
    auto it = state.peers.find(member.id);
    if (it == state.peers.end()) continue;
    if (it->second.status.receiver == ReceiverState::kStreaming) t.standbys_streaming++;
    const NodeStatus* status = Said(state, member.id, now);
    if (status && TakesWrites(*value, *status) && t.second_primary.empty())
      t.second_primary =
          member.name + " takes writes too, on timeline " + std::to_string(status->timeline.value);
  }
  t.degraded = DegradedOf(*value);
  t.mismatch = MismatchOf(state, *value, now);
  t.lease_ttl = timers.ttl;
  t.lease_lapsed = leading && state.lease_lapsed;
  t.without_lease = leading ? Since(now, state.leased_at) : Micros{0};
  return t;
}

}  // namespace orchestra
