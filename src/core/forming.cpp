#include "core/forming.h"

#include <algorithm>
#include <set>

namespace orchestra {
namespace {

std::string Quoted(const std::string& name) { return "\"" + name + "\""; }

std::string Listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + Quoted(name);
  return text;
}

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// A name becomes an application_name and a part of slot names and of log lines.
bool IsNodeName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxNameBytes &&
         std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return c > ' ' && c < 127; }) &&
         name.find_first_of("\"'\\,") == std::string::npos;
}

// Empty: nothing is missing of this node.
std::string WhatIsMissing(const std::string& name, const Board& board,
                          const std::vector<std::string>& streaming, Micros now) {
  const auto node =
      std::find_if(board.nodes.begin(), board.nodes.end(),
                   [&](const BoardNode& each) { return !each.self && each.member.name == name; });
  std::string missing;
  if (node == board.nodes.end() || node->seen_at == Micros{} ||
      now - node->seen_at > kHelloFreshFor) {
    missing = "it has not said hello to this node's peer port";
  }
  if (!Contains(streaming, name)) {
    missing += missing.empty() ? "" : ", and ";
    missing += "no standby streams from here with application_name " + Quoted(name);
  }
  if (!missing.empty() && node != board.nodes.end() && node->status &&
      !node->status->problem.empty()) {
    missing += " (it says: " + node->status->problem + ")";
  }
  return missing;
}

}  // namespace

std::optional<Complaint> CheckVoterNames(const std::vector<std::string>& names,
                                         const std::string& own) {
  for (const std::string& name : names) {
    if (!IsNodeName(name)) {
      return Complaint{Quoted(name) + " is not a valid node name", "",
                       "Names are 1 to 63 printable ASCII characters without blanks, quotes, "
                       "backslashes and commas."};
    }
  }
  if (std::set<std::string>(names.begin(), names.end()).size() != names.size()) {
    return Complaint{"a node is named twice", Listed(names) + ".", "Name each node once."};
  }
  if (names.size() % 2 == 0 || names.size() > kMaxVoters) {
    return Complaint{"a cluster cannot have " + std::to_string(names.size()) + " voters", "",
                     "Voters are odd in number: name 1, 3, 5 or 7 nodes. Other nodes join as "
                     "members without a vote."};
  }
  if (!Contains(names, own)) {
    return Complaint{"this node is not among the nodes", "This node is called " + Quoted(own) + ".",
                     "Name it, or set orchestra.node_name."};
  }
  return std::nullopt;
}

std::optional<Complaint> FindMissing(const std::vector<std::string>& names, const Board& board,
                                     const std::vector<std::string>& streaming, Micros now) {
  std::vector<std::string> missing;
  std::string detail;
  for (const std::string& name : names) {
    if (name == board.node_name) continue;
    const std::string what = WhatIsMissing(name, board, streaming, now);
    if (what.empty()) continue;
    missing.push_back(name);
    detail += Quoted(name) + ": " + what + ".\n";
  }
  if (missing.empty()) return std::nullopt;
  detail += "Streaming from here: " + (streaming.empty() ? "nobody" : Listed(streaming)) + ".";
  return Complaint{
      missing.size() == 1 ? "node " + Listed(missing) + " is missing"
                          : "nodes " + Listed(missing) + " are missing",
      detail,
      "Nothing was changed. On each of them check orchestra.node_name, orchestra.seeds, "
      "orchestra.secret_file and application_name in primary_conninfo."};
}

}  // namespace orchestra
