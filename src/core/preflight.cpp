#include "core/preflight.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/preflight_login.h"

namespace orchestra {
namespace {

constexpr Micros kClockDiffers = std::chrono::seconds(1);
constexpr double kLeastDiskShare = 0.05;
constexpr double kGiB = 1024.0 * 1024 * 1024;
constexpr int kWorkers = 3;       // of orchestra in each server
constexpr int kSpareSenders = 2;  // a base backup, and one that was just replaced

struct Context {
  const PreflightInput& input;
  const NodeFacts* self = nullptr;
  std::string primary = "the primary";
  std::vector<CheckRow> rows{};

  void Add(Severity severity, const NodeFacts& node, const std::string& item,
           const std::string& found, const std::string& fix = "") {
    rows.push_back({severity, node.name, "", item, found, severity == Severity::kOk ? "" : fix});
  }
  void AddPair(Severity severity, const NodeFacts& from, const NodeFacts& to,
               const std::string& item, const std::string& found, const std::string& fix = "") {
    rows.push_back({severity, from.name, to.name, item, found, fix});
  }
};

Severity If(bool good, Severity otherwise) { return good ? Severity::kOk : otherwise; }

// -1: no number.
long long Number(const std::string& text) {
  long long number = -1;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

std::string NodeFact(const NodeFacts& node, std::string_view name) {
  return FactOf(node, "node", name);
}
bool Told(const NodeFacts& node) { return !node.failure && !node.facts.empty(); }
bool IsStandby(const NodeFacts& node) { return NodeFact(node, "in_recovery") == "t"; }

std::string Where(const NodeFacts& node, const std::string& setting) {
  const std::string later = FactOf(node, "later file", setting);
  const std::string source = later.empty() ? FactOf(node, "source", setting) : later;
  return source.empty() ? "" : " (" + source + ")";
}

// ---------------------------------------------------------------- one setting

// Settings that are judged by themselves: one of `accepted` (the fix sets the first), or a number
// that depends on how many nodes there are.
struct SettingRule {
  const char* name;
  Severity severity;
  Takes takes;
  std::vector<std::string> accepted;
  long long least_beyond_nodes = 0;  // of a number: at least the nodes and this many
};

const std::vector<SettingRule>& SettingRules() {
  static const std::vector<SettingRule> rules = {
      {"wal_level", Severity::kError, Takes::kRestart, {"replica", "logical"}},
      {"max_wal_senders", Severity::kError, Takes::kRestart, {}, kSpareSenders - 1},
      {"max_replication_slots", Severity::kError, Takes::kRestart, {}, -1},
      {"hot_standby", Severity::kError, Takes::kRestart, {"on"}},
      {"recovery_target", Severity::kError, Takes::kRestart, {""}},
      {"recovery_target_lsn", Severity::kError, Takes::kRestart, {""}},
      {"recovery_target_name", Severity::kError, Takes::kRestart, {""}},
      {"recovery_target_time", Severity::kError, Takes::kRestart, {""}},
      {"recovery_target_xid", Severity::kError, Takes::kRestart, {""}},
      {"recovery_target_timeline", Severity::kError, Takes::kRestart, {"latest"}},
      {"restart_after_crash", Severity::kWarning, Takes::kReload, {"on"}},
      // Weaker is lifted in durability quorum, and takes as long as `on` then.
      {"synchronous_commit", Severity::kWarning, Takes::kReload, {"on", "remote_apply"}},
  };
  return rules;
}

void CheckSetting(Context& context, const NodeFacts& node, const SettingRule& rule) {
  const std::string value = SettingOf(node, rule.name);
  const long long least =
      static_cast<long long>(context.input.nodes.size()) + rule.least_beyond_nodes;
  const bool good = rule.accepted.empty() ? Number(value) >= least
                                          : std::find(rule.accepted.begin(), rule.accepted.end(),
                                                      value) != rule.accepted.end();
  std::string found = value.empty() ? "not set" : value;
  if (!good) found += Where(node, rule.name);
  if (!good && rule.accepted.empty())
    found += ", and at least " + std::to_string(least) + " needed";
  context.Add(
      If(good, rule.severity), node, rule.name, found,
      SetSteps(node, rule.name,
               rule.accepted.empty() ? std::to_string(least) : rule.accepted.front(), rule.takes));
}

// A receiver that must start again waits that long, unless orchestra wakes it.
void CheckRetry(Context& context, const NodeFacts& node) {
  constexpr const char* kName = "wal_retrieve_retry_interval";
  const std::string value = SettingOf(node, kName);
  context.Add(If(Number(value) <= 1000, Severity::kInfo), node, kName, value + " ms",
              SetSteps(node, kName, "200ms", Takes::kReload));
}

// ---------------------------------------------------------------- more than a comparison

void CheckRewind(Context& context, const NodeFacts& node) {
  const bool hints = SettingOf(node, "wal_log_hints") == "on";
  const bool checksums = SettingOf(node, "data_checksums") == "on";
  context.Add(If(hints || checksums, Severity::kWarning), node, "wal_log_hints",
              checksums ? "data checksums are on"
              : hints   ? "on"
                        : "off, and no data checksums: pg_rewind will not be possible" +
                            Where(node, "wal_log_hints"),
              SetSteps(node, "wal_log_hints", "on", Takes::kRestart));
}

// Only 17 and later have it, and nothing but a file can change it.
void CheckAlterSystem(Context& context, const NodeFacts& node) {
  const std::string value = SettingOf(node, "allow_alter_system");
  if (value.empty()) return;
  const std::string source = FactOf(node, "source", "allow_alter_system");
  context.Add(If(value == "on", Severity::kError), node, "allow_alter_system",
              value + Where(node, "allow_alter_system"),
              (source.empty() ? "postgresql.conf" : source) + " on " + node.name +
                  ": allow_alter_system = on\n" + Psql(node.name, "SELECT pg_reload_conf();"));
}

// What orchestra writes into postgresql.auto.conf must be what counts.
void CheckManaged(Context& context, const NodeFacts& node) {
  for (const char* name : {"primary_conninfo", "synchronous_standby_names"}) {
    const std::string source = FactOf(node, "source", name);
    const std::string later = FactOf(node, "later file", name);
    const bool set = !SettingOf(node, name).empty();
    std::string found = set ? "set" : "not set";
    if (set || !later.empty()) found += Where(node, name);
    std::string fix;
    if (source == "command line") {
      fix = "command line of " + node.name + ": take " + name + " out\nserver of " + node.name +
            ": restart";
      found += ": orchestra could not change it";
    } else if (!later.empty()) {
      fix = later + " on " + node.name + ": take this line out\n" +
            Psql(node.name, "SELECT pg_reload_conf();");
      found += ", applied after postgresql.auto.conf: orchestra could not change it";
    }
    context.Add(If(fix.empty(), Severity::kError), node, name, found, fix);
  }
}

void CheckFiles(Context& context, const NodeFacts& node) {
  bool good = true;
  for (const Fact& fact : node.facts) {
    if (fact.kind != "file error") continue;
    good = false;
    // That line alone has no effect; of any other error nothing is loaded at all.
    const bool alone = fact.value == "setting could not be applied";
    context.Add(alone ? Severity::kWarning : Severity::kError, node, "configuration files",
                fact.name + ": " + fact.value,
                fact.name + " on " + node.name + ": mend this line\n" +
                    Psql(node.name, "SELECT pg_reload_conf();"));
  }
  if (good) context.Add(Severity::kOk, node, "configuration files", "can be reloaded");
}

void CheckWorkers(Context& context, const NodeFacts& node) {
  const long long most = Number(SettingOf(node, "max_worker_processes"));
  const long long used = Number(NodeFact(node, "workers_used"));
  const long long missing = std::max(0LL, kWorkers - Number(NodeFact(node, "workers")));
  const std::string problem = NodeFact(node, "worker_problem");
  const std::string found = std::to_string(used) + " of " + std::to_string(most) + " used";
  const std::string fix =
      SetSteps(node, "max_worker_processes", std::to_string(used + missing + 2), Takes::kRestart);
  if (missing > 0 && most - used < missing)
    context.Add(Severity::kError, node, "max_worker_processes",
                found + ", and " + std::to_string(missing) + " workers of orchestra do not run",
                fix);
  else
    context.Add(If(most > used, Severity::kWarning), node, "max_worker_processes", found, fix);
  if (!problem.empty())
    context.Add(Severity::kError, node, "workers", problem, "log of " + node.name + ": see why");
}

void CheckOverrides(Context& context, const NodeFacts& node) {
  if (IsStandby(node)) return;  // it has the same catalog
  for (const Fact& fact : node.facts) {
    if (fact.kind != "override" || fact.value == "on" || fact.value == "remote_apply") continue;
    context.Add(Severity::kWarning, node, "synchronous_commit",
                fact.value + " for " + fact.name +
                    ": in durability quorum its commits are lifted to on, and take longer",
                Psql(node.name, "ALTER " + fact.name + " RESET synchronous_commit;"));
  }
}

std::string GiB(double bytes) {
  const long long tenths = static_cast<long long>(bytes / kGiB * 10);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " GiB";
}

void CheckDisk(Context& context, const NodeFacts& node) {
  for (const Fact& fact : node.facts) {
    if (fact.kind != "disk") continue;
    const std::size_t blank = std::min(fact.value.find(' '), fact.value.size() - 1);
    const auto free = static_cast<double>(Number(fact.value));
    const auto size = static_cast<double>(Number(fact.value.substr(blank + 1)));
    const bool good = free >= kGiB && free >= kLeastDiskShare * size;
    context.Add(If(good, Severity::kWarning), node, "disk",
                GiB(free) + " of " + GiB(size) + " free for " + fact.name,
                "shell on " + node.name + ": make room on the file system of " + fact.name);
  }
}

// ---------------------------------------------------------------- against the asking node

void CheckVersions(Context& context, const NodeFacts& node) {
  if (!context.self || !Told(*context.self) || &node == context.self) return;
  const NodeFacts& self = *context.self;
  const std::string mine = SettingOf(self, "server_version_num");
  const std::string its = SettingOf(node, "server_version_num");
  const bool major = Number(mine) / 10000 == Number(its) / 10000;
  context.Add(mine == its ? Severity::kOk
              : major     ? Severity::kWarning
                          : Severity::kError,
              node, "server version", its + ", and " + mine + " on " + self.name,
              "server of " + node.name + ": install the version of " + self.name + ", restart");
  const std::string my_version = NodeFact(self, "version");
  const std::string its_version = NodeFact(node, "version");
  context.Add(If(my_version == its_version, Severity::kError), node, "orchestra version",
              its_version + ", and " + my_version + " on " + self.name,
              "server of " + node.name + ": install orchestra " + my_version + ", restart");
  const std::string system = NodeFact(node, "system_identifier");
  const bool same = system == NodeFact(self, "system_identifier");
  context.Add(
      If(same, Severity::kError), node, "system identifier",
      system + (same ? ""
                     : ", and " + NodeFact(self, "system_identifier") + " on " + self.name +
                           ": another database system"),
      "shell on " + node.name + ": make it anew with pg_basebackup from " + context.primary);
  const Micros apart = std::chrono::abs(node.clock_ahead);
  const bool near = apart - node.clock_uncertainty <= kClockDiffers;
  context.Add(If(near, Severity::kWarning), node, "clock",
              std::to_string(apart.count() / 1000) + " ms " +
                  (node.clock_ahead < Micros{} ? "behind " : "ahead of ") + self.name,
              "shell on " + node.name + ": chronyc makestep");
}

// ---------------------------------------------------------------- names, who is there

void CheckHello(Context& context, const NodeFacts& node) {
  if (node.name == context.input.self) return;
  std::string seeds = context.self ? Endpoint(context.self->peer) : "";
  context.Add(If(node.heard, Severity::kError), node, "hello",
              node.heard ? "heard, so that it has the same secret"
                         : "it has not said hello to " + context.input.self,
              Psql(node.name, "ALTER SYSTEM SET orchestra.seeds = " + QuotedLiteral(seeds) + ";") +
                  "\n" + Psql(node.name, "SELECT pg_reload_conf();") + "\nshell on " + node.name +
                  ": compare orchestra.secret_file and orchestra.node_name with those of " +
                  context.input.self);
}

void CheckSecret(Context& context, const NodeFacts& node) {
  const std::string problem = NodeFact(node, "secret_problem");
  context.Add(
      If(problem.empty(), Severity::kError), node, "secret",
      problem.empty() ? "that of " + context.input.self : problem,
      "shell on " + node.name +
          ": write the secret of all nodes, 16 bytes or more, into a file with mode 0600\n" +
          SetSteps(node, "orchestra.secret_file", "that file", Takes::kReload));
}

std::string Renamed(const std::string& node) {
  return Psql(node, "ALTER SYSTEM SET orchestra.node_name = 'a name of its own';") +
         "\nserver of " + node + ": restart";
}

void CheckName(Context& context, const NodeFacts& node) {
  const auto twice = [&](const NodeFacts& each) {
    // Where a node was that is not heard any more says nothing.
    const bool same_server = each.heard && node.heard && each.server == node.server;
    return &each != &node && (each.name == node.name || same_server);
  };
  const std::vector<NodeFacts>& nodes = context.input.nodes;
  const auto other = std::find_if(nodes.begin(), nodes.end(), twice);
  const std::string called = NodeFact(node, "name"), namesake = NodeFact(node, "namesake");
  std::string found = node.name, fix = Renamed(node.name);
  const auto streams = std::count_if(nodes.begin(), nodes.end(), [&](const NodeFacts& each) {
    return std::count_if(each.facts.begin(), each.facts.end(), [&](const Fact& fact) {
             return fact.kind == "streams" && fact.name == node.name;
           }) > 1;
  });
  if (other != nodes.end() && other->name == node.name) {
    found = "named twice";
  } else if (other != nodes.end()) {
    found = other->name + " has the same address, " + Endpoint(*node.server);
    fix = "postgresql.conf on " + node.name + ": orchestra.conninfo with its own host and port";
  } else if (Told(node) && called != node.name) {
    found = "the server at " + Endpoint(node.server.value_or(Address{})) + " is called " + called;
    fix = "postgresql.conf on " + node.name + ": orchestra.conninfo with its own host and port";
  } else if (!namesake.empty()) {
    found = "the server at " + namesake + " has the same name";
    fix = Renamed("the server at " + namesake);
  } else if (streams > 0) {
    found = "several standbys stream as " + node.name;
    fix = "primary_conninfo of each standby: application_name=its orchestra.node_name";
  }
  context.Add(If(found == node.name, Severity::kError), node, "name", found, fix);
}

// ---------------------------------------------------------------- replication

const NodeFacts* OnlyPrimary(const PreflightInput& input) {
  const NodeFacts* primary = nullptr;
  for (const NodeFacts& node : input.nodes) {
    if (!Told(node) || IsStandby(node)) continue;
    if (primary) return nullptr;
    primary = &node;
  }
  return primary;
}

// primary_conninfo of `node` with what makes it follow `primary` under its name.
std::string Follow(const NodeFacts& node, const NodeFacts& primary) {
  const Address to = primary.server.value_or(Address{});
  std::string conninfo = NodeFact(node, "conninfo");
  if (SettingOf(node, "primary_conninfo").empty()) {
    const std::string& user = FactOf(primary, "node", "replication_user");
    conninfo = "user=" + (user.empty() ? "the replication role" : user);
  }
  if (NodeFact(node, "conninfo_password") == "t") conninfo += " password=AS BEFORE";
  return conninfo + " host=" + to.host + " port=" + std::to_string(to.port) +
         " application_name=" + node.name;
}

void CheckStreaming(Context& context, const NodeFacts& node) {
  const NodeFacts* primary = OnlyPrimary(context.input);
  if (!primary || primary == &node) return;
  const bool streams = FactOf(*primary, "streams", node.name) == "streaming";
  std::string found = "streams from " + primary->name;
  if (!streams) {
    found = "no standby streams from " + primary->name + " as " + node.name + "; there are:";
    bool any = false;
    for (const Fact& fact : primary->facts)
      if (fact.kind == "streams") found += (std::exchange(any, true) ? ", " : " ") + fact.name;
    if (!any) found += " none";
  }
  context.Add(If(streams, Severity::kError), node, "streaming", found,
              SetSteps(node, "primary_conninfo", Follow(node, *primary), Takes::kReload));
}

// Without it a former primary cannot follow.
void CheckFollows(Context& context, const NodeFacts& node) {
  if (context.input.nodes.size() < 2 || !SettingOf(node, "primary_conninfo").empty()) return;
  const auto other = std::find_if(
      context.input.nodes.begin(), context.input.nodes.end(), [&](const NodeFacts& each) {
        return &each != &node && !NodeFact(each, "replication_user").empty();
      });
  if (other == context.input.nodes.end()) return;
  context.Add(Severity::kError, node, "primary_conninfo",
              "not set: it could not follow another primary",
              SetSteps(node, "primary_conninfo", Follow(node, *other), Takes::kReload));
}

void CheckLogins(Context& context, const NodeFacts& from) {
  for (const char* item : {"login", "replication"}) {
    for (const NodeFacts& to : context.input.nodes) {
      const bool replication = item == std::string_view("replication");
      const std::string result = FactOf(from, item, to.name);
      if (result.empty()) continue;
      const bool good = result == "ok";
      const std::string user = NodeFact(from, replication ? "replication_user" : "user");
      context.AddPair(
          If(good, Severity::kError), from, to, item, good ? "as " + user : result,
          good ? ""
               : FixOf({from, to, replication, result, context.primary, context.input.database}));
    }
  }
}

// A node that told nothing: why the asking node could not ask.
void CheckFailure(Context& context, const NodeFacts& node) {
  const NodeFacts& self = context.self ? *context.self : node;
  context.AddPair(
      Severity::kError, self, node, "login", *node.failure,
      FixOf({self, node, false, *node.failure, context.primary, context.input.database}));
}

void CheckPrimary(Context& context) {
  std::string names;
  std::size_t count = 0, silent = 0;
  for (const NodeFacts& node : context.input.nodes) {
    if (!Told(node)) silent++;
    if (!Told(node) || IsStandby(node)) continue;
    names += (count++ > 0 ? ", " : "") + node.name;
  }
  if (count == 0 && (silent > 0 || context.input.nodes.empty())) return;  // other rows say it
  context.rows.push_back({If(count == 1, Severity::kError), "", "", "primary",
                          count == 0 ? "every node is a standby" : names,
                          count > 1    ? "shell: make all but one of them anew as its standby"
                          : count == 0 ? "psql on one of them: SELECT pg_promote();"
                                       : ""});
}

void CheckNode(Context& context, const NodeFacts& node) {
  CheckName(context, node);
  CheckHello(context, node);
  if (node.failure) CheckFailure(context, node);
  if (!Told(node)) return;
  CheckSecret(context, node);
  CheckVersions(context, node);
  for (const SettingRule& rule : SettingRules()) CheckSetting(context, node, rule);
  CheckRetry(context, node);
  CheckRewind(context, node);
  CheckAlterSystem(context, node);
  CheckManaged(context, node);
  CheckFollows(context, node);
  CheckFiles(context, node);
  CheckWorkers(context, node);
  CheckOverrides(context, node);
  CheckDisk(context, node);
  CheckStreaming(context, node);
}

}  // namespace

const char* NameOf(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "ok";
    case Severity::kInfo:
      return "info";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
  }
  return "";
}

std::vector<CheckRow> Preflight(const PreflightInput& input) {
  Context context{input};
  for (const NodeFacts& node : input.nodes)
    if (node.name == input.self) context.self = &node;
  for (const NodeFacts& node : input.nodes)
    if (NodeFact(node, "in_recovery") == "f") context.primary = node.name;
  CheckPrimary(context);
  for (const NodeFacts& node : input.nodes) CheckNode(context, node);
  for (const NodeFacts& node : input.nodes) CheckLogins(context, node);
  return std::move(context.rows);
}

}  // namespace orchestra
