#include "pg/conninfo.h"

#include <libpq-fe.h>

#include "pg/pg.h"

namespace orchestra::pg {
namespace {

void Append(StringInfo text, const char* keyword, const char* value) {
  appendStringInfo(text, "%s%s='", text->len > 0 ? " " : "", keyword);
  for (; *value != '\0'; value++) {
    if (*value == '\'' || *value == '\\') appendStringInfoChar(text, '\\');
    appendStringInfoChar(text, *value);
  }
  appendStringInfoChar(text, '\'');
}

std::vector<std::string> PartsOf(std::string_view list) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t end = std::min(list.find(','), list.size());
    parts.emplace_back(list.substr(0, end));
    if (end == list.size()) return parts;
    list.remove_prefix(end + 1);
  }
}

bool NamesServer(const char* keyword) {
  return strcmp(keyword, "host") == 0 || strcmp(keyword, "hostaddr") == 0 ||
         strcmp(keyword, "port") == 0;
}

}  // namespace

char* Retarget(const char* conninfo, const char* host, uint32 port, char** error) {
  char* reason = nullptr;
  PQconninfoOption* options = PQconninfoParse(conninfo, &reason);
  if (options == nullptr) {
    *error = pstrdup(reason != nullptr ? reason : "out of memory");
    PQfreemem(reason);
    return nullptr;
  }
  StringInfoData text;
  initStringInfo(&text);
  for (const PQconninfoOption* option = options; option->keyword != nullptr; option++)
    if (option->val != nullptr && !NamesServer(option->keyword))
      Append(&text, option->keyword, option->val);
  PQconninfoFree(options);
  Append(&text, "host", host);
  Append(&text, "port", psprintf("%u", port));
  return text.data;
}

std::vector<Address> ServersOf(const std::string& conninfo) {
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(
      PQconninfoParse(conninfo.c_str(), nullptr), PQconninfoFree);
  std::vector<std::string> hosts, addresses, ports;
  for (auto* option = options.get(); option != nullptr && option->keyword != nullptr; option++) {
    if (option->val == nullptr) continue;
    if (strcmp(option->keyword, "host") == 0) hosts = PartsOf(option->val);
    if (strcmp(option->keyword, "hostaddr") == 0) addresses = PartsOf(option->val);
    if (strcmp(option->keyword, "port") == 0) ports = PartsOf(option->val);
  }
  std::vector<Address> servers;
  for (const std::string& host : addresses.empty() ? hosts : addresses) {
    // One port serves for all.
    const std::size_t at = ports.size() == 1 ? 0 : servers.size();
    const int port = at < ports.size() ? std::atoi(ports[at].c_str()) : 0;
    servers.push_back({host, static_cast<std::uint16_t>(port != 0 ? port : DEF_PGPORT)});
  }
  return servers;
}

}  // namespace orchestra::pg
