// Who leads, who holds the lease, and who is fenced: rules 1 to 4.
#include "directed.h"

namespace orchestra::sim {

// NOLINTNEXTLINE(readability-function-size): a table
std::vector<Schedule> SchedulesOfLease() {
  return {
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
      // The lease gets shorter, and the voters restart while a longer one that they gave is in
      // force.
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
      // The lease gets longer. A voter that has accepted that but not learned it promises as long
      // as
      // it says.
      {"longer-lease", R"(
      ttl 500
      form
      cast
      lose LEASE_REQ primary -> coordinator
      run 1s
      lose COMMIT coordinator -> other
      lose COMMIT primary -> other
      ask coordinator ttl 2000
      run 350ms
      isolate primary
      fence
      run 6s
      heal
      expect writable 20s)"},
      // FENCE reaches no majority of voters: a node without a vote is not disturbed.
      {"fence-reaches-nobody", R"(
      members 1
      form
      join n4
      run 5s
      cast
      cut coordinator primary
      cut coordinator other
      fence
      run 100ms
      kill coordinator
      run 6s
      expect same 5s)"},
  };
}

}  // namespace orchestra::sim
