// Connection strings from one node to another.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/register.h"

namespace orchestra::net {

using ConninfoOptions = std::vector<std::pair<std::string, std::string>>;

// What `conninfo` says, value by value; nothing when it cannot be parsed.
std::optional<ConninfoOptions> ParseConninfo(const std::string& conninfo);

// `value` as a connection string takes it, whatever it holds.
std::string QuotedValue(const std::string& value);

struct ConninfoResult {
  std::string conninfo;
  std::string error;  // not empty: why there is none; never any part of a value
};

// Every node is reached in the same way but for its address: `own` (how peers reach this node)
// without its host, hostaddr, port and target_session_attrs, with `to` instead. `defaults` are used
// where `own` says nothing, `forced` in any case; "options" of `forced` is added to that of `own`.
ConninfoResult PeerConninfo(const std::string& own, const Address& to,
                            const ConninfoOptions& defaults, const ConninfoOptions& forced);

// How the login that looks at other nodes connects: as PeerConninfo, as `role` unless `own` names
// another one, with `sslmode=require` unless `own` says otherwise or `to` is this machine.
ConninfoResult RoleConninfo(const std::string& own, const Address& to, const std::string& role,
                            const std::string& database, const std::string& application_name);

}  // namespace orchestra::net
