// The asking node logs in to every node as its monitor does, and asks each in turn for its facts;
// for these each node tries to log in to all the others, one at a time, so that the tests take one
// WAL sender of a server at most. Nothing here runs in a worker.
#include "pg/sql_check.h"

#include <pwd.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/forming.h"
#include "core/node_rows.h"
#include "core/preflight.h"
#include "core/preflight_login.h"
#include "net/conninfo.h"
#include "net/pg_pool.h"
#include "net/secret.h"
#include "pg/guard.h"
#include "pg/settings.h"
#include "pg/sql_common.h"
#include "pg/version.h"
#include "pg/worker.h"

namespace orchestra::pg {
namespace {

using std::chrono::seconds;
using State = net::PgClient::State;

constexpr Micros kConnectTimeout = seconds(2);
constexpr Micros kQueryTimeout = seconds(2);
constexpr Micros kFactsTimeout = kConnectTimeout + seconds(3);
constexpr const char* kClientError = "08001";  // what libpq itself complains of
constexpr std::size_t kShownErrors = 8;

constexpr const char* kSchemaQuery = R"(
SELECT (SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension e
          JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'orchestra'),
       (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint)";

std::string TextOf(const net::PgError& error) {
  return (error.sqlstate.empty() ? kClientError : error.sqlstate) + ": " + error.text;
}

// Until none of the connections is busy; each has its own deadline.
void Settle(net::PgPool& pool) {
  pool.Watch();
  for (;;) {
    pool.Poll(RawNow());
    bool busy = false;
    for (std::size_t i = 0; i < pool.size(); i++) busy |= pool.at(i).Deadline().has_value();
    if (!busy) return;
    const long wait = static_cast<long>(pool.NextTimeout(RawNow()).count() / 1000) + 1;
    Call([&] {
      WaitLatchOrSocket(MyLatch,
                        WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
                        pool.fd(), wait, PG_WAIT_EXTENSION);
      ResetLatch(MyLatch);
      CHECK_FOR_INTERRUPTS();
    });
  }
}

// How the monitor of this node logs in.
net::ConninfoResult RoleConninfo(const Settings& settings, const Address& to) {
  return net::RoleConninfo(settings.conninfo, to, kCoordinatorRole, settings.database,
                           "orchestra check");
}

// How the WAL receiver of this node connects.
net::ConninfoResult ReceiverConninfo(const Address& to) {
  net::ConninfoResult result = net::PeerConninfo(PrimaryConnInfo, to, {},
                                                 {{"dbname", "replication"},
                                                  {"replication", "true"},
                                                  {"application_name", "orchestra check"}});
  if (!result.error.empty()) result.error = "primary_conninfo is not a valid connection string";
  return result;
}

void Start(net::PgClient& client, const net::ConninfoResult& conninfo, std::string* error) {
  if (conninfo.error.empty())
    client.Start(conninfo.conninfo, RawNow(), kConnectTimeout);
  else
    *error = std::string(kClientError) + ": " + conninfo.error;
}

// ---------------------------------------------------------------- what this node tells

// What of a connection string other nodes may know, and what a fix needs.
void AddConninfo(const std::string& text, const std::string& prefix, const char* default_user,
                 std::vector<Fact>* facts) {
  static const std::set<std::string> kOwn = {"host", "hostaddr", "port", "application_name"};
  static const std::set<std::string> kSecret = {"password", "sslpassword"};
  std::string user = default_user, passfile, shown;
  bool secret = false;
  for (const auto& [keyword, value] : net::ParseConninfo(text).value_or(net::ConninfoOptions{})) {
    if (keyword == "user") user = value;
    if (keyword == "passfile") passfile = value;
    secret |= kSecret.contains(keyword);
    if (!kOwn.contains(keyword) && !kSecret.contains(keyword))
      shown += (shown.empty() ? "" : " ") + keyword + "=" + net::QuotedValue(value);
  }
  facts->push_back({"node", prefix + "user", user});
  facts->push_back({"node", prefix + "passfile", passfile});
  if (prefix.empty()) return;
  facts->push_back({"node", "conninfo", shown});
  facts->push_back({"node", "conninfo_password", secret ? "t" : "f"});
}

void AddDisk(const std::string& directory, std::vector<Fact>* facts) {
  struct statvfs found {};
  if (statvfs(directory.c_str(), &found) != 0) return;
  facts->push_back({"disk", directory,
                    std::to_string(std::uint64_t{found.f_bavail} * found.f_frsize) + " " +
                        std::to_string(std::uint64_t{found.f_blocks} * found.f_frsize)});
}

const BoardNode* FindOn(const Board& board, const std::string& name) {
  const auto found =
      std::find_if(board.nodes.begin(), board.nodes.end(), [&](const BoardNode& node) {
        return node.member.name == name && node.self == (name == board.node_name);
      });
  return found == board.nodes.end() ? nullptr : &*found;
}

bool IsHeard(const Board& board, const BoardNode& node) {
  const auto age = AgeOf(board, node, RawNow());
  return age && *age <= kHelloFreshFor;
}

void AddSelf(const Board& board, const Settings& settings, std::vector<Fact>* facts) {
  const auto add = [&](const char* name, const std::string& value) {
    facts->push_back({"node", name, value});
  };
  add("name", settings.node_name);
  add("version", kVersion);
  add("system_identifier", std::to_string(GetSystemIdentifier()));
  add("worker_problem", WorkerProblems());
  for (const BoardNode& node : board.nodes)
    if (!node.self && node.member.name == settings.node_name &&
        node.member.server != settings.server && IsHeard(board, node))
      add("namesake", net::ToText(node.member.server));
  AddConninfo(settings.conninfo, "", kCoordinatorRole, facts);
  const passwd* user = getpwuid(geteuid());  // libpq's default
  if (PrimaryConnInfo[0] != '\0')
    AddConninfo(PrimaryConnInfo, "replication_", user ? user->pw_name : "", facts);
  AddDisk(DataDir, facts);
  AddDisk(std::string(DataDir) + "/pg_wal", facts);
}

// ---- Whom to log in to is for a node of this cluster to say: any other address could be
// anybody's, who would be shown this node's credentials. So the list of peers comes with a MAC by
// the secret.

struct Peer {
  std::string name;
  Address server;
};

std::string PeerText(const NodeFacts& node) {
  return node.name + " " + std::to_string(node.server->port) + " " + node.server->host;
}

std::optional<Peer> PeerFromText(const std::string& text) {
  const std::size_t port = text.find(' ');
  const std::size_t host = port == std::string::npos ? port : text.find(' ', port + 1);
  if (host == std::string::npos) return std::nullopt;
  const int number = std::atoi(text.c_str() + port);
  return Peer{text.substr(0, port), {text.substr(host + 1), static_cast<std::uint16_t>(number)}};
}

std::string Signed(const std::vector<std::string>& peers) {
  std::string text = "orchestra preflight 1";
  for (const std::string& peer : peers) text += '\n' + peer;
  return text;
}

// The secret, or why there is none.
std::variant<net::Secret, std::string> ReadSecret() {
  if (SecretFile().empty()) return "orchestra.secret_file is not set";
  return net::LoadSecret(SecretFile());
}

// As bytea is written; empty when there is no secret, which the nodes tell as well.
std::string ProofOf(const std::vector<std::string>& peers) {
  const auto secret = ReadSecret();
  if (!std::holds_alternative<net::Secret>(secret)) return "";
  net::Mac mac;
  if (!net::ComputeMac(std::get<net::Secret>(secret).bytes(), Signed(peers), &mac))
    throw Fail(ERRCODE_INTERNAL_ERROR, "HMAC could not be computed");
  std::string proof = "\\x";
  for (const unsigned char byte : mac) {
    proof += "0123456789abcdef"[byte >> 4];
    proof += "0123456789abcdef"[byte & 15];
  }
  return proof;
}

// Why this node's secret is not the asking node's, or "".
std::string SecretProblem(const std::vector<std::string>& peers, std::string_view proof) {
  const auto secret = ReadSecret();
  if (const auto* why = std::get_if<std::string>(&secret)) return *why;
  if (net::CheckMac(std::get<net::Secret>(secret).bytes(), Signed(peers), proof)) return "";
  return proof.empty() ? "the asking node has none" : "it is not that of the asking node";
}

void AddLogins(const Settings& settings, const std::vector<std::string>& peers,
               std::vector<Fact>* facts) {
  struct Try {
    std::string kind;
    Peer peer;
    std::string result;
  };
  std::vector<Try> tries;
  for (const std::string& text : peers) {
    const auto peer = PeerFromText(text);
    if (!peer) continue;
    tries.push_back({"login", *peer, ""});
    if (peer->name != settings.node_name && PrimaryConnInfo[0] != '\0')
      tries.push_back({"replication", *peer, ""});
  }
  net::PgPool pool;
  pool.Resize(tries.size());
  for (std::size_t i = 0; i < tries.size(); i++)
    Start(pool.at(i),
          tries[i].kind == "login" ? RoleConninfo(settings, tries[i].peer.server)
                                   : ReceiverConninfo(tries[i].peer.server),
          &tries[i].result);
  Settle(pool);
  for (std::size_t i = 0; i < tries.size(); i++) {
    std::string& result = tries[i].result;
    if (result.empty())
      result = pool.at(i).state() == State::kReady ? "ok" : TextOf(pool.at(i).error());
    facts->push_back({tries[i].kind, tries[i].peer.name, result});
  }
}

std::vector<Row> NodeFactRows(FunctionCallInfo call) {
  const std::vector<std::string> peers = NamesArgument(call, 0);
  if (peers.size() > kMaxMembers)
    throw Fail(ERRCODE_INVALID_PARAMETER_VALUE, "too many peers are named");
  const Settings settings = ReadSettings();
  std::vector<Fact> facts;
  AddSelf(CurrentBoard(), settings, &facts);
  const bytea* proof = Call([call] { return DatumGetByteaPP(call->args[1].value); });
  const std::string problem = SecretProblem(
      peers, {VARDATA_ANY(proof), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(proof))});
  facts.push_back({"node", "secret_problem", problem});
  if (problem.empty()) AddLogins(settings, peers, &facts);
  std::vector<Row> rows;
  for (const Fact& fact : facts) rows.push_back({fact.kind, fact.name, fact.value});
  return rows;
}

// ---------------------------------------------------------------- what the asking node does

// Everybody on the board who has data, or those that are named.
std::vector<NodeFacts> NodesToCheck(const Board& board,
                                    const std::optional<std::vector<std::string>>& names) {
  std::vector<std::string> wanted = names.value_or(std::vector<std::string>{});
  if (!names)
    for (const BoardNode& node : board.nodes)
      if (node.member.kind == MemberKind::kData && FindOn(board, node.member.name) == &node)
        wanted.push_back(node.member.name);
  std::vector<NodeFacts> nodes;
  for (const std::string& name : wanted) {
    NodeFacts facts;
    facts.name = name;
    if (const BoardNode* node = FindOn(board, name)) {
      facts.server = node->member.server;
      facts.peer = node->member.peer;
      facts.heard = node->self || IsHeard(board, *node);
    }
    nodes.push_back(std::move(facts));
  }
  return nodes;
}

// What the fix of a failed login needs to know of the asking node, which may be the failed one.
void AddOwn(const Settings& settings, NodeFacts& node) {
  AddConninfo(settings.conninfo, "", kCoordinatorRole, &node.facts);
  node.facts.push_back({"setting", "hba_file", HbaFileName});
  node.facts.push_back({"node", "in_recovery", RecoveryInProgress() ? "t" : "f"});
}

// Connects to all at once.
void Connect(net::PgPool& pool, const Settings& settings, std::vector<NodeFacts>& nodes) {
  pool.Resize(nodes.size());
  for (std::size_t i = 0; i < nodes.size(); i++) {
    std::string error;
    if (nodes[i].server) Start(pool.at(i), RoleConninfo(settings, *nodes[i].server), &error);
    if (!error.empty()) nodes[i].failure = error;
  }
  Settle(pool);
  for (std::size_t i = 0; i < nodes.size(); i++)
    if (pool.at(i).state() == State::kFailed) nodes[i].failure = TextOf(pool.at(i).error());
}

// The outcome of one query; nothing and a failure when there is none.
std::optional<net::PgOutcome> Ask(net::PgPool& pool, std::size_t i, NodeFacts& node,
                                  const std::string& sql, const net::PgParams& params,
                                  Micros timeout) {
  pool.at(i).Query(sql, params, RawNow(), timeout);
  Settle(pool);
  std::optional<net::PgOutcome> outcome = pool.at(i).TakeOutcome();
  if (outcome && outcome->ok()) return outcome;
  node.failure = TextOf(outcome ? *outcome->error : pool.at(i).error());
  return std::nullopt;
}

// Where its extension is. Its clock was read somewhere between the question and the answer.
std::string AskSchema(net::PgPool& pool, std::size_t i, NodeFacts& node) {
  const std::int64_t before = UnixMicros();
  const auto outcome = Ask(pool, i, node, kSchemaQuery, {}, kQueryTimeout);
  const std::int64_t after = UnixMicros();
  if (!outcome || outcome->rows.size() != 1 || outcome->rows[0].size() != 2) return "";
  const std::int64_t its = std::strtoll(outcome->rows[0][1].value_or("0").c_str(), nullptr, 10);
  node.clock_uncertainty = Micros((after - before) / 2);
  node.clock_ahead = Micros(its - (before + after) / 2);
  if (!outcome->rows[0][0])
    node.failure = std::string("42704: extension \"orchestra\" does not exist in database \"") +
                   Database() + "\"";
  return outcome->rows[0][0].value_or("");
}

void AskFacts(net::PgPool& pool, std::size_t i, NodeFacts& node, const net::PgParams& peers) {
  const std::string schema = AskSchema(pool, i, node);
  if (schema.empty()) return;
  const auto outcome =
      Ask(pool, i, node, "SELECT kind, name, value FROM " + schema + ".orchestra_facts($1, $2)",
          peers, kFactsTimeout);
  if (!outcome) return;
  for (const net::PgRow& row : outcome->rows)
    if (row.size() == 3)
      node.facts.push_back({row[0].value_or(""), row[1].value_or(""), row[2].value_or("")});
}

std::vector<CheckRow> Check(const std::optional<std::vector<std::string>>& names) {
  const Board board = CurrentBoard();
  const Settings settings = ReadSettings();
  PreflightInput input{board.node_name, settings.database, NodesToCheck(board, names)};
  if (input.nodes.size() > kMaxMembers)
    throw Fail(ERRCODE_INVALID_PARAMETER_VALUE, "too many nodes are named");
  for (NodeFacts& node : input.nodes)
    if (node.name == input.self) AddOwn(settings, node);
  net::PgPool pool;
  Connect(pool, settings, input.nodes);
  // Who cannot be reached from here would only cost the others time.
  std::vector<std::string> peers;
  for (const NodeFacts& node : input.nodes)
    if (node.server && !node.failure) peers.push_back(PeerText(node));
  const net::PgParams question = {ArrayText(peers), ProofOf(peers)};
  for (std::size_t i = 0; i < input.nodes.size(); i++) {
    NodeFacts& node = input.nodes[i];
    if (!node.server) continue;
    if (!node.failure) AskFacts(pool, i, node, question);
    pool.at(i).Close();
  }
  return Preflight(input);
}

Cell TextOrNull(const std::string& text) { return text.empty() ? Cell() : Cell(text); }

std::vector<Row> CheckRows(FunctionCallInfo call) {
  std::optional<std::vector<std::string>> names;
  if (!call->args[0].isnull) names = NamesArgument(call, 0);
  std::vector<Row> rows;
  for (const CheckRow& row : Check(names))
    rows.push_back({NameOf(row.severity), TextOrNull(row.node), TextOrNull(row.peer), row.item,
                    row.found, TextOrNull(row.fix)});
  return rows;
}

}  // namespace

void RefuseOnErrors(const std::vector<std::string>& nodes) {
  std::string detail;
  std::size_t count = 0;
  for (const CheckRow& row : Check(nodes)) {
    if (row.severity != Severity::kError || ++count > kShownErrors) continue;
    detail += row.node + (row.peer.empty() ? "" : " to " + row.peer) +
              (row.node.empty() ? "" : ", ") + row.item + ": " + row.found + "\n";
  }
  if (count == 0) return;
  if (count > kShownErrors) detail += "... and " + std::to_string(count - kShownErrors) + " more\n";
  detail.pop_back();
  throw Fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
             "the nodes are not fit for a cluster: " + std::to_string(count) +
                 (count == 1 ? " check failed" : " checks failed"),
             detail,
             "Nothing was changed. SELECT * FROM orchestra_check(" +
                 QuotedLiteral(ArrayText(nodes)) +
                 ") WHERE severity = 'error' tells the line to add, and where.");
}

}  // namespace orchestra::pg

using namespace orchestra::pg;

extern "C" {

PG_FUNCTION_INFO_V1(orchestra_check);
Datum orchestra_check(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnRows(fcinfo, CheckRows(fcinfo)); });
}

PG_FUNCTION_INFO_V1(orchestra_node_facts);
Datum orchestra_node_facts(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnRows(fcinfo, NodeFactRows(fcinfo)); });
}

}  // extern "C"
