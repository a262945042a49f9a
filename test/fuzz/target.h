// What a fuzz target is: what it does with one input, and the inputs to begin with. target.cpp
// makes a program of it: `NAME_fuzz --seeds DIR` writes the seeds, all else is libFuzzer's.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace orchestra::fuzz {

void Run(std::string_view input);
std::vector<std::string> Seeds();

// Ends the program as a crash does, so that the input is kept.
inline void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

}  // namespace orchestra::fuzz
