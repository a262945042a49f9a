// What an operator sees: rules 8, 9 and 11, and the table of the design.
#include "directed.h"

namespace orchestra::sim {

// NOLINTNEXTLINE(readability-function-size): a table
std::vector<Schedule> SchedulesOfCases() {
  return {
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
      restart worker n4
      run 3s
      restart worker n4
      run 3s
      restart worker n4
      run 10s
      cast off
      isolate coordinator
      roll-back n4 30s
      run 4s
      expect coordinator 12s
      expect writable 30s)"},

      // A voter's disk goes to another machine: its peers vouch for it, and then its vote is
      // needed.
      {"moved-and-confirmed", R"(
      form
      cast
      move other
      expect suspect=other 1s
      expect votes=other 20s
      kill coordinator
      run 1s
      expect writable 20s)"},
      // All of them at once: nobody can vouch, but an operator.
      {"all-moved", R"(
      form
      cast
      kill n1
      kill n2
      kill n3
      move n1
      move n2
      move n3
      run 15s
      expect suspect=n1 1ms
      expect suspect=n2 1ms
      expect suspect=n3 1ms
      confirm n1
      confirm n2
      confirm n3
      expect writable 20s)"},
      // A snapshot of a voter on another machine has no vote beside it.
      {"snapshot-beside", R"(
      spares 1
      form
      clone n2 n4 snapshot
      run 8s
      expect suspect=n4 1ms
      kill n4
      expect writable 20s)"},

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
      // RELEASE arrives twice, the second time when the lease is in force again.
      {"release-repeated", R"(
      form
      cast
      repeat RELEASE primary -> coordinator 5s
      repeat RELEASE primary -> other 5s
      release primary
      run 5100ms
      isolate primary
      fence
      expect epoch 20s)"},
      // Nobody is made primary by force while a majority lives.
      {"force-refused", R"(
      form
      cast
      force other
      force coordinator
      run 3s
      expect same 1ms)"},

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
      // ---- mode observe
      {"case-observe", R"(
      form
      ask n1 mode observe
      run 3s
      kill primary
      run 10s
      start primary
      run 5s
      ask n2 mode automatic
      expect same 10s
      until whole
      kill primary
      expect epoch 20s)"},
      // The primary does not hear that it is over: nobody else may be promoted, since it lets
      // everything in.
      {"observe-ends-unheard", R"(
      async
      form
      ask n1 mode observe
      run 3s
      cast
      isolate primary
      ask other mode automatic
      run 15s
      heal
      expect writable 20s)"},
      {"case-dropped", R"(
      form
      ask n2 mode observe
      run 3s
      ask n3 drop
      expect plain=n1 10s
      expect plain=n2 10s
      expect plain=n3 10s)"},
      // A former primary must not be the second one.
      {"case-dropped-with-a-former-primary", R"(
      form
      cast
      kill primary
      until epoch
      start primary
      run 3s
      ask other mode observe
      run 3s
      ask other drop
      run 15s
      expect member=primary 1s)"},
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
}

}  // namespace orchestra::sim
