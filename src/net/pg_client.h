// One asynchronous libpq connection. Never blocks: no DNS, own deadlines for connecting and for
// each query. When anything fails the connection is closed and the owner starts again when it
// likes.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/types.h"

struct pg_conn;
struct pg_result;

namespace orchestra::net {

using PgRow = std::vector<std::optional<std::string>>;  // nullopt: NULL
using PgParams = std::vector<std::optional<std::string>>;

struct PgError {
  std::string sqlstate;  // empty: not from a server
  std::string text;      // one line, never any part of a password
};

struct PgOutcome {
  std::vector<PgRow> rows;
  std::optional<PgError> error;
  bool ok() const { return !error.has_value(); }
};

inline constexpr std::size_t kMaxPgResultBytes = 1024 * 1024;

class PgClient {
 public:
  enum class State : std::uint8_t {
    kClosed,  // not started, or closed by the owner
    kConnecting,
    kReady,  // connected, no query running
    kBusy,   // a query is running
    kFailed  // see error(); Start begins anew
  };

  PgClient() = default;
  ~PgClient() { Close(); }
  PgClient(const PgClient&) = delete;
  PgClient& operator=(const PgClient&) = delete;

  // Begins to connect. `conninfo` must name an IP literal (host or hostaddr) or a socket directory.
  // false: state is kFailed already.
  bool Start(const std::string& conninfo, Micros now, Micros timeout);
  // Begins a query (one statement, text format). Only while kReady; false: it was not, or the
  // connection has failed. A query that outlives its deadline costs the connection; the server may
  // go on with it, so set statement_timeout in conninfo's options as well.
  bool Query(const std::string& sql, const PgParams& params, Micros now, Micros timeout);
  // Moves on as far as possible without waiting. Call it on readiness and at Deadline().
  State Poll(Micros now);
  void Close();

  State state() const { return state_; }
  const PgError& error() const { return error_; }  // of the connection, while kFailed
  // Outcome of the last query, once. A server's error leaves the connection usable (kReady); when
  // the connection fails while kBusy, its error is the outcome.
  std::optional<PgOutcome> TakeOutcome();

  // For the owner's epoll set: both may change with every call to Start, Query and Poll, and a new
  // socket may have an old one's number.
  int fd() const;                          // -1: none
  std::uint32_t events() const;            // EPOLLIN | EPOLLOUT
  std::optional<Micros> Deadline() const;  // while kConnecting or kBusy

 private:
  void Fail(PgError error);
  void FailConnection();  // with what libpq says
  void PollConnect();
  void PollQuery();
  bool Collect(pg_result* result);
  std::string Redacted(std::string text) const;

  pg_conn* conn_ = nullptr;
  State state_ = State::kClosed;
  std::uint32_t events_ = 0;
  Micros deadline_{}, allowed_{};
  PgError error_;
  PgOutcome collecting_;
  std::size_t collected_bytes_ = 0;
  std::optional<PgOutcome> outcome_;
};

}  // namespace orchestra::net
