#include "pg/settings.h"

#include <libpq-fe.h>
#include <unistd.h>

#include "net/socket.h"
#include "pg/guard.h"

namespace orchestra::pg {
namespace {

bool enabled = true;
bool enforce_durability = true;
char* node_name;
char* role_bind;
int role_port;
char* peer_bind;
int peer_port;
char* peer_address;
char* seeds;
char* conninfo;
char* database;
char* secret_file;

// ---- reading

std::optional<Address> ParseEndpoint(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon), port = text.substr(colon + 1);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (!bracketed && host.find(':') != std::string_view::npos) return std::nullopt;
  unsigned number = 0;
  for (const char c : port) {
    if (c < '0' || c > '9' || number > 65535) return std::nullopt;
    number = number * 10 + static_cast<unsigned>(c - '0');
  }
  if (number == 0 || number > 65535) return std::nullopt;
  Address address{std::string(host), static_cast<std::uint16_t>(number)};
  return net::IsIpLiteral(address.host) ? std::optional(std::move(address)) : std::nullopt;
}

// Parts of a list separated by commas, without surrounding blanks; empty parts are left out.
std::vector<std::string_view> Split(std::string_view list) {
  std::vector<std::string_view> parts;
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    std::string_view part = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    while (!part.empty() && part.front() == ' ') part.remove_prefix(1);
    while (!part.empty() && part.back() == ' ') part.remove_suffix(1);
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

// What of a connection string matters here.
struct Parsed {
  bool valid = false;
  std::string host, hostaddr, port, secret;
};

Parsed ParseConninfo(const char* text) {
  Parsed found;
  PQconninfoOption* options = PQconninfoParse(text, nullptr);
  if (options == nullptr) return found;
  found.valid = true;
  for (const PQconninfoOption* option = options; option->keyword != nullptr; ++option) {
    if (option->val == nullptr || option->val[0] == '\0') continue;
    const std::string_view keyword = option->keyword;
    if (keyword == "host") found.host = option->val;
    if (keyword == "hostaddr") found.hostaddr = option->val;
    if (keyword == "port") found.port = option->val;
    if (keyword == "password" || keyword == "sslpassword") found.secret = keyword;
  }
  PQconninfoFree(options);
  return found;
}

// ---- checking: what is wrong with a value, or ""

std::string WrongRoleBind(const char* text) {
  if (std::string_view(text) == "*" || net::IsIpLiteral(text)) return "";
  return "It must be \"*\" or an IP address.";
}

std::string WrongPeerBind(const char* text) {
  const auto address = net::ParseAddress({text, 0});
  if (!address) return "It must be an IP address.";
  if (net::IsLoopback(*address)) return "";
  return "Peer connections are not encrypted yet, so that only loopback addresses are allowed.";
}

std::string WrongEndpoints(const char* text) {
  for (const std::string_view part : Split(text))
    if (!ParseEndpoint(part))
      return "\"" + std::string(part) +
             "\" is not an IP address and a port, such as 127.0.0.1:5434 or [::1]:5434.";
  return "";
}

std::string WrongEndpoint(const char* text) {
  if (Split(text).size() > 1) return "It must be one address.";
  return WrongEndpoints(text);
}

std::string WrongConninfo(const char* text) {
  const Parsed found = ParseConninfo(text);
  // libpq's own text quotes what it does not understand, which may be a part of a password.
  if (!found.valid) return "It is not a connection string, such as host=192.0.2.1 port=5432.";
  if (!found.secret.empty())
    return "It must not contain " + found.secret +
           ", because every user may read it. Use a password file (passfile) or a certificate.";
  if (!found.port.empty() && !ParseEndpoint("127.0.0.1:" + found.port))
    return "Its port must be one number between 1 and 65535.";
  const std::string& host = found.hostaddr.empty() ? found.host : found.hostaddr;
  if (host.empty() || host[0] == '/' || net::IsIpLiteral(host)) return "";
  return "Its host must be one IP address or a socket directory: looking a name up could block for "
         "seconds.";
}

// PostgreSQL's own message would show the value.
constexpr char kHiddenConninfo[] = "invalid value for parameter \"orchestra.conninfo\"";

// A check hook. GUC_check_* may raise, so nothing with a destructor is left by then.
template <std::string (*kWrong)(const char*), const char* kMessage = nullptr>
bool Check(char** value, void** /*extra*/, GucSource /*source*/) {
  char detail[512];
  try {
    const std::string wrong = kWrong(*value);
    if (wrong.empty()) return true;
    strlcpy(detail, wrong.c_str(), sizeof detail);
  } catch (...) {
    strlcpy(detail, "Out of memory.", sizeof detail);
  }
  if (kMessage != nullptr) GUC_check_errmsg("%s", kMessage);
  GUC_check_errdetail("%s", detail);
  return false;
}

void DefineText(const char* name, const char* what, char** variable, const char* initial,
                GucContext context, GucStringCheckHook check) {
  DefineCustomStringVariable(name, what, nullptr, variable, initial, context, 0, check, nullptr,
                             nullptr);
}

void DefinePort(const char* name, const char* what, int* variable, int initial) {
  DefineCustomIntVariable(name, what, nullptr, variable, initial, 0, 65535, PGC_SIGHUP, 0, nullptr,
                          nullptr, nullptr);
}

std::string MachineName() {
  char name[HOST_NAME_MAX + 1];
  if (gethostname(name, sizeof name) != 0) return "localhost";
  name[HOST_NAME_MAX] = '\0';
  return name;
}

}  // namespace

void DefineSettings() {
  DefineCustomBoolVariable("orchestra.enabled",
                           "Off: the server runs as if orchestra were not preloaded.", nullptr,
                           &enabled, true, PGC_POSTMASTER, 0, nullptr, nullptr, nullptr);
  DefineCustomBoolVariable("orchestra.enforce_durability",
                           "Off: transactions that ask for less than the cluster's durability "
                           "get it.",
                           nullptr, &enforce_durability, true, PGC_SUSET, 0, nullptr, nullptr,
                           nullptr);
  DefineText("orchestra.node_name", "Unique name of this node; empty: host:port.", &node_name, "",
             PGC_POSTMASTER, Check<WrongName>);
  DefineText("orchestra.role_bind", "IP address of the role port; * for all.", &role_bind, "*",
             PGC_SIGHUP, Check<WrongRoleBind>);
  DefinePort("orchestra.role_port", "Port that tells load balancers this node's role; 0: off.",
             &role_port, 5400);
  DefineText("orchestra.peer_bind", "IP address of the peer port.", &peer_bind, "127.0.0.1",
             PGC_SIGHUP, Check<WrongPeerBind>);
  DefinePort("orchestra.peer_port", "Port for the other nodes of the cluster; 0: off.", &peer_port,
             5434);
  DefineText("orchestra.peer_address",
             "How other nodes reach the peer port; empty: peer_bind:peer_port.", &peer_address, "",
             PGC_SIGHUP, Check<WrongEndpoint>);
  DefineText("orchestra.seeds", "Peer addresses of other nodes, separated by commas.", &seeds, "",
             PGC_SIGHUP, Check<WrongEndpoints>);
  DefineText("orchestra.conninfo", "How other nodes connect to this server, without a password.",
             &conninfo, "", PGC_SIGHUP, Check<WrongConninfo, kHiddenConninfo>);
  DefineText("orchestra.database", "Database with orchestra's extension.", &database, "postgres",
             PGC_SIGHUP, nullptr);
  DefineText("orchestra.secret_file", "File with the cluster's secret, mode 0600.", &secret_file,
             "", PGC_SIGHUP, nullptr);
}

std::string WrongName(const char* text) {
  const std::string_view name = text;
  if (name.size() > kMaxNameBytes) return "A name has at most 63 bytes.";
  if (name == "*") return "\"*\" means every standby in synchronous_standby_names.";
  for (const char c : name)
    if (c < 0x20 || c > 0x7e) return "A name consists of printable ASCII characters.";
  return "";
}

bool Enabled() { return enabled; }
bool EnforceDurability() { return enforce_durability; }

Address ServerAddress() {
  const Parsed found = ParseConninfo(conninfo);
  Address address{found.hostaddr.empty() ? found.host : found.hostaddr,
                  static_cast<std::uint16_t>(PostPortNumber)};
  if (address.host.empty()) address.host = "127.0.0.1";
  if (!found.port.empty()) address.port = static_cast<std::uint16_t>(std::stoi(found.port));
  return address;
}

std::string NodeName() {
  if (node_name[0] != '\0') return node_name;
  const Parsed found = ParseConninfo(conninfo);
  Address address = ServerAddress();
  if (found.host.empty() && found.hostaddr.empty()) address.host = MachineName();
  return net::ToText(address).substr(0, kMaxNameBytes);
}

Address RoleBind() {
  const bool all = std::string_view(role_bind) == "*";
  return {all ? "0.0.0.0" : role_bind, static_cast<std::uint16_t>(role_port)};
}

Address PeerBind() { return {peer_bind, static_cast<std::uint16_t>(peer_port)}; }

Address PeerAddress() { return ParseEndpoint(peer_address).value_or(PeerBind()); }

std::vector<Address> Seeds() {
  std::vector<Address> addresses;
  for (const std::string_view part : Split(seeds))
    if (auto address = ParseEndpoint(part)) addresses.push_back(*std::move(address));
  return addresses;
}

std::string Conninfo() { return conninfo; }
std::string Database() { return database; }
std::string SecretFile() { return secret_file; }

Settings ReadSettings() {
  Settings settings;
  settings.node_name = NodeName();
  settings.conninfo = Conninfo();
  settings.database = Database();
  settings.secret_file = SecretFile();
  settings.role_bind = RoleBind();
  settings.peer_bind = PeerBind();
  settings.peer_address = PeerAddress();
  settings.server = ServerAddress();
  settings.seeds = Seeds();
  if (settings.secret_file.empty()) return settings;
  const Parsed found = ParseConninfo(conninfo);
  if (found.host.empty() && found.hostaddr.empty())
    settings.problem =
        "orchestra.conninfo names no host: other nodes are told " + net::ToText(settings.server);
  return settings;
}

}  // namespace orchestra::pg
