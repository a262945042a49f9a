// Leaving recovery from a worker without a database connection (design, section 4 "Promotion").
// The caller has made sure that a committed epoch says so.
#pragma once
#include <string>

namespace orchestra::pg {

// Asks for promotion and pushes it on: ends a replay pause, wakes a startup process that sleeps.
// Does nothing out of recovery. Call it every few ms until the server is out of recovery (one
// signal may get lost in a dying receiver, and then costs 5 s). Returns an error text or "".
std::string RequestPromotion();

// Once out of recovery: an immediate checkpoint, not waited for (pg_rewind up to 15 reads the
// source's checkpoint timeline).
void AfterPromotion();

}  // namespace orchestra::pg
