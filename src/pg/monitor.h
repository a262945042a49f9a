// The monitor: this node's logins to every member, itself included. It decides nothing. It shows
// who can be reached (login_checks.h), records what this node did as coordinator in the tables of
// the primary, tells nodes by SQL that a new epoch is committed, and reads what this node lost as
// former primary (lost_wal.h).
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/board.h"
#include "net/pg_pool.h"
#include "pg/login_checks.h"
#include "pg/lost_wal.h"
#include "pg/record_queue.h"
#include "pg/settings.h"

namespace orchestra::pg {

class Monitor {
 public:
  // One turn; never blocks. Returns how long the caller may wait before the next one.
  Micros Turn(Micros now);
  // After a reload: what is new holds for all connections.
  void Reload();
  int fd() const { return pool_.fd(); }

 private:
  enum class Asked { kNothing, kCheck, kNudge, kRecord };
  // One member, and the connection to it: pool_.at(its index).
  struct Login {
    Member member;
    Asked asked = Asked::kNothing;
    Micros connect_at{}, check_at{}, record_at{};
    Micros backoff{};
    std::string schema;   // of the extension there, quoted; empty: none, or not known yet
    EpochId nudge_epoch;  // that it is being told, or was told
    bool nudged = false;  // it knows, or was told long enough
    Micros nudge_at{}, nudge_until{};
    std::string recording;  // key of the record that was sent last
    std::optional<Micros> logged_at;
    std::string logged;  // what was logged then
    LoginCheck check;
  };

  void LookAtBoard(Micros now);
  void MeasureLoss(Micros now);
  void KeepMembers();
  void Take(Login& login, net::PgClient& client, Micros now);
  void TakeCheck(Login& login, const net::PgOutcome& outcome, Micros now);
  void TakeNudge(Login& login, const net::PgOutcome& outcome, Micros now);
  void TakeRecord(Login& login, const net::PgOutcome& outcome, Micros now);
  void Lost(Login& login, const std::string& why, Micros now);
  void Ask(Login& login, net::PgClient& client, Micros now);
  bool AskRecord(Login& login, net::PgClient& client, Micros now);
  bool AskNudge(Login& login, net::PgClient& client, Micros now);
  void Connect(Login& login, net::PgClient& client, Micros now);
  bool IsPrimary(const Login& login) const { return board_->value->primary == login.member.id; }
  void Publish();

  net::PgPool pool_;
  std::vector<Login> logins_;
  std::optional<Board> board_;  // of a configured node, else nothing
  Micros board_at_{};
  RecordQueue records_;
  LostWal lost_;
  bool measuring_ = false;  // this node was the primary: lost_ is at work
  Settings settings_ = ReadSettings();
  bool changed_ = false;  // some check since the last Publish
};

}  // namespace orchestra::pg
