// Where commits are, who votes and who a node is: rules 5 to 9, and forced recovery.
#include "directed.h"

namespace orchestra::sim {

// NOLINTNEXTLINE(readability-function-size): a table
std::vector<Schedule> SchedulesOfData() {
  return {
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

      // Ends of WAL that are not exact lie before the true one.
      {"inexact-ends", R"(
      form
      noise scan=1000
      kill primary
      run 6s
      noise scan=0
      expect epoch 20s)"},
      // What only the first standby has counts, though it dies as primary before its epoch is
      // active
      // and had counted on the other one alone.
      {"basis-of-inactive", R"(
      nodes 3
      witnesses 2
      degrade
      form
      cast
      lose WAL primary -> n3
      run 600ms
      kill primary
      until chosen
      kill named
      run 8s
      start primary
      expect epoch 30s)"},
      // A primary that was never active, on a timeline of its own, counts up to where that begins.
      {"valid-in-inactive", R"(
      nodes 3
      witnesses 2
      form
      cast
      lose WAL n2 -> n3
      kill n1
      until chosen
      run 80ms
      kill n2
      run 5s
      start n2
      lose WAL n2 -> n3 1
      expect epoch 30s)"},

      // Who shall be primary lacks the newest WAL, and gets it from who has it: the primary itself,
      // or
      // the other standby.
      {"fed-by-the-primary", R"(
      form
      cast
      delay WAL primary -> other 400ms
      run 1s
      ask coordinator failover other
      expect primary=other 20s)"},
      {"fed-by-another-one", R"(
      form
      cast
      lose WAL primary -> other
      run 600ms
      ask coordinator failover other
      expect primary=other 20s)"},
      {"fed-by-a-standby", R"(
      nodes 5
      form
      cast
      lose WAL primary -> other
      run 600ms
      ask coordinator failover other
      run 5ms
      kill primary
      expect primary=other 20s)"},
      // Two copies: the death of a standby, and then of the primary with another one.
      {"two-copies", R"(
      nodes 5
      copies 2
      form
      cast
      kill other
      run 6s
      expect same 5s
      kill primary
      expect epoch 20s)"},
      // ---- rule 6
      // The worker of the primary restarts while its REQUEST is still on the way: S shrinks behind
      // the back of the new one.
      {"late-request", R"(
      form
      cast
      delay REQUEST primary -> coordinator 300ms
      kill other
      run 2250ms
      start other
      restart worker primary
      run 5ms
      delay REQUEST primary -> coordinator 0ms
      run 4s
      expect writable 5s)"},
      // Commits that only the standby has which leaves S.
      {"barrier", R"(
      form
      cast
      delay WAL primary -> coordinator 1500ms
      run 4s
      delay WAL primary -> coordinator 2800ms
      run 4s
      kill other
      run 8s
      expect writable 5s)"},
      // The primary, deaf, would shrink S to nothing before its lease ends.
      {"deaf-primary-shrinks", R"(
      degrade
      form
      cast
      ask coordinator ttl 500
      run 30ms
      deafen primary
      expect epoch 20s)"},
      // The register moves on while a setting is on its way that it does not count on.
      {"setting-proven-anew", R"(
      drifting
      create
      expect created 20s
      isolate n1
      ask n3 uncount n2
      run 36ms
      heal
      run 320ms
      kill n1 1ms
      run 405ms
      heal
      expect writable 20s)"},

      // ---- rule 7
      // Two voters more, and then the primary and an old voter that gave it a lease are cut off
      // from
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
      // The primary does not hear of two voters more and goes on with the old ones.
      {"voters-unknown", R"(
      members 2
      async
      form
      join n4
      join n5
      run 5s
      cast
      lose COMMIT coordinator -> primary
      lose COMMIT other -> primary
      lose COMMIT n4 -> primary
      lose COMMIT n5 -> primary
      lose ACCEPT coordinator -> primary
      lose REPLY coordinator -> primary
      ask coordinator voters n1 n2 n3 n4 n5
      run 3500ms
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
      {"member-removed", R"(
      members 1
      form
      join n4
      expect member=n4 10s
      ask coordinator remove n4
      expect expelled=n4 10s
      run 3s
      expect kept 1s)"},
      // A member that was made anew takes its place again.
      {"member-made-anew", R"(
      members 1
      form
      join n4
      expect member=n4 10s
      kill n4
      run 12s
      renew n4
      run 100ms
      expect member=n4 30s
      expect kept 1s)"},
  };
}

}  // namespace orchestra::sim
