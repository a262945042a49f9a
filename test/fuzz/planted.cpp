// A target with a fault, so that the check proves that it would notice one: see
// tools/check_fuzz.sh. It reads behind a word of the heap once a word begins with "or".
#include <algorithm>
#include <memory>

#include "fuzz/target.h"

namespace orchestra::fuzz {

void Run(std::string_view input) {
  const auto word = std::make_unique<char[]>(input.size());
  std::copy(input.begin(), input.end(), word.get());
  const bool begins = input.size() >= 2 && word[0] == 'o' && word[1] == 'r';
  if (begins && word[input.size()] == 'c') std::puts("orc");
}

std::vector<std::string> Seeds() { return {"o"}; }

}  // namespace orchestra::fuzz
