// The language of golden tests, directed schedules and plans. A script is a text file: lines that
// begin with "> " are commands, lines that begin with "#" are comments, and everything else is what
// the nodes did, in order and without times. Running a script gives the same file with that part
// new.
//
// Settings, before everything else; without them the world is quiet, and only the core's own
// seeds are random:
//   > seed 17 | ttl 500 | nodes 3 (voters with data) | witnesses 0 (voters without) | members 0
//   (data nodes without a vote) | spares 0 (machines with nothing on them, for clones)
//   > async | degrade | manual | auto-voters: as in the register
//   > random                 delays, load and disks vary; drifting: clocks do; frames: encoded
//   > mutant any_target      one rule of the protocol is switched off (mutants.cpp)
// Acts:
//   > create                 orchestra_create_cluster on n1
//   > form                   the same, until everybody streams and a standby leads
//   > join n4                a clone without a vote introduces itself
//   > run 500ms | run 2s
//   > until CONDITION [30s]  created, coordinator, writable, streaming: every standby; steady: the
//                            last two; whole: and the register is as at the creation, so that one
//                            more node may fail; led-aside: not by the primary; decided: no
//                            failover is under way; since the last act that is no wait (or since
//                            "cast"): chosen: a newer epoch was committed; epoch: it acknowledges
//                            commits; same: it does, and is no newer one; kept: and the lease
//                            never lapsed
//                            and of one node: votes=n1, member=n1, standby=n1,
//                            expelled=n1, suspect=n1, primary=n1
//   > try CONDITION [30s]    waits, and goes on in any case
//   > expect CONDITION [30s] waits, and L1 (L2: coordinator) is violated if it does not hold then
//   > expect I3              what was violated before is this: for mutants
//   > end unless CONDITION
//   > kill n1 [800ms] | start n1 | restart worker n1 | lose-vote n1 800ms
//   > freeze n1 800ms | suspend n1 800ms
//   > move n1 (its disk is put into another machine)
//   > fill n1 2s (its disk) | roll-back n1 5s [wal] | clone n1 n4 [snapshot]
//   > cut n1 n2 | cut n1 -> n2 | slow n1 -> n2 1100ms | isolate n1 | deafen n1 | mute n1 | heal
//   > lose COMMIT n1 -> n2 [1]   messages of that kind (or WAL), the next ones or all
//   > delay WAL n1 -> n2 2s      such messages take so much longer from now on
//   > repeat RELEASE n1 -> n2 2s they arrive once more, so much later
//   > clock n1 -95 [boottime]    its clocks, or one of them, run by 95 permille too slowly
//   > ask n2 voters n1 n2 n3 | ask n2 voters 3 n2 n4 n1 (so many, the primary first)
//   > ask n2 ttl 500 | drift 110 | mode manual | paused on | auto-voters on | durability async |
//     no-sync degrade | count n3 | uncount n3 | remove n4 | failover [n2]
//   > release n1 (its lease) | force n1 (the majority is lost) | confirm n1 (a suspect) |
//     renew n1 [voteless] (a new copy; unless it has a vote or may be counted)
//   > restore                an operator makes everything as it was at the creation
//   > fence                  the coordinator begins a FENCE without cause
//   > elect n1               its election timer ends now
//   > noise lose=20 dup=60   permille of messages; delay; disk: writes that fail; scan: ends of WAL
//   that
//                            are not exact; crash: per 10,000
//                            writes; rejoin: operators; epochs: adversaries; torn, fsync, held,
//                            pause, reload: see network.h; fastest, slowest, longest: ms
//   > calm                   no noise, no cuts, everybody up and awake
//   > messages CREATE FENCE  also tell when these arrive, or other details with such a word
//   > show                   one line a node
// A node is n1, primary, coordinator, other (the first that is neither), named (primary by the
// newest register), or dead (for the longest time). After "cast" the first three stay who they
// are, until "cast off".
#pragma once
#include <optional>
#include <string>

#include "invariants.h"

namespace orchestra::sim {

struct Told {
  std::string text;
  std::optional<Violation> violation;
  // Every command was understood and happened, and what was violated, if anything, was expected.
  bool passed = false;
};

Told RunScript(const std::string& text);

}  // namespace orchestra::sim
