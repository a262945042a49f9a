#include "pg/monitor.h"

#include "net/conninfo.h"
#include "pg/board_io.h"
#include "pg/guard.h"
#include "pg/note_log.h"
#include "pg/shared.h"
#include "pg/worker.h"

namespace orchestra::pg {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Micros kBoardPeriod = milliseconds(200);
constexpr Micros kCheckPeriod = seconds(1);
constexpr Micros kConnectTimeout = seconds(2);
constexpr Micros kQueryTimeout = seconds(3);
constexpr Micros kRetry = seconds(1);
constexpr Micros kLongestBackoff = seconds(5);
constexpr Micros kNudgeFor = seconds(30);
constexpr Micros kLogPeriod = std::chrono::minutes(1);

// One row: where the extension is, and what a human wants to know of the node's replication.
constexpr const char* kCheckQuery = R"(
SELECT (SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension e
          JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'orchestra'),
       CASE WHEN pg_catalog.pg_is_in_recovery()
       THEN coalesce((SELECT 'standby, receiver ' || r.status || ' from ' || r.sender_host || ':'
                             || r.sender_port || ', ' || pg_catalog.pg_wal_lsn_diff(
                                pg_catalog.pg_last_wal_receive_lsn(),
                                pg_catalog.pg_last_wal_replay_lsn()) || ' bytes to replay'
                        FROM pg_catalog.pg_stat_wal_receiver r), 'standby without WAL receiver')
       ELSE coalesce((SELECT 'primary, ' || pg_catalog.string_agg(r.application_name || ' '
                             || r.state || ' ' || r.sync_state, ', ' ORDER BY r.application_name)
                        FROM pg_catalog.pg_stat_replication r), 'primary, nobody streams') END)";

std::string CallOf(const std::string& schema, const Record& record) {
  std::string sql = "SELECT " + schema + "." + record.function + "(";
  for (std::size_t i = 1; i <= record.params.size(); i++)
    sql += (i > 1 ? ", $" : "$") + std::to_string(i);
  return sql + ")";
}

// The server refused the row itself: it would do so for ever.
bool IsHopeless(const net::PgError& error) { return error.sqlstate.substr(0, 2) == "22"; }

void Log(const char* event, const std::string& node, const std::string& reason,
         const std::string& next) {
  LogLine(LOG, std::string("orchestra: ") + event + " node=" + node + " reason=\"" + reason +
                   "\" next=\"" + next + "\"");
}

}  // namespace

Micros Monitor::Turn(Micros now) {
  pool_.Poll(now);
  if (now - board_at_ >= kBoardPeriod) LookAtBoard(now);
  MeasureLoss(now);
  for (std::size_t i = 0; i < logins_.size(); i++) {
    Take(logins_[i], pool_.at(i), now);
    Ask(logins_[i], pool_.at(i), now);
  }
  pool_.Watch();
  if (changed_) Publish();
  const Micros timeout = std::min(pool_.NextTimeout(now), kBoardPeriod);
  return measuring_ ? std::clamp(lost_.next_at() - now, Micros{0}, timeout) : timeout;
}

void Monitor::Reload() {
  Settings now = ReadSettings();
  if (now == settings_) return;
  settings_ = std::move(now);
  logins_.clear();  // KeepMembers begins anew
}

void Monitor::LookAtBoard(Micros now) {
  board_at_ = now;
  board_ = ReadBoard();
  if (board_ && (board_->phase != Phase::kConfigured || !board_->value)) board_.reset();
  KeepMembers();
  if (board_) records_.Collect(board_->node_name, *board_->value);
}

// What this node committed and the cluster went on without, if it was the primary and is none.
void Monitor::MeasureLoss(Micros now) {
  const bool former = board_ && board_->value->primary != board_->self && !RecoveryInProgress();
  if (!former) {
    if (std::exchange(measuring_, false)) lost_ = LostWal{};
    return;
  }
  measuring_ = true;
  const std::optional<Loss> loss = lost_.Turn(now);
  if (!loss) return;
  const Note note = LossNote(*loss, board_->self);
  LogLine(LOG, NoteLine(note, board_->node_name));
  records_.Add(RecordOf(*loss, note, board_->node_name));
}

// The connections are those of the committed members, in their order.
void Monitor::KeepMembers() {
  static const std::vector<Member> kNobody;
  const std::vector<Member>& members = board_ ? board_->value->members : kNobody;
  const bool same =
      std::equal(members.begin(), members.end(), logins_.begin(), logins_.end(),
                 [](const Member& member, const Login& login) {
                   return member.id == login.member.id && member.server == login.member.server;
                 });
  if (same) return;
  pool_.Resize(0);
  pool_.Resize(members.size());
  logins_.assign(members.size(), Login{});
  for (std::size_t i = 0; i < members.size(); i++) {
    logins_[i].member = members[i];
    logins_[i].check.node = members[i].id;
  }
  changed_ = true;
}

void Monitor::Take(Login& login, net::PgClient& client, Micros now) {
  const Asked asked = std::exchange(
      login.asked, client.state() == net::PgClient::State::kBusy ? login.asked : Asked::kNothing);
  if (const auto outcome = client.TakeOutcome()) {
    if (asked == Asked::kCheck) TakeCheck(login, *outcome, now);
    if (asked == Asked::kNudge) TakeNudge(login, *outcome, now);
    if (asked == Asked::kRecord) TakeRecord(login, *outcome, now);
  }
  if (client.state() == net::PgClient::State::kFailed) {
    Lost(login, client.error().text, now);
    client.Close();
  }
}

void Monitor::TakeCheck(Login& login, const net::PgOutcome& outcome, Micros now) {
  changed_ = true;
  const bool ok = outcome.ok() && outcome.rows.size() == 1 && outcome.rows[0].size() == 2;
  login.check.reachable = ok;
  login.check.checked_at = now;
  if (ok) {
    login.backoff = Micros{};
    login.schema = outcome.rows[0][0].value_or("");
    login.check.text = outcome.rows[0][1].value_or("");
  } else {
    login.check.text = outcome.ok() ? "unexpected answer" : outcome.error->text;
  }
}

void Monitor::TakeNudge(Login& login, const net::PgOutcome& outcome, Micros now) {
  login.nudge_at = now + kRetry;
  if (!outcome.ok() && now < login.nudge_until) return;
  login.nudged = true;
  if (outcome.ok()) return;
  Log("nudge_failed", login.member.name, outcome.error->text, "the node acts by itself");
}

void Monitor::TakeRecord(Login& login, const net::PgOutcome& outcome, Micros now) {
  if (outcome.ok() || IsHopeless(*outcome.error)) records_.Done(login.recording);
  if (outcome.ok()) return;
  login.record_at = now + kRetry;
  if (login.logged_at && now - *login.logged_at < kLogPeriod) return;
  login.logged_at = now;
  Log("record_failed", login.member.name, outcome.error->text,
      std::to_string(records_.size()) + " records wait, " + std::to_string(records_.dropped()) +
          " dropped");
}

void Monitor::Lost(Login& login, const std::string& why, Micros now) {
  changed_ = true;
  login.asked = Asked::kNothing;
  // A connection that worked until now breaks for many reasons; only trying again tells.
  const bool try_at_once = std::exchange(login.check.reachable, false);
  login.check.checked_at = now;
  login.check.text = why;
  login.backoff =
      try_at_once ? Micros{} : std::min(std::max(2 * login.backoff, kRetry), kLongestBackoff);
  login.connect_at = now + login.backoff;
  const bool said = login.logged_at && now - *login.logged_at < kLogPeriod && login.logged == why;
  if (try_at_once || said) return;
  login.logged_at = now;
  login.logged = why;
  Log("login_failed", login.member.name, why, "try again");
}

void Monitor::Ask(Login& login, net::PgClient& client, Micros now) {
  if (!board_) return;
  if (client.state() == net::PgClient::State::kClosed && now >= login.connect_at) {
    Connect(login, client, now);
    return;
  }
  if (client.state() != net::PgClient::State::kReady) return;
  if (AskRecord(login, client, now) || AskNudge(login, client, now)) return;
  if (now < login.check_at) return;
  login.check_at = now + kCheckPeriod;
  if (client.Query(kCheckQuery, {}, now, kQueryTimeout)) login.asked = Asked::kCheck;
}

bool Monitor::AskRecord(Login& login, net::PgClient& client, Micros now) {
  if (!IsPrimary(login) || !board_->value->active || records_.empty()) return false;
  if (login.schema.empty() || now < login.record_at) return false;
  const Record& record = records_.Front();
  if (client.Query(CallOf(login.schema, record), record.params, now, kQueryTimeout)) {
    login.asked = Asked::kRecord;
    login.recording = record.key();
  }
  return true;
}

// Only a help: each node performs by itself what it learns from its peers.
bool Monitor::AskNudge(Login& login, net::PgClient& client, Micros now) {
  if (!board_->is_coordinator || login.schema.empty()) return false;
  const EpochId epoch = board_->value->epoch;
  if (login.nudge_epoch != epoch) {
    login.nudge_epoch = epoch;
    login.nudged = false;
    login.nudge_at = now;
    login.nudge_until = now + kNudgeFor;
  }
  if (login.nudged || now < login.nudge_at) return false;
  const char* function = IsPrimary(login) ? ".orchestra_promote($1)" : ".orchestra_repoint($1)";
  const std::string sql = "SELECT " + login.schema + function;
  if (client.Query(sql, {ToText(epoch)}, now, kQueryTimeout)) login.asked = Asked::kNudge;
  return true;
}

void Monitor::Connect(Login& login, net::PgClient& client, Micros now) {
  const net::ConninfoResult result =
      net::RoleConninfo(settings_.conninfo, login.member.server, kCoordinatorRole,
                        settings_.database, "orchestra " + settings_.node_name);
  if (!result.error.empty()) {
    Lost(login, result.error, now);
    return;
  }
  login.check_at = now;
  client.Start(result.conninfo, now, kConnectTimeout);
}

void Monitor::Publish() {
  changed_ = false;
  std::vector<LoginCheck> checks;
  for (const Login& login : logins_) {
    if (login.check.checked_at != Micros{}) checks.push_back(login.check);
  }
  PublishLoginChecks(checks);
}

}  // namespace orchestra::pg

extern "C" PGDLLEXPORT void orchestra_monitor_main(Datum) {
  using namespace orchestra::pg;
  WorkerBoundary("orchestra monitor", [] {
    StartWorker(&shared->workers.monitor_pid, AtExit::kNothing);
    Monitor monitor;
    WaitSet wait;
    wait.Watch(monitor.fd());
    while (!StopRequested()) {
      if (TakeReload()) monitor.Reload();
      wait.Wait(monitor.Turn(ReadClock(CLOCK_MONOTONIC_RAW)));
    }
  });
  proc_exit(1);
}
