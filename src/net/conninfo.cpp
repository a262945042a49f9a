#include "net/conninfo.h"

#include <libpq-fe.h>

#include <map>
#include <memory>
#include <set>

#include "net/socket.h"

namespace orchestra::net {
namespace {

const std::set<std::string> kOfOneNode = {"host", "hostaddr", "port", "target_session_attrs"};

}  // namespace

std::string QuotedValue(const std::string& value) {
  std::string text = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') text += '\\';
    text += c;
  }
  return text + "'";
}

std::optional<ConninfoOptions> ParseConninfo(const std::string& conninfo) {
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> parsed(
      PQconninfoParse(conninfo.c_str(), nullptr), PQconninfoFree);
  if (parsed == nullptr) return std::nullopt;
  ConninfoOptions options;
  for (const PQconninfoOption* each = parsed.get(); each->keyword != nullptr; each++) {
    if (each->val != nullptr) options.emplace_back(each->keyword, each->val);
  }
  return options;
}

ConninfoResult PeerConninfo(const std::string& own, const Address& to,
                            const ConninfoOptions& defaults, const ConninfoOptions& forced) {
  const std::optional<ConninfoOptions> said = ParseConninfo(own);
  // libpq's own message may quote a part of the string, and so of a password.
  if (!said) return {"", "orchestra.conninfo is not a valid connection string"};

  std::map<std::string, std::string> options(defaults.begin(), defaults.end());
  for (const auto& [keyword, value] : *said) {
    if (!kOfOneNode.contains(keyword)) options[keyword] = value;
  }
  for (const auto& [keyword, value] : forced) {
    std::string& option = options[keyword];
    option = keyword == "options" && !option.empty() ? option + " " + value : value;
  }
  options["host"] = to.host;
  options["port"] = std::to_string(to.port);

  std::string text;
  for (const auto& [keyword, value] : options) {
    text += (text.empty() ? "" : " ") + keyword + "=" + QuotedValue(value);
  }
  return {text, ""};
}

ConninfoResult RoleConninfo(const std::string& own, const Address& to, const std::string& role,
                            const std::string& database, const std::string& application_name) {
  ConninfoOptions defaults = {{"user", role}};
  const std::optional<SocketAddress> address = ParseAddress({to.host, 0});
  const bool here = to.host.starts_with('/') || (address && IsLoopback(*address));
  if (!here) defaults.emplace_back("sslmode", "require");
  return PeerConninfo(own, to, defaults,
                      {{"dbname", database},
                       {"application_name", application_name},
                       {"options", "-c search_path=pg_catalog -c statement_timeout=10s"}});
}

}  // namespace orchestra::net
