// Whether servers are fit to be the nodes of one cluster: facts in, rows of orchestra_check() out.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/register.h"
#include "core/types.h"

namespace orchestra {

// The first minor release of this server's major version in which commits wait for synchronous
// standbys right after a start, too, as server_version_num has it; 0: it is not older.
constexpr int NeededRelease(int server_version_num) {
  for (const int release : {140018, 150013, 160009, 170005})
    if (server_version_num / 10000 == release / 10000 && server_version_num < release)
      return release;
  return 0;
}

// One row of orchestra_facts(), by which a node tells about itself:
//
//   kind         name               value
//   node         name, version, system_identifier, in_recovery, workers (of orchestra that run),
//                workers_used, worker_problem, user, passfile, replication_user,
//                replication_passfile, conninfo (primary_conninfo without host, port,
//                application_name and password), conninfo_password (t: it has one), namesake
//                (address of another node with its name), secret_problem (why it is not that of
//                the asking node)
//   setting      a setting          as pg_settings.setting says
//   source       a setting          "command line", or file:line, or nothing
//   pending      a setting          what waits for a restart
//   later file   a managed setting  file:line that is applied after postgresql.auto.conf
//   file error   file:line          why it is not applied
//   override     DATABASE d, ...    synchronous_commit there
//   streams      application_name   state of a standby of it
//   disk         directory          "free size" in bytes
//   login        a peer             "ok", or "SQLSTATE: message", of a login with the monitors'
//   role replication  a peer             likewise, with what primary_conninfo says
struct Fact {
  std::string kind, name, value;
  friend bool operator==(const Fact&, const Fact&) = default;
};

struct NodeFacts {
  std::string name;
  std::optional<Address> server;       // how other nodes reach it; empty: it was never heard
  Address peer;                        // likewise its peer port
  bool heard = false;                  // lately, so that it has the secret
  std::optional<std::string> failure;  // why it told nothing: "SQLSTATE: message"
  std::vector<Fact> facts;
  Micros clock_ahead{};        // its wall clock before that of the asking node
  Micros clock_uncertainty{};  // half of the round trip
};

enum class Severity : std::uint8_t {
  kOk,
  kInfo,     // could be better
  kWarning,  // works, with a risk that the row names
  kError,    // no cluster is formed
};
const char* NameOf(Severity severity);

// `fix` has one step a line, as "where: what": "psql on n2: ALTER SYSTEM SET ...;",
// "/etc/.../pg_hba.conf on n2: a line to add", "server of n2: restart".
struct CheckRow {
  Severity severity = Severity::kOk;
  std::string node, peer;  // empty: of none
  std::string item, found;
  std::string fix;  // empty: nothing to do
  friend bool operator==(const CheckRow&, const CheckRow&) = default;
};

struct PreflightInput {
  std::string self;      // the asking node, by whose versions and clock the others are judged
  std::string database;  // orchestra.database there
  std::vector<NodeFacts> nodes;  // in the order of the rows
};

// What was looked at, in the order of the nodes; what is well, too.
std::vector<CheckRow> Preflight(const PreflightInput& input);

}  // namespace orchestra
