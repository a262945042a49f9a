// Golden files: test/unit/golden/NAME holds what a table must look like, for people to review.
// After an intended change: ORCHESTRA_WRITE_GOLDEN=1 ctest, and read the difference.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace orchestra {

inline void ExpectGolden(const std::string& name, const std::string& actual) {
  const std::string path = std::string(ORCHESTRA_SOURCE_DIR) + "/test/unit/golden/" + name;
  if (std::getenv("ORCHESTRA_WRITE_GOLDEN") != nullptr) std::ofstream(path) << actual;
  std::ifstream file(path);
  ASSERT_TRUE(file) << "no golden file " << path;
  std::istringstream lines(actual);
  std::string expected_line;
  std::string actual_line;
  for (int number = 1;; number++) {
    const bool more = static_cast<bool>(std::getline(file, expected_line));
    const bool got = static_cast<bool>(std::getline(lines, actual_line));
    ASSERT_EQ(more, got) << name << " and the result differ in length at line " << number;
    if (!more) return;
    ASSERT_EQ(expected_line, actual_line) << name << " line " << number;
  }
}

}  // namespace orchestra
