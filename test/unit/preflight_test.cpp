#include "core/preflight.h"

#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <set>

#include "core/preflight_login.h"

namespace orchestra {

void PrintTo(const CheckRow& row, std::ostream* os) {
  *os << NameOf(row.severity) << " [" << row.node << "] [" << row.peer << "] " << row.item << ": "
      << row.found << (row.fix.empty() ? "" : "\n  fix: ") << row.fix;
}

namespace {

NodeFacts Node(const std::string& name, bool primary) {
  NodeFacts node;
  node.name = name;
  node.server = Address{"10.0.0." + name.substr(1), 5432};
  node.peer = Address{"10.0.0." + name.substr(1), 5434};
  node.heard = true;
  const auto add = [&](const char* kind, const std::string& what, const std::string& value) {
    node.facts.push_back({kind, what, value});
  };
  const std::pair<const char*, const char*> settings[] = {
      {"wal_level", "replica"},
      {"max_wal_senders", "4"},
      {"max_replication_slots", "2"},
      {"hot_standby", "on"},
      {"recovery_target", ""},
      {"recovery_target_lsn", ""},
      {"recovery_target_name", ""},
      {"recovery_target_time", ""},
      {"recovery_target_xid", ""},
      {"recovery_target_timeline", "latest"},
      {"restart_after_crash", "on"},
      {"synchronous_commit", "on"},
      {"wal_retrieve_retry_interval", "200"},
      {"wal_log_hints", "on"},
      {"data_checksums", "off"},
      {"max_worker_processes", "8"},
      {"primary_conninfo", "set"},
      {"synchronous_standby_names", ""},
      {"server_version_num", "150020"},
      {"hba_file", "/data/pg_hba.conf"},
      {"password_encryption", "scram-sha-256"},
      {"listen_addresses", "*"},
      {"orchestra.seeds", "10.0.0.1:5434"},
  };
  for (const auto& [setting, value] : settings) add("setting", setting, value);
  const std::pair<const char*, std::string> own[] = {
      {"name", name},
      {"version", "0.1"},
      {"system_identifier", "7000"},
      {"in_recovery", primary ? "f" : "t"},
      {"workers", "3"},
      {"workers_used", "4"},
      {"worker_problem", ""},
      {"user", "orchestra"},
      {"passfile", "/data/pgpass"},
      {"replication_user", "replicator"},
      {"replication_passfile", "/data/pgpass"},
      {"conninfo", "user=replicator sslmode=require"},
      {"conninfo_password", "f"},
  };
  for (const auto& [what, value] : own) add("node", what, value);
  add("disk", "/data", "50000000000 100000000000");
  for (const char* peer : {"n1", "n2", "n3"}) {
    add("login", peer, "ok");
    if (peer != name) add("replication", peer, "ok");
    if (primary && peer != name) add("streams", peer, "streaming");
  }
  return node;
}

PreflightInput Healthy() {
  return {"n1", "postgres", {Node("n1", true), Node("n2", false), Node("n3", false)}};
}

// The value of a fact, which is added when there is none.
std::string& At(PreflightInput& input, std::size_t node, const std::string& kind,
                const std::string& name) {
  std::vector<Fact>& facts = input.nodes[node].facts;
  for (Fact& fact : facts)
    if (fact.kind == kind && fact.name == name) return fact.value;
  facts.push_back({kind, name, ""});
  return facts.back().value;
}

void Forget(PreflightInput& input, std::size_t node, const std::string& kind,
            const std::string& name) {
  std::erase_if(input.nodes[node].facts,
                [&](const Fact& fact) { return fact.kind == kind && fact.name == name; });
}

std::vector<CheckRow> Complaints(const PreflightInput& input) {
  std::vector<CheckRow> rows = Preflight(input);
  std::erase_if(rows, [](const CheckRow& row) { return row.severity == Severity::kOk; });
  return rows;
}

TEST(Preflight, NothingIsWrongWithHealthyNodes) {
  EXPECT_EQ(Complaints(Healthy()), std::vector<CheckRow>{});
  for (const CheckRow& row : Preflight(Healthy())) EXPECT_EQ(row.fix, "") << row.item;
}

TEST(Preflight, TellsAllThatItLookedAt) {
  std::set<std::string> items;
  for (const CheckRow& row : Preflight(Healthy())) items.insert(row.item);
  for (const char* item : {"primary",
                           "name",
                           "hello",
                           "server version",
                           "orchestra version",
                           "system identifier",
                           "clock",
                           "wal_level",
                           "max_wal_senders",
                           "max_replication_slots",
                           "hot_standby",
                           "recovery_target_name",
                           "restart_after_crash",
                           "synchronous_commit",
                           "wal_log_hints",
                           "wal_retrieve_retry_interval",
                           "primary_conninfo",
                           "synchronous_standby_names",
                           "configuration files",
                           "max_worker_processes",
                           "disk",
                           "streaming",
                           "login",
                           "replication"}) {
    EXPECT_TRUE(items.contains(item)) << item;
  }
}

struct Case {
  std::function<void(PreflightInput&)> change;
  CheckRow expected;
};

// Exactly this row, and no other that is not ok.
void Expect(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    PreflightInput input = Healthy();
    c.change(input);
    EXPECT_EQ(Complaints(input), std::vector<CheckRow>{c.expected}) << c.expected.item;
  }
}

// A setting of n2 with another value.
Case Setting(const std::string& name, const std::string& value, Severity severity,
             const std::string& found, const std::string& fix) {
  return {[=](PreflightInput& input) { At(input, 1, "setting", name) = value; },
          {severity, "n2", "", name, found, fix}};
}

std::string Restarted(const std::string& name, const std::string& value) {
  return "psql on n2: ALTER SYSTEM SET " + name + " = '" + value + "';\nserver of n2: restart";
}
std::string Reloaded(const std::string& name, const std::string& value) {
  return "psql on n2: ALTER SYSTEM SET " + name + " = '" + value +
         "';\npsql on n2: SELECT pg_reload_conf();";
}

TEST(Preflight, Settings) {
  const Severity error = Severity::kError, warning = Severity::kWarning;
  Expect({
      Setting("wal_level", "minimal", error, "minimal", Restarted("wal_level", "replica")),
      Setting("max_wal_senders", "3", error, "3, and at least 4 needed",
              Restarted("max_wal_senders", "4")),
      Setting("max_replication_slots", "1", error, "1, and at least 2 needed",
              Restarted("max_replication_slots", "2")),
      Setting("hot_standby", "off", error, "off", Restarted("hot_standby", "on")),
      Setting("recovery_target", "immediate", error, "immediate", Restarted("recovery_target", "")),
      Setting("recovery_target_xid", "7", error, "7", Restarted("recovery_target_xid", "")),
      Setting("recovery_target_timeline", "current", error, "current",
              Restarted("recovery_target_timeline", "latest")),
      Setting("restart_after_crash", "off", warning, "off", Reloaded("restart_after_crash", "on")),
      Setting("synchronous_commit", "local", warning, "local",
              Reloaded("synchronous_commit", "on")),
      Setting("wal_retrieve_retry_interval", "5000", Severity::kInfo, "5000 ms",
              Reloaded("wal_retrieve_retry_interval", "200ms")),
      Setting("wal_log_hints", "off", warning,
              "off, and no data checksums: pg_rewind will not be possible",
              Restarted("wal_log_hints", "on")),
      Setting("max_worker_processes", "4", warning, "4 of 4 used",
              Restarted("max_worker_processes", "6")),
      {[](PreflightInput& input) {
         At(input, 1, "setting", "allow_alter_system") = "off";
         At(input, 1, "source", "allow_alter_system") = "/data/x.conf:9";
       },
       {error, "n2", "", "allow_alter_system", "off (/data/x.conf:9)",
        "/data/x.conf:9 on n2: allow_alter_system = on\npsql on n2: SELECT pg_reload_conf();"}},
  });
}

TEST(Preflight, WhatSettingsMayBe) {
  PreflightInput input = Healthy();
  At(input, 1, "setting", "wal_level") = "logical";
  At(input, 1, "setting", "synchronous_commit") = "remote_apply";
  At(input, 1, "setting", "wal_log_hints") = "off";
  At(input, 1, "setting", "data_checksums") = "on";
  At(input, 1, "setting", "allow_alter_system") = "on";
  At(input, 0, "override", "ROLE app") = "on";
  At(input, 0, "setting", "synchronous_standby_names") = "n2";
  At(input, 0, "source", "synchronous_standby_names") = "/data/postgresql.conf:3";
  EXPECT_EQ(Complaints(input), std::vector<CheckRow>{});
}

TEST(Preflight, WhereASettingComesFromDecidesTheFix) {
  const auto few = [](const char* kind, const char* value) {
    return [=](PreflightInput& input) {
      At(input, 1, "setting", "max_wal_senders") = "1";
      At(input, 1, kind, "max_wal_senders") = value;
    };
  };
  const std::string set = "psql on n2: ALTER SYSTEM SET max_wal_senders = '4';\n";
  Expect({
      {few("source", "command line"),
       {Severity::kError, "n2", "", "max_wal_senders", "1 (command line), and at least 4 needed",
        "command line of n2: take max_wal_senders out\n" + set + "server of n2: restart"}},
      {few("source", "/etc/postgresql.conf:7"),
       {Severity::kError, "n2", "", "max_wal_senders",
        "1 (/etc/postgresql.conf:7), and at least 4 needed", set + "server of n2: restart"}},
      {few("pending", "restart"),
       {Severity::kError, "n2", "", "max_wal_senders", "1, and at least 4 needed",
        "server of n2: restart"}},
  });
}

TEST(Preflight, WhatOrchestraMustBeAbleToChange) {
  Expect({
      {[](PreflightInput& input) { At(input, 1, "source", "primary_conninfo") = "command line"; },
       {Severity::kError, "n2", "", "primary_conninfo",
        "set (command line): orchestra could not change it",
        "command line of n2: take primary_conninfo out\nserver of n2: restart"}},
      {[](PreflightInput& input) {
         At(input, 1, "later file", "synchronous_standby_names") = "/data/late.conf:2";
       },
       {Severity::kError, "n2", "", "synchronous_standby_names",
        "not set (/data/late.conf:2), applied after postgresql.auto.conf: orchestra could not "
        "change it",
        "/data/late.conf:2 on n2: take this line out\npsql on n2: SELECT pg_reload_conf();"}},
      {[](PreflightInput& input) {
         At(input, 1, "file error", "/data/p.conf:5") = "setting could not be applied";
       },
       {Severity::kWarning, "n2", "", "configuration files",
        "/data/p.conf:5: setting could not be applied",
        "/data/p.conf:5 on n2: mend this line\npsql on n2: SELECT pg_reload_conf();"}},
      {[](PreflightInput& input) { At(input, 1, "file error", "/data/p.conf:5") = "syntax error"; },
       {Severity::kError, "n2", "", "configuration files", "/data/p.conf:5: syntax error",
        "/data/p.conf:5 on n2: mend this line\npsql on n2: SELECT pg_reload_conf();"}},
      {[](PreflightInput& input) {
         At(input, 0, "setting", "primary_conninfo") = "";
         for (const char* name : {"replication_user", "conninfo", "conninfo_password"})
           Forget(input, 0, "node", name);
       },
       {Severity::kError, "n1", "", "primary_conninfo",
        "not set: it could not follow another primary",
        "psql on n1: ALTER SYSTEM SET primary_conninfo = 'user=replicator host=10.0.0.2 port=5432 "
        "application_name=n1';\npsql on n1: SELECT pg_reload_conf();"}},
  });
}

TEST(Preflight, WorkersOverridesAndDisk) {
  Expect({
      {[](PreflightInput& input) {
         At(input, 1, "node", "workers") = "2";
         At(input, 1, "node", "workers_used") = "8";
       },
       {Severity::kError, "n2", "", "max_worker_processes",
        "8 of 8 used, and 1 workers of orchestra do not run",
        Restarted("max_worker_processes", "11")}},
      {[](PreflightInput& input) {
         At(input, 1, "node", "worker_problem") = "the monitor is gone";
       },
       {Severity::kError, "n2", "", "workers", "the monitor is gone", "log of n2: see why"}},
      // The catalog of a standby is the primary's: said once.
      {[](PreflightInput& input) {
         for (const std::size_t node : {0, 1}) At(input, node, "override", "DATABASE app") = "off";
       },
       {Severity::kWarning, "n1", "", "synchronous_commit",
        "off for DATABASE app: in durability quorum its commits are lifted to on, and take longer",
        "psql on n1: ALTER DATABASE app RESET synchronous_commit;"}},
      {[](PreflightInput& input) { At(input, 1, "disk", "/data") = "900000000 9000000000"; },
       {Severity::kWarning, "n2", "", "disk", "0.8 GiB of 8.3 GiB free for /data",
        "shell on n2: make room on the file system of /data"}},
      {[](PreflightInput& input) { At(input, 1, "disk", "/data") = "4900000000 100000000000"; },
       {Severity::kWarning, "n2", "", "disk", "4.5 GiB of 93.1 GiB free for /data",
        "shell on n2: make room on the file system of /data"}},
  });
}

TEST(Preflight, OneNodeAgainstTheOther) {
  using std::chrono::milliseconds;
  const auto clock = [](int ahead_ms, int uncertainty_ms) {
    return [=](PreflightInput& input) {
      input.nodes[1].clock_ahead = milliseconds(ahead_ms);
      input.nodes[1].clock_uncertainty = milliseconds(uncertainty_ms);
    };
  };
  const std::string fix = "shell on n2: chronyc makestep";
  const std::string install = "server of n2: install the version of n1, restart";
  Expect({
      {clock(1001, 0), {Severity::kWarning, "n2", "", "clock", "1001 ms ahead of n1", fix}},
      {clock(-1600, 500), {Severity::kWarning, "n2", "", "clock", "1600 ms behind n1", fix}},
      {[](PreflightInput& input) { At(input, 1, "setting", "server_version_num") = "150019"; },
       {Severity::kWarning, "n2", "", "server version", "150019, and 150020 on n1", install}},
      {[](PreflightInput& input) { At(input, 1, "setting", "server_version_num") = "160002"; },
       {Severity::kError, "n2", "", "server version", "160002, and 150020 on n1", install}},
      {[](PreflightInput& input) { At(input, 1, "node", "version") = "0.2"; },
       {Severity::kError, "n2", "", "orchestra version", "0.2, and 0.1 on n1",
        "server of n2: install orchestra 0.1, restart"}},
      {[](PreflightInput& input) { At(input, 1, "node", "system_identifier") = "8"; },
       {Severity::kError, "n2", "", "system identifier",
        "8, and 7000 on n1: another database system",
        "shell on n2: make it anew with pg_basebackup from n1"}},
  });
  for (const auto& change : {clock(1000, 0), clock(-1400, 500)}) {
    PreflightInput input = Healthy();
    change(input);
    EXPECT_EQ(Complaints(input), std::vector<CheckRow>{});
  }
}

TEST(Preflight, NamesAndWhoIsThere) {
  const std::string own_name =
      ": ALTER SYSTEM SET orchestra.node_name = 'a name of its own';\nserver of ";
  Expect({
      {[](PreflightInput& input) { At(input, 1, "node", "name") = "n7"; },
       {Severity::kError, "n2", "", "name", "the server at 10.0.0.2:5432 is called n7",
        "postgresql.conf on n2: orchestra.conninfo with its own host and port"}},
      {[](PreflightInput& input) {
         input.nodes[2].heard = false;
         input.nodes[1].server = input.nodes[2].server;
       },
       {Severity::kError, "n3", "", "hello", "it has not said hello to n1",
        "psql on n3: ALTER SYSTEM SET orchestra.seeds = '10.0.0.1:5434';\n"
        "psql on n3: SELECT pg_reload_conf();\n"
        "shell on n3: compare orchestra.secret_file and orchestra.node_name with those of n1"}},
      {[](PreflightInput& input) { At(input, 1, "node", "namesake") = "10.0.0.9:5432"; },
       {Severity::kError, "n2", "", "name", "the server at 10.0.0.9:5432 has the same name",
        "psql on the server at 10.0.0.9:5432" + own_name + "the server at 10.0.0.9:5432: restart"}},
      {[](PreflightInput& input) {
         input.nodes[0].facts.push_back({"streams", "n2", "catchup"});
       },
       {Severity::kError, "n2", "", "name", "several standbys stream as n2",
        "primary_conninfo of each standby: application_name=its orchestra.node_name"}},
      {[](PreflightInput& input) { input.nodes[1].heard = false; },
       {Severity::kError, "n2", "", "hello", "it has not said hello to n1",
        Reloaded("orchestra.seeds", "10.0.0.1:5434") +
            "\nshell on n2: compare orchestra.secret_file and orchestra.node_name with those of "
            "n1"}},
      {[](PreflightInput& input) { At(input, 1, "node", "secret_problem") = "is another one"; },
       {Severity::kError, "n2", "", "secret", "is another one",
        "shell on n2: write the secret of all nodes, 16 bytes or more, into a file with mode "
        "0600\n" +
            Reloaded("orchestra.secret_file", "that file")}},
      {[](PreflightInput& input) { Forget(input, 0, "streams", "n2"); },
       {Severity::kError, "n2", "", "streaming", "no standby streams from n1 as n2; there are: n3",
        Reloaded("primary_conninfo",
                 "user=replicator sslmode=require host=10.0.0.1 port=5432 application_name=n2")}},
  });
}

TEST(Preflight, TwoNodesAreNotOne) {
  PreflightInput input = Healthy();
  input.nodes[2].server = input.nodes[1].server;
  const std::string own = ": orchestra.conninfo with its own host and port";
  EXPECT_EQ(Complaints(input),
            (std::vector<CheckRow>{
                {Severity::kError, "n2", "", "name", "n3 has the same address, 10.0.0.2:5432",
                 "postgresql.conf on n2" + own},
                {Severity::kError, "n3", "", "name", "n2 has the same address, 10.0.0.2:5432",
                 "postgresql.conf on n3" + own}}));
  input = Healthy();
  input.nodes.push_back(input.nodes[1]);
  std::size_t twice = 0;
  for (const CheckRow& row : Complaints(input)) twice += row.found == "named twice";
  EXPECT_EQ(twice, 2U);
}

TEST(Preflight, NobodyIsFine) {
  EXPECT_EQ(Preflight({"n1", "postgres", {}}), std::vector<CheckRow>{});
}

TEST(Preflight, OnePrimary) {
  PreflightInput input = Healthy();
  At(input, 0, "node", "in_recovery") = "t";
  EXPECT_EQ(Complaints(input),
            (std::vector<CheckRow>{{Severity::kError, "", "", "primary", "every node is a standby",
                                    "psql on one of them: SELECT pg_promote();"}}));
  At(input, 0, "node", "in_recovery") = At(input, 1, "node", "in_recovery") = "f";
  EXPECT_EQ(Complaints(input),
            (std::vector<CheckRow>{{Severity::kError, "", "", "primary", "n1, n2",
                                    "shell: make all but one of them anew as its standby"}}));
}

TEST(Preflight, ANodeThatTellsNothing) {
  PreflightInput input = Healthy();
  input.nodes[1].facts.clear();
  input.nodes[1].failure = "08001: connection refused";
  Forget(input, 0, "login", "n2");
  Forget(input, 0, "replication", "n2");
  Forget(input, 2, "login", "n2");
  Forget(input, 2, "replication", "n2");
  EXPECT_EQ(Complaints(input),
            (std::vector<CheckRow>{
                {Severity::kError, "n1", "n2", "login", "08001: connection refused",
                 "network of n2: let n1 reach 10.0.0.2:5432 (server started, firewall)\n" +
                     Restarted("listen_addresses", "*")}}));
  input.nodes[1] = NodeFacts{};  // nor was it ever heard
  input.nodes[1].name = "n2";
  const std::vector<CheckRow> rows = Complaints(input);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].item, "hello");
}

TEST(Preflight, AFailedLoginAndItsFix) {
  struct Failed {
    bool replication;
    std::string error, fix;
  };
  const std::string reload = "\npsql on n3: SELECT pg_reload_conf();";
  for (const Failed& c : std::vector<Failed>{
           {true,
            "28000: FATAL:  no pg_hba.conf entry for replication connection from host "
            "\"10.1.0.2\", user \"replicator\", no encryption",
            "/data/pg_hba.conf on n3: host replication replicator 10.1.0.2/32 scram-sha-256" +
                reload},
           {false,
            "28000: no pg_hba.conf entry for host \"fd00::2\", user \"or-chestra\", database "
            "\"postgres\", SSL encryption",
            "/data/pg_hba.conf on n3: hostssl postgres \"or-chestra\" fd00::2/128 scram-sha-256" +
                reload},
           {false,
            "28000: no pg_hba.conf entry for host \"[local]\", user \"orchestra\", database "
            "\"postgres\", no encryption",
            "/data/pg_hba.conf on n3: local postgres orchestra scram-sha-256" + reload},
           {false,
            "28000: pg_hba.conf rejects connection for host \"10.1.0.2\", user \"orchestra\", "
            "database \"postgres\", no encryption",
            "/data/pg_hba.conf on n3, before the line that rejects it: host postgres orchestra "
            "10.1.0.2/32 scram-sha-256" +
                reload},
           {true, "28000: kein Eintrag",
            "/data/pg_hba.conf on n3: host replication replicator 10.0.0.2/32 scram-sha-256" +
                reload},
           {false, "28P01: password authentication failed for user \"orchestra\"",
            "/data/pgpass on n2: 10.0.0.3:5432:*:orchestra:THE PASSWORD"},
           {true, "08001: fe_sendauth: no password supplied",
            "/data/pgpass on n2: 10.0.0.3:5432:*:replicator:THE PASSWORD"},
           {false, "28000: role \"orchestra\" does not exist",
            "psql on n1: CREATE ROLE orchestra LOGIN PASSWORD '...';\n"
            "psql on n1: SELECT orchestra_grant('orchestra');"},
           {true, "28000: role \"replicator\" is not permitted to log in",
            "psql on n1: ALTER ROLE replicator LOGIN;"},
           {true, "42501: must be superuser or replication role to start walsender",
            "psql on n1: ALTER ROLE replicator REPLICATION;"},
           {true, "42501: permission denied to start WAL sender",
            "psql on n1: ALTER ROLE replicator REPLICATION;"},
           {false, "42501: permission denied for database \"postgres\"",
            "psql on n1: SELECT orchestra_grant('orchestra');"},
           {true, "53300: number of requested standby connections exceeds max_wal_senders",
            "psql on n3: ALTER SYSTEM SET max_wal_senders = '10';\nserver of n3: restart"},
           {false, "42704: extension \"orchestra\" does not exist in database \"postgres\"",
            "psql on n1: CREATE EXTENSION orchestra;\n"
            "psql on n1: SELECT orchestra_grant('orchestra');"},
           {false, "42883: function orchestra_facts(unknown) does not exist",
            "psql on n1: ALTER EXTENSION orchestra UPDATE;"},
       }) {
    PreflightInput input = Healthy();
    const std::string item = c.replication ? "replication" : "login";
    At(input, 1, item, "n3") = c.error;
    EXPECT_EQ(Complaints(input),
              (std::vector<CheckRow>{{Severity::kError, "n2", "n3", item, c.error, c.fix}}));
  }
}

TEST(Preflight, ValuesAndNamesAreQuoted) {
  NodeFacts node;
  node.name = "n2";
  EXPECT_EQ(SetSteps(node, "x", "it's", Takes::kReload),
            "psql on n2: ALTER SYSTEM SET x = 'it''s';\npsql on n2: SELECT pg_reload_conf();");
  EXPECT_EQ(QuotedIdentifier("plain_1"), "plain_1");
  EXPECT_EQ(QuotedIdentifier("Odd \"one\""), "\"Odd \"\"one\"\"\"");
  EXPECT_EQ(QuotedIdentifier("1st"), "\"1st\"");
}

}  // namespace
}  // namespace orchestra
