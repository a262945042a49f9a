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

}  // namespace orchestra::pg
