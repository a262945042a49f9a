#include "net/conninfo.h"

#include <libpq-fe.h>

#include <map>
#include <memory>
#include <set>

namespace orchestra::net {
namespace {

const std::set<std::string> kOfOneNode = {"host", "hostaddr", "port", "target_session_attrs"};

std::string Quoted(const std::string& value) {
  std::string text = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') text += '\\';
    text += c;
  }
  return text + "'";
}

}  // namespace

ConninfoResult PeerConninfo(const std::string& own, const Address& to,
                            const ConninfoOptions& defaults, const ConninfoOptions& forced) {
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> parsed(
      PQconninfoParse(own.c_str(), nullptr), PQconninfoFree);
  // libpq's own message may quote a part of the string, and so of a password.
  if (parsed == nullptr) return {"", "orchestra.conninfo is not a valid connection string"};

  std::map<std::string, std::string> options(defaults.begin(), defaults.end());
  for (const PQconninfoOption* each = parsed.get(); each->keyword != nullptr; each++) {
    if (each->val != nullptr && !kOfOneNode.contains(each->keyword)) {
      options[each->keyword] = each->val;
    }
  }
  for (const auto& [keyword, value] : forced) {
    std::string& option = options[keyword];
    option = keyword == "options" && !option.empty() ? option + " " + value : value;
  }
  options["host"] = to.host;
  options["port"] = std::to_string(to.port);

  std::string text;
  for (const auto& [keyword, value] : options) {
    text += (text.empty() ? "" : " ") + keyword + "=" + Quoted(value);
  }
  return {text, ""};
}

}  // namespace orchestra::net
