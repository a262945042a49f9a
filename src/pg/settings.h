// The node-local settings (design, section 6). None holds a secret. All but enabled and node_name
// follow a reload.
#pragma once
#include <string>
#include <vector>

#include "core/register.h"

namespace orchestra::pg {

// The role that the monitors log in as, unless orchestra.conninfo names another one.
inline constexpr const char* kCoordinatorRole = "orchestra";

// In _PG_init: defines all of them, and refuses unknown names with the prefix "orchestra".
void DefineSettings();

// What is wrong with a name, of a node or of the cluster; or "".
std::string WrongName(const char* text);

bool Enabled();
// Every transaction waits for what durability quorum needs, whatever its synchronous_commit. A
// superuser may switch it off, for a session, a role or a database.
bool EnforceDurability();
std::string NodeName();  // default: host:port of conninfo, else this machine's name and port
Address RoleBind();      // role port; port 0: off
Address PeerBind();      // peer port; port 0: off
Address PeerAddress();   // how peers reach it; default: PeerBind()
std::vector<Address> Seeds();
std::string Conninfo();    // how peers reach this server; without a password
Address ServerAddress();   // host and port of it; default: first of listen_addresses or loopback
std::string Database();    // with orchestra's tables
std::string SecretFile();  // empty: the peer port stays closed

// All of the above that the workers need, to be compared after a reload.
struct Settings {
  std::string node_name, conninfo, database, secret_file;
  Address role_bind, peer_bind, peer_address, server;
  std::vector<Address> seeds;
  std::string problem;  // what is valid but will not do, for people; or empty
  friend bool operator==(const Settings&, const Settings&) = default;
};
Settings ReadSettings();

}  // namespace orchestra::pg
