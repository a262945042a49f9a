// What PostgreSQL enforces of the register: synchronous_standby_names (rule 6), and the
// primary_conninfo that a start without orchestra would use. Both live in postgresql.auto.conf.
//
// The GUC orchestra.sync_generation stands right behind synchronous_standby_names in that file and
// carries the generation that the core gave to its content. Whoever applies the file publishes it,
// so "reloaded" is known and not assumed: postmaster, checkpointer, and every walsender (at its
// start as well, since a forked process inherits settings without running their hooks).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/types.h"
#include "pg/pg.h"

namespace orchestra::pg {

// From _PG_init in the postmaster: defines orchestra.sync_generation, hooks walsender starts.
void InstallSyncSetting();
// In shmem_startup_hook: what postmaster and the checkpointer it will fork have loaded.
void PublishSyncAtBoot();

struct SyncSetting {
  std::uint64_t generation = 0;    // unique for its content
  std::vector<std::string> names;  // application_names of S
  std::uint32_t k = 0;             // 0: nobody waits
};

// The rest is for the consensus worker, which must handle SIGHUP (ProcessConfigFile) itself.

// Makes PostgreSQL enforce `wanted`: writes the file unless it says so already, reloads, and ends
// walsenders that have not loaded it within a second. Commits go on meanwhile: they obey the old
// setting or the new one. Call it on every turn; once EffectiveSync() is wanted.generation it only
// looks. `now` is CLOCK_MONOTONIC_RAW. Returns "" or, for people, why it is not in force after a
// second, or that commits wait since too few of S confirm them.
std::string ApplySync(const SyncSetting& wanted, Micros now);

// Generation of the last ApplySync if every process that matters enforces it, else 0.
std::uint64_t EffectiveSync();

// What somebody else had made of the setting, one clause, once orchestra's is in force again; each
// is told once. Else "".
std::string TakeRepaired();

// For settings that are not orchestra's any more: reloads, and returns "" once postmaster,
// checkpointer and this worker have loaded a file that was put back after the reload at `before`
// (a PgReloadTime), and walsenders too (those that have not within a second are not waited for: no
// commit counts on them). Else what is missing. Call it on every turn until then.
std::string ReleaseSync(TimestampTz before, Micros now);

// Sets host and port of primary_conninfo (hostaddr goes), leaves every other option of it, and
// reloads. Does nothing when it says so already. Returns "" or why not.
std::string RewriteConninfo(const std::string& host, std::uint16_t port);

}  // namespace orchestra::pg
