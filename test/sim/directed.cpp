#include "directed.h"

#include <sstream>
#include <utility>

namespace orchestra::sim {
namespace {

const std::vector<Schedule> kSchedules = {
    // The primary is cut off and fenced at once: leases must not overlap.
    {"lease-race", R"(
      form
      isolate primary
      fence
      expect epoch 20s)"},
    // The same, after renewals whose acknowledgements took more than a second.
    {"late-acks", R"(
      form
      slow n2 -> n1 1100ms
      slow n3 -> n1 1100ms
      run 4s
      isolate primary
      fence
      expect epoch 20s)"},
    // The same, with a slow clock on the primary and fast ones on the voters.
    {"drifting-clocks", R"(
      form
      clock n1 -95
      clock n2 +95
      clock n3 +95
      run 2s
      isolate primary
      fence
      expect epoch 20s)"},
    // The same, and the voters restart: promises live in memory only.
    {"voters-restart", R"(
      form
      cast
      isolate primary
      kill coordinator
      start coordinator
      kill other
      start other
      run 60ms
      elect other
      try coordinator 1s
      fence
      expect epoch 20s)"},
    // A fenced standby that has reported its end of WAL restarts while the old primary commits.
    {"fenced-restart", R"(
      form
      cast
      cut primary coordinator
      fence
      try decided 1s
      restart other
      expect epoch 20s)"},
    // FENCE while the primary still reaches one of the voters.
    {"fence-beside-primary", R"(
      form
      cut primary coordinator
      fence
      expect epoch 20s)"},

    // ---- rule 1
    // A coordinator that is not heard of any more must not stay one, or nobody replaces the
    // primary.
    {"deaf-coordinator", R"(
      nodes 3
      witnesses 2
      form
      freeze other 900ms
      kill coordinator 1500ms
      run 650ms
      elect n4
      run 1500ms
      deafen coordinator
      kill primary
      expect epoch 20s)"},
    // Heartbeats of a dead coordinator still arrive, long after newer ones came by a relay.
    {"late-heartbeats", R"(
      nodes 5
      form
      cast
      slow coordinator -> n2 20s
      slow coordinator -> n3 20s
      slow coordinator -> n4 20s
      slow coordinator -> n5 20s
      run 25s
      kill coordinator
      kill primary
      expect coordinator 12s)"},
    // A PROMISE for a ballot comes when it is led already and has written.
    {"ballot-led-twice", R"(
      nodes 5
      form
      cast
      slow n4 -> n5 3s
      slow n5 -> n4 3s
      kill coordinator
      expect coordinator 12s
      ask primary drift 110
      run 6s
      expect same 5s)"},

    // ---- rule 2
    // The primary hears nobody: what it sends must not keep its lease.
    {"one-way-cut-in", R"(
      form
      deafen primary
      expect epoch 20s)"},
    {"one-way-cut-out", R"(
      form
      mute primary
      expect epoch 20s)"},
    // One lost message of a kind never ends the lease.
    {"single-losses", R"(
      form
      cast
      lose LEASE_REQ primary -> other 1
      run 1s
      lose LEASE_REQ primary -> coordinator 1
      run 1s
      lose LEASE_ACK other -> primary 1
      run 1s
      lose LEASE_ACK coordinator -> primary 1
      run 1s
      lose COMMIT coordinator -> primary 1
      lose COMMIT coordinator -> other 1
      lose HEARTBEAT_ACK other -> coordinator 1
      lose HEARTBEAT_ACK primary -> coordinator 1
      run 1s
      lose LEASE_REQ primary -> other 1
      lose LEASE_ACK coordinator -> primary 1
      run 1s
      expect kept 1ms)"},
    // The old primary votes for itself: once it has heard of a newer epoch it must stop.
    {"grants-itself", R"(
      form
      cast
      isolate primary
      fence
      run 100ms
      kill other
      run 800ms
      heal
      expect chosen 10s)"},
    // The primary's machine is suspended; one of its two clocks does not see it.
    {"suspended-primary", R"(
      form
      suspend primary 6s
      expect epoch 20s)"},
    // One clock of each voter runs away; the other one is right.
    {"runaway-clock", R"(
      form
      clock n2 +1500 boottime
      clock n3 +1500 boottime
      run 3s
      isolate primary
      fence
      expect epoch 20s)"},
    // The lease gets shorter, and the primary does not hear of it.
    {"shorter-lease", R"(
      form
      cast
      lose COMMIT coordinator -> primary
      lose COMMIT other -> primary
      ask coordinator ttl 500
      run 4s
      isolate primary
      fence
      expect epoch 20s)"},

    // ---- rule 3
    // The lease gets shorter, and the voters restart while a longer one that they gave is in force.
    {"shorter-lease-restart", R"(
      form
      cast
      ask coordinator ttl 500
      run 20ms
      isolate primary
      kill coordinator
      start coordinator
      kill other
      start other
      run 60ms
      elect other
      try coordinator 1s
      fence
      expect epoch 20s)"},

    // ---- rule 4
    // The coordinator dies when some nodes are fenced: somebody must go on.
    {"dangling-fence", R"(
      form
      cast
      lose FENCE coordinator -> primary
      fence
      run 15ms
      kill coordinator
      expect epoch 20s)"},
    // FENCE at any moment ends in a writable cluster.
    {"fence-again-and-again", R"(
      form
      fence
      run 10ms
      elect other
      run 40ms
      fence
      run 170ms
      fence
      run 330ms
      fence
      run 700ms
      fence
      run 1300ms
      fence
      expect writable 15s)"},

    // ---- rule 5
    // The new primary dies before its epoch is active: the last active one counts.
    {"two-primaries-die", R"(
      nodes 5
      form
      cast
      kill primary
      until chosen
      run 30ms
      kill named
      start primary
      expect epoch 20s)"},

    // ---- rule 7
    // Two voters more, and then the primary and an old voter that gave it a lease are cut off from
    // the others.
    {"voters-grow", R"(
      members 2
      async
      form
      join n4
      join n5
      run 5s
      cast
      lose LEASE_REQ primary -> coordinator
      run 4s
      ask coordinator voters n1 n2 n3 n4 n5
      run 30ms
      cut primary coordinator
      cut primary n4
      cut primary n5
      cut other coordinator
      cut other n4
      cut other n5
      fence
      run 4s
      heal
      expect writable 20s)"},
    // The voters change while the primary is cut off.
    {"voters-without-primary", R"(
      nodes 5
      form
      cast
      isolate primary
      ask coordinator voters n1 n2 n3
      run 1s
      fence
      expect epoch 20s)"},
    {"voters-down-and-up", R"(
      form
      ask coordinator voters primary
      run 4s
      expect writable 1s
      ask primary voters n1 n2 n3
      run 5s
      expect writable 5s
      kill primary
      expect epoch 20s)"},
    {"voters-swapped", R"(
      members 2
      form
      join n4
      join n5
      run 5s
      ask n1 voters n1 n4 n5
      run 6s
      kill primary
      expect epoch 20s)"},

    // ---- rule 8
    // The coordinator does not reach the primary, and everybody else does.
    {"unreachable-primary", R"(
      form
      cut primary coordinator
      run 8s
      expect same 5s)"},

    // ---- rule 9
    // A voter is rolled back to before it promised: it must not promise again.
    {"voter-rolled-back", R"(
      nodes 3
      witnesses 2
      form
      run 40s
      cast
      fence
      until epoch
      cast off
      isolate primary
      roll-back n4 30s
      run 2s
      fence
      expect epoch 30s)"},

    // ---- rule 11
    // A RELEASE comes when the primary has acquired its lease again.
    {"late-release", R"(
      form
      cast
      slow primary -> coordinator 5s
      slow primary -> other 5s
      release primary
      slow primary -> coordinator 1ms
      slow primary -> other 1ms
      run 5100ms
      isolate primary
      fence
      expect epoch 20s)"},
    // Acknowledgements of what was released come afterwards.
    {"late-acks-of-released", R"(
      form
      cast
      slow n2 -> n1 300ms
      slow n3 -> n1 300ms
      run 2s
      lose FENCE coordinator -> primary
      lose COMMIT coordinator -> primary
      lose COMMIT other -> primary
      release primary
      fence
      expect epoch 20s)"},

    // ---- the design's table
    {"case-primary-isolated", R"(
      form
      isolate primary
      expect epoch 20s)"},
    {"case-coordinator-isolated", R"(
      form
      isolate coordinator
      run 5s
      expect same 5s)"},
    {"case-standby-cut-coordinator-on-it", R"(
      nodes 2
      witnesses 1
      degrade
      form
      cast
      cut primary n2
      elect n2
      run 8s
      expect writable 10s)"},
    {"case-stopped-and-resumed", R"(
      form
      cast
      freeze primary 8s
      until epoch
      run 8s
      expect writable 1s)"},
    {"case-everybody-restarts", R"(
      form
      kill n1 300ms
      kill n2 400ms
      kill n3 500ms
      expect writable 20s)"},
    {"case-two-and-a-witness", R"(
      nodes 2
      witnesses 1
      degrade
      form
      kill n3
      run 5s
      expect writable 1s
      start n3
      until whole
      kill n2
      expect writable 20s
      start n2
      until whole
      kill n1
      expect epoch 20s)"},
    {"case-majority-lost", R"(
      form
      cast
      kill primary
      kill other
      run 10s
      force coordinator
      expect epoch 20s
      start primary
      start other
      run 10s
      expect writable 1s)"},
};

}  // namespace

const std::vector<Schedule>& Schedules() { return kSchedules; }

const Schedule* FindSchedule(const std::string& name) {
  for (const Schedule& schedule : kSchedules)
    if (name == schedule.name) return &schedule;
  return nullptr;
}

std::optional<Violation> RunSchedule(const Schedule& schedule, std::uint64_t seed,
                                     const std::string& mutant, Coverage& coverage,
                                     TraceSink trace) {
  Plan plan;
  std::istringstream lines(schedule.script);
  for (std::string line; std::getline(lines, line);) {
    const Act words = WordsOf(line);
    if (words.empty() || (plan.acts.empty() && SetUp(plan, words))) continue;
    plan.acts.push_back(words);
  }
  plan.config.seed = seed;
  plan.mutant = mutant;
  return RunPlan(plan, coverage, std::move(trace));
}

}  // namespace orchestra::sim
