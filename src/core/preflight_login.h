// What to do about a login that failed, from what the server said about it.
#pragma once
#include <string>

#include "core/preflight.h"

namespace orchestra {

// Empty: the node said no such thing.
std::string FactOf(const NodeFacts& node, std::string_view kind, std::string_view name);
inline std::string SettingOf(const NodeFacts& node, std::string_view name) {
  return FactOf(node, "setting", name);
}

std::string Endpoint(const Address& address);  // "192.0.2.1:5432", "[::1]:5432"

// Steps of CheckRow::fix.
std::string Psql(const std::string& node, const std::string& statement);
std::string QuotedLiteral(const std::string& text);     // 'it''s'
std::string QuotedIdentifier(const std::string& text);  // "it""s", or the word itself

enum class Takes { kReload, kRestart };
// Makes `value` the value of a setting, wherever it comes from now.
std::string SetSteps(const NodeFacts& node, const std::string& setting, const std::string& value,
                     Takes takes);

struct FailedLogin {
  const NodeFacts& from;
  const NodeFacts& to;
  bool replication = false;
  std::string error;    // "SQLSTATE: message"
  std::string primary;  // where roles are changed
  std::string database;
};
std::string FixOf(const FailedLogin& login);

}  // namespace orchestra
