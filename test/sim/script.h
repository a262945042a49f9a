// The language of golden tests, directed schedules and plans. A script is a text file: lines that
// begin with "> " are commands, lines that begin with "#" are comments, and everything else is what
// the nodes did, in order and without times. Running a script gives the same file with that part
// new.
//
// Settings, before everything else; without them the world is quiet, and only the core's own
// seeds are random:
//   > seed 17 | nodes 3 | members 1 (data nodes that have no vote) | ttl 500
//   > random                 delays, load and disks vary; drifting: clocks do; frames: encoded
//   > mutant any_target      one rule of the protocol is switched off (mutants.cpp)
// Acts:
//   > create                 orchestra_create_cluster on n1
//   > form                   the same, until everybody streams and a standby leads
//   > join n4                a clone without a vote introduces itself
//   > run 500ms | run 2s
//   > until CONDITION [30s]  created, coordinator, writable, streaming, steady: the last two, or
//                            led-aside: not by the primary; decided: no failover is under way;
//                            since the last act that is no wait (or since "cast"): "chosen": a
//                            newer epoch was committed, "epoch": it acknowledges commits
//   > try CONDITION [30s]    waits, and goes on in any case
//   > expect CONDITION [30s] waits, and L1 (L2: coordinator) is violated if it does not hold then
//   > expect I3              what was violated before is this: for mutants
//   > end unless CONDITION
//   > kill n1 [800ms] | start n1 | restart worker n1 | lose-vote n1 800ms
//   > freeze n1 800ms | suspend n1 800ms
//   > cut n1 n2 | cut n1 -> n2 | slow n1 -> n2 1100ms | isolate n1 | deafen n1 | mute n1 | heal
//   > clock n1 -95           its clocks run by 95 permille too slowly
//   > fence                  the coordinator begins a FENCE without cause
//   > elect n1               its election timer ends now
//   > noise lose=20 dup=60   permille of messages; delay; disk: writes that fail; crash: per 10,000
//                            writes; rejoin: operators; epochs: adversaries; fastest, slowest,
//                            longest: milliseconds
//   > calm                   no noise, no cuts, everybody up and awake
//   > messages CREATE FENCE  also tell when these arrive
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
