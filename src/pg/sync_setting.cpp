#include "pg/sync_setting.h"

#include "core/codec.h"
#include "core/status.h"
#include "pg/auto_conf.h"
#include "pg/conninfo.h"
#include "pg/guard.h"
#include "pg/pg.h"
#include "pg/senders.h"
#include "pg/shared.h"

namespace orchestra::pg {
namespace {

constexpr char kNames[] = "synchronous_standby_names";
constexpr char kGeneration[] = "orchestra.sync_generation";
constexpr Micros kRetry{200'000};
constexpr Micros kPatience{1'000'000};     // until a walsender that loads nothing is ended
constexpr Micros kCommitsWait{1'000'000};  // until commits that wait are a problem

// ---------------------------------------------------------------- every process

char* generation_text;  // the setting: a generation in decimal
uint64 loaded;          // the same, as loaded by this process
ClientAuthentication_hook_type previous_authentication_hook;

void Publish() {
  if (shared == nullptr) return;
  if (MyProcPid == PostmasterPid) pg_atomic_write_u64(&shared->generations.postmaster, loaded);
  if (AmCheckpointerProcess()) pg_atomic_write_u64(&shared->generations.checkpointer, loaded);
  if (am_walsender) PublishSender(loaded);
}

bool CheckGeneration(char** value, void**, GucSource) {
  const std::string_view text = *value;
  const bool valid = text.size() <= 20 && text.find_first_not_of("0123456789") == text.npos;
  if (!valid) GUC_check_errdetail("It is a number that orchestra itself writes.");
  return valid;
}

void AssignGeneration(const char* value, void*) {
  loaded = strtoull(value, nullptr, 10);
  Publish();
}

// A walsender inherited what the postmaster had loaded when it was forked.
void OnAuthentication(Port* port, int status) {
  if (previous_authentication_hook != nullptr) previous_authentication_hook(port, status);
  if (status == STATUS_OK && am_walsender) PublishSender(loaded);
}

// ---------------------------------------------------------------- the consensus worker

// An end of WAL that k of S have to confirm before another one is looked at.
struct Awaited {
  XLogRecPtr lsn = InvalidXLogRecPtr;
  Micros since{};
};

struct Applied {
  Applied() = default;
  Applied(const SyncSetting& setting, const std::string& value, Micros now)
      : wanted(setting), since(now), names(value) {}
  SyncSetting wanted;
  Micros since{};
  std::string names;         // value of synchronous_standby_names
  bool loaded_here = false;  // this worker had it, so that another one is somebody else's
  std::optional<Micros> tried, reloaded, postmaster_at;
  std::optional<Micros> lost_at;  // the postmaster had it and has it no more
  std::vector<int> signalled;     // walsenders that were told to reload behind the postmaster
  Awaited awaited;
  TimestampTz released = 0;  // of ReleaseSync; 0: it is wanted
};
Applied applied;
std::string foreign;   // what somebody else has made of it; not in force again
std::string repaired;  // the same, once it is

std::string NamesValue(const SyncSetting& setting) {
  if (setting.k == 0) return "";
  std::string text = "ANY " + std::to_string(setting.k) + " (";
  for (const std::string& name : setting.names) {
    text += text.back() == '(' ? "\"" : ", \"";
    for (const char c : name) text.append(c == '"' ? 2 : 1, c);
    text += '"';
  }
  return text + ")";
}

bool Due(std::optional<Micros>* last, Micros now, Micros every) {
  if (last->has_value() && now - **last < every) return false;
  *last = now;
  return true;
}

bool IsWanted(const char* name) {
  const auto& names = applied.wanted.names;
  return std::any_of(names.begin(), names.end(), [&](const std::string& wanted) {
    return pg_strcasecmp(wanted.c_str(), name) == 0;
  });
}

bool IsEffective(const Sender& sender) {
  // A base backup releases nobody, and loads what is pending before it ever streams.
  if (sender.state == WALSNDSTATE_BACKUP)
    return std::find(applied.signalled.begin(), applied.signalled.end(), sender.pid) !=
               applied.signalled.end() ||
           sender.generation == applied.wanted.generation;
  if (!sender.published || sender.generation != applied.wanted.generation) return false;
  return sender.priority == 0 || IsWanted(sender.name);
}

bool PostmasterLoaded() {
  return pg_atomic_read_u64(&shared->generations.postmaster) == applied.wanted.generation;
}

// What is missing, or empty.
std::string Missing() {
  const uint64 wanted = applied.wanted.generation;
  if (!PostmasterLoaded()) return "the postmaster has not reloaded yet";
  if (loaded != wanted) return "this worker has not reloaded yet";
  if (applied.names != SyncRepStandbyNames)
    return kNames + std::string(kOverridden) + " (by the server's command line?)";
  if (pg_atomic_read_u64(&shared->generations.checkpointer) != wanted ||
      compat::SyncStandbysDefined() != !applied.names.empty())
    return "the checkpointer has not reloaded yet";
  std::string missing;
  ForEachSender([&](const Sender& sender) {
    if (missing.empty() && !IsEffective(sender))
      missing = "walsender " + std::to_string(sender.pid) + " has not reloaded yet";
  });
  return missing;
}

// As Missing, when nothing of orchestra's shall be in force.
std::string NotReleased(TimestampTz before, Micros now) {
  if (!PostmasterLoaded()) return "the postmaster has not reloaded yet";
  if (loaded != 0 || PgReloadTime == before) return "this worker has not reloaded yet";
  if (pg_atomic_read_u64(&shared->generations.checkpointer) != 0)
    return "the checkpointer has not reloaded yet";
  std::string missing;
  if (now - applied.since >= kPatience) return missing;
  ForEachSender([&](const Sender& sender) {
    if (sender.published && sender.generation != 0)
      missing = "walsender " + std::to_string(sender.pid) + " has not reloaded yet";
  });
  return missing;
}

// The postmaster has loaded it, so every reload from here on loads it too.
void PushSenders(Micros now) {
  if (!applied.postmaster_at) applied.postmaster_at = now;
  const bool end = now - *applied.postmaster_at >= kPatience;
  std::vector<int> signalled;
  ForEachSender([&](const Sender& sender) {
    if (sender.published && sender.generation == applied.wanted.generation) return;
    ::kill(sender.pid, end && !IsEffective(sender) ? SIGTERM : SIGHUP);
    signalled.push_back(sender.pid);
  });
  applied.signalled = std::move(signalled);
}

// How many of S have flushed up to `lsn`.
std::uint32_t Confirmed(XLogRecPtr lsn) {
  std::uint32_t count = 0;
  ForEachSender([&](const Sender& sender) {
    if (sender.state == WALSNDSTATE_STREAMING && sender.flushed != InvalidXLogRecPtr &&
        sender.flushed >= lsn && IsWanted(sender.name))
      count++;
  });
  return count;
}

std::string CommitsWait(Micros now) {
  Awaited& awaited = applied.awaited;
  const std::uint32_t confirmed = Confirmed(awaited.lsn);
  if (awaited.lsn == InvalidXLogRecPtr || confirmed >= applied.wanted.k) {
    awaited = {compat::FlushedLsn(), now};
    return "";
  }
  if (now - awaited.since < kCommitsWait) return "";
  std::string names;
  for (const std::string& name : applied.wanted.names) names += (names.empty() ? "" : ", ") + name;
  return "synchronous commits wait: " + std::to_string(confirmed) + " of " +
         std::to_string(applied.wanted.k) + " needed of (" + names + ") confirm them";
}

// For a log line and a problem.
std::string Shown(const char* text) {
  std::string shown(Cut(text, 100));
  for (char& c : shown)
    if (static_cast<unsigned char>(c) < 0x20 || c == '"') c = c == '"' ? '\'' : ' ';
  return "(" + shown + ")";
}

// Somebody changed the file, or the lines behind it, and reloaded. True: this worker is about to
// load that, and then knows what it is.
bool WatchForeign(Micros now) {
  const bool same = loaded == applied.wanted.generation && applied.names == SyncRepStandbyNames;
  if (!same && applied.loaded_here) foreign = Shown(SyncRepStandbyNames);
  applied.loaded_here = applied.loaded_here || same;
  if (!applied.loaded_here || !foreign.empty() || PostmasterLoaded()) {
    applied.lost_at.reset();
    return false;
  }
  if (!applied.lost_at) applied.lost_at = now;
  if (now - *applied.lost_at < kRetry) return true;
  foreign = "(not known)";
  return false;
}

std::string Problem(const std::string& missing, Micros now) {
  if (!foreign.empty()) return kNames + std::string(kOverridden) + " by hand: it is " + foreign;
  return now - applied.since < kPatience ? "" : missing;
}

std::string Apply(const SyncSetting& wanted, Micros now) {
  // No name and nobody to wait for would let every commit pass that waits.
  if (wanted.k > wanted.names.size()) return "the synchronous set is smaller than it must be";
  const std::string names = NamesValue(wanted);
  if (applied.wanted.generation != wanted.generation || applied.names != names)
    applied = Applied(wanted, names, now);
  if (WatchForeign(now)) return "";
  const std::string missing = Missing();
  if (missing.empty()) {
    if (!foreign.empty()) repaired = std::exchange(foreign, "");
    return CommitsWait(now);
  }
  const std::string problem = Problem(missing, now);
  if (!Due(&applied.tried, now, kRetry)) return problem;
  const EditResult edit =
      EditAutoConf({{kNames, names}, {kGeneration, std::to_string(wanted.generation)}});
  if (!edit.error.empty()) return edit.error;
  if (edit.written) applied.reloaded.reset();
  if (Due(&applied.reloaded, now, kPatience)) ::kill(PostmasterPid, SIGHUP);
  if (PostmasterLoaded()) PushSenders(now);
  return problem;
}

std::string RewriteHostAndPort(const std::string& host, std::uint16_t port) {
  char* error = nullptr;
  const char* text = Call([&] { return Retarget(PrimaryConnInfo, host.c_str(), port, &error); });
  if (text == nullptr) return std::string("primary_conninfo: ") + error;
  const EditResult edit = EditAutoConf({{"primary_conninfo", text}});
  if (edit.written) ::kill(PostmasterPid, SIGHUP);
  return edit.error;
}

}  // namespace

void InstallSyncSetting() {
  DefineCustomStringVariable(kGeneration, "Generation of synchronous_standby_names.",
                             "Written by orchestra itself.", &generation_text, "0", PGC_SIGHUP,
                             GUC_NOT_IN_SAMPLE | GUC_SUPERUSER_ONLY, CheckGeneration,
                             AssignGeneration, nullptr);
  previous_authentication_hook = ClientAuthentication_hook;
  ClientAuthentication_hook = OnAuthentication;
}

void PublishSyncAtBoot() {
  pg_atomic_write_u64(&shared->generations.postmaster, loaded);
  pg_atomic_write_u64(&shared->generations.checkpointer, loaded);
}

std::string ApplySync(const SyncSetting& wanted, Micros now) {
  try {
    return Apply(wanted, now);
  } catch (const std::exception& e) {
    return e.what();
  }
}

std::string TakeRepaired() {
  if (repaired.empty()) return "";
  return kNames + (" had been set by hand to " + std::exchange(repaired, ""));
}

std::string ReleaseSync(TimestampTz before, Micros now) {
  if (applied.released != before) {
    applied = Applied(SyncSetting{}, "", now);
    applied.released = before;
    foreign.clear();
  }
  std::string missing = NotReleased(before, now);
  if (!missing.empty() && Due(&applied.reloaded, now, kPatience)) ::kill(PostmasterPid, SIGHUP);
  return missing;
}

std::uint64_t EffectiveSync() {
  if (applied.wanted.generation == 0) return 0;
  return Missing().empty() ? applied.wanted.generation : 0;
}

std::string RewriteConninfo(const std::string& host, std::uint16_t port) {
  const MemoryContext before = CurrentMemoryContext;
  MemoryContext scratch = nullptr;
  std::string error;
  try {
    scratch = Call([] {
      return AllocSetContextCreate(CurrentMemoryContext, "orchestra conninfo",
                                   ALLOCSET_SMALL_SIZES);
    });
    MemoryContextSwitchTo(scratch);
    error = RewriteHostAndPort(host, port);
  } catch (const std::exception& e) {
    error = e.what();
  }
  MemoryContextSwitchTo(before);
  if (scratch != nullptr) MemoryContextDelete(scratch);
  return error;
}

}  // namespace orchestra::pg
