// What orchestra_create_cluster() checks before anything is written: pure.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/board.h"

namespace orchestra {

struct Complaint {
  std::string message;
  std::string detail;
  std::string hint;
};

inline constexpr std::size_t kMaxVoters = 7;
// A node repeats its hello once a second or more often.
inline constexpr Micros kHelloFreshFor = std::chrono::seconds(5);

// The list of voters itself: odd, 1 to 7, valid names, no duplicates, `own` among them.
std::optional<Complaint> CheckVoterNames(const std::vector<std::string>& names,
                                         const std::string& own);

// Which of the nodes did not say hello or do not stream from here. `streaming` are the
// application_names of the standbys that stream from this server now.
std::optional<Complaint> FindMissing(const std::vector<std::string>& names, const Board& board,
                                     const std::vector<std::string>& streaming, Micros now);

}  // namespace orchestra
