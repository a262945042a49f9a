// Scripted runs in a quiet world, for golden tests. A script is a text file: lines that begin with
// "> " are commands, lines that begin with "#" are comments, and everything else is what the nodes
// did, in order and without times. Running a script gives the same file with that part new.
//
//   > create                 orchestra_create_cluster on n1
//   > form                   the same, until everybody streams and a standby leads
//   > run 500ms | run 2s
//   > until CONDITION        created, coordinator, writable, streaming, or "epoch": one newer than
//                            at the last command, active, under which commits are acknowledged
//   > kill n1 | start n1 | restart worker n1
//   > cut n1 n2 | cut n1 -> n2 | isolate n1 | deafen n1 | heal
//   > kill coordinator, deafen coordinator and so on
//   > fence                  the coordinator begins a FENCE without cause
//   > messages CREATE FENCE  also tell when these arrive
//   > show                   one line a node
#pragma once
#include <string>

namespace orchestra::sim {

std::string RunScript(const std::string& text);

}  // namespace orchestra::sim
