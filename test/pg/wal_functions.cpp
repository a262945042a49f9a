// What a fed receiver takes of a message, for t/440_feeding.pl.
#include "pg/guard.h"
#include "pg/wal_message.h"

using namespace orchestra::pg;

extern "C" {

PG_FUNCTION_INFO_V1(orchestra_test_length_up_to);
Datum orchestra_test_length_up_to(PG_FUNCTION_ARGS) {
  const bytea* message = PG_GETARG_BYTEA_PP(1);
  return Int32GetDatum(LengthUpTo(PG_GETARG_LSN(0), VARDATA_ANY(message),
                                  static_cast<int>(VARSIZE_ANY_EXHDR(message))));
}

}  // extern "C"
