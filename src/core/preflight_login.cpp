#include "core/preflight_login.h"

#include <algorithm>
#include <string_view>

namespace orchestra {
namespace {

bool Has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// What stands between the first `before` and the next `after`; empty when there is no such thing.
std::string Between(const std::string& text, std::string_view before, std::string_view after) {
  const std::size_t begin = text.find(before);
  if (begin == std::string::npos) return "";
  const std::size_t start = begin + before.size(), end = text.find(after, start);
  return end == std::string::npos ? "" : text.substr(start, end - start);
}

std::string UserOf(const FailedLogin& login) {
  return FactOf(login.from, "node", login.replication ? "replication_user" : "user");
}

// A word of pg_hba.conf: special characters need quotes, and keywords lose their meaning by them.
std::string HbaWord(const std::string& word) {
  const bool plain = std::all_of(word.begin(), word.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
  const bool keyword = word == "all" || word == "sameuser" || word == "samerole" ||
                       word == "samegroup" || word == "replication";
  return plain && !keyword && !word.empty() ? word : '"' + word + '"';
}

// The server's own words tell which address, user and encryption it saw.
std::string HbaLine(const FailedLogin& login) {
  std::string host = Between(login.error, "host \"", "\"");
  if (host.empty() && login.from.server) host = login.from.server->host;
  std::string user = Between(login.error, "user \"", "\"");
  if (user.empty()) user = UserOf(login);
  const std::string database = login.replication ? "replication" : HbaWord(login.database);
  const bool md5 = SettingOf(login.to, "password_encryption") == "md5";
  const std::string who = " " + database + " " + HbaWord(user) + " ";
  const std::string method = md5 ? "md5" : "scram-sha-256";
  if (host.empty() || host[0] == '[' || host[0] == '/') return "local" + who + method;
  const char* type = Has(login.error, "SSL encryption") ? "hostssl" : "host";
  const char* mask = Has(host, ":") ? "/128 " : "/32 ";
  return type + who + host + mask + method;
}

std::string FixHba(const FailedLogin& login) {
  std::string file = SettingOf(login.to, "hba_file");
  if (file.empty()) file = "pg_hba.conf";
  const std::string where =
      Has(login.error, "rejects") ? ", before the line that rejects it: " : ": ";
  return file + " on " + login.to.name + where + HbaLine(login) + "\n" +
         Psql(login.to.name, "SELECT pg_reload_conf();");
}

std::string FixPassword(const FailedLogin& login) {
  const std::string file =
      FactOf(login.from, "node", login.replication ? "replication_passfile" : "passfile");
  const Address to = login.to.server.value_or(Address{});
  return (file.empty() ? "~/.pgpass" : file) + " on " + login.from.name + ": " + to.host + ":" +
         std::to_string(to.port) + ":*:" + UserOf(login) + ":THE PASSWORD";
}

std::string FixReachability(const FailedLogin& login) {
  const Address to = login.to.server.value_or(Address{});
  std::string steps = "network of " + login.to.name + ": let " + login.from.name + " reach " +
                      Endpoint(to) + " (server started, firewall)";
  const std::string listens = SettingOf(login.to, "listen_addresses");
  if (listens == "*" || listens == "0.0.0.0" || to.host.empty() || to.host[0] == '/') return steps;
  return steps + "\n" + SetSteps(login.to, "listen_addresses", "*", Takes::kRestart);
}

}  // namespace

std::string FactOf(const NodeFacts& node, std::string_view kind, std::string_view name) {
  const auto found = std::find_if(node.facts.begin(), node.facts.end(), [&](const Fact& fact) {
    return fact.kind == kind && fact.name == name;
  });
  return found == node.facts.end() ? "" : found->value;
}

std::string Endpoint(const Address& address) {
  const bool v6 = Has(address.host, ":");
  return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

std::string Psql(const std::string& node, const std::string& statement) {
  return "psql on " + node + ": " + statement;
}

std::string QuotedLiteral(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') quoted += c;
    quoted += c;
  }
  return quoted + "'";
}

std::string QuotedIdentifier(const std::string& text) {
  const bool plain = !text.empty() && !(text[0] >= '0' && text[0] <= '9') &&
                     std::all_of(text.begin(), text.end(), [](char c) {
                       return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
                     });
  if (plain) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += c;
    quoted += c;
  }
  return quoted + "\"";
}

std::string SetSteps(const NodeFacts& node, const std::string& setting, const std::string& value,
                     Takes takes) {
  std::string restart = "server of " + node.name + ": restart";
  const std::string loaded =
      takes == Takes::kRestart ? restart : Psql(node.name, "SELECT pg_reload_conf();");
  const std::string source = FactOf(node, "source", setting);
  if (source == "command line")
    return "command line of " + node.name + ": take " + setting + " out\n" +
           Psql(node.name, "ALTER SYSTEM SET " + setting + " = " + QuotedLiteral(value) + ";") +
           "\n" + restart;
  if (!FactOf(node, "pending", setting).empty()) return restart;
  const std::string later = FactOf(node, "later file", setting);
  return (later.empty() ? "" : later + " on " + node.name + ": take this line out\n") +
         Psql(node.name, "ALTER SYSTEM SET " + setting + " = " + QuotedLiteral(value) + ";") +
         "\n" + loaded;
}

std::string FixOf(const FailedLogin& login) {
  const std::string& error = login.error;
  const std::string role = QuotedIdentifier(UserOf(login));
  std::string grant =
      Psql(login.primary, "SELECT orchestra_grant(" + QuotedLiteral(UserOf(login)) + ");");
  const auto on_primary = [&](const std::string& statement) {
    return Psql(login.primary, statement);
  };
  if (Has(error, "pg_hba.conf")) return FixHba(login);
  if (Has(error, "does not exist") && Has(error, "role \""))
    return on_primary("CREATE ROLE " + role + " LOGIN" + (login.replication ? " REPLICATION" : "") +
                      " PASSWORD '...';") +
           (login.replication ? "" : "\n" + grant);
  if (Has(error, "does not exist") && Has(error, "extension \""))
    return on_primary("CREATE EXTENSION orchestra;") + "\n" + grant;
  if (error.starts_with("42883")) return on_primary("ALTER EXTENSION orchestra UPDATE;");
  if (Has(error, "does not exist") && Has(error, "database \""))
    return "every node: name the database with the extension in orchestra.database, and reload";
  if (Has(error, "not permitted to log in")) return on_primary("ALTER ROLE " + role + " LOGIN;");
  if (Has(error, "replication role") || Has(error, "start WAL sender"))
    return on_primary("ALTER ROLE " + role + " REPLICATION;");
  if (Has(error, "max_wal_senders"))
    return SetSteps(login.to, "max_wal_senders", "10", Takes::kRestart);
  if (error.starts_with("42501") || Has(error, "permission denied")) return grant;
  if (error.starts_with("28P01") || Has(error, "password")) return FixPassword(login);
  // An authentication error that is none of the above, in words that are not English.
  if (error.starts_with("28000")) return FixHba(login);
  return FixReachability(login);
}

}  // namespace orchestra
