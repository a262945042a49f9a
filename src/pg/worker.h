// What orchestra's background workers share. A worker's main function reads
//
//   extern "C" void orchestra_x_main(Datum) {
//     WorkerBoundary("orchestra x", [] {
//       StartWorker(&shared->workers.x_pid, AtExit::kNothing);
//       ... WaitSet wait; ...
//       while (!StopRequested()) {
//         if (TakeReload()) ...;
//         ... wait.Wait(timeout);
//       }
//     });
//     proc_exit(1);  // 0 would mean: never again
//   }
#pragma once
#include <string>

#include "pg/clock.h"
#include "pg/pg.h"

namespace orchestra::pg {

enum class AtExit { kNothing, kCloseGate };

// Signal handlers, then signals; publishes this pid in `pid` until the process exits, on whichever
// way it does (SIGKILL and crashes excepted: the server starts anew after these). kCloseGate: the
// gate closes at that moment too.
void StartWorker(pg_atomic_uint32* pid, AtExit at_exit);

// SIGTERM came: the server stops, or somebody ended this worker. Leave the main loop.
bool StopRequested();

// SIGHUP came: the configuration was read anew just now. True once per reload. Throws nothing; a
// file that cannot be read is logged.
bool TakeReload();

// Waits for this process's latch, the end of the postmaster (which ends this process) and one
// descriptor, best an epoll set. Persistent: nothing is set up anew at each wait.
class WaitSet {
 public:
  WaitSet() = default;
  ~WaitSet();
  WaitSet(const WaitSet&) = delete;
  WaitSet& operator=(const WaitSet&) = delete;

  // From now on waits for `fd` to be readable; -1: for none. Call it whenever the descriptor may
  // be another one, even under the same number (a port that was opened again); not each turn.
  void Watch(int fd);
  // Until something happens or `timeout` has passed (rounded up to ms). Resets the latch: look at
  // everything afterwards.
  void Wait(Micros timeout);

 private:
  void Release();
  WaitEventSet* set_ = nullptr;
  int fd_ = -1;
};

// Which of orchestra's workers do not run, and what to do about it; else why the role port is
// closed; "" when all is well.
std::string WorkerProblems();

}  // namespace orchestra::pg
