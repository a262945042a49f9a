// A client that writes: inserts one unique id per transaction at a given pace, and keeps on its own
// disk what it was told. Used by the TAP tests and the demo.
//
//   writer CONNINFO TABLE FIRST_ID STEP PACE_US PATIENCE_MS OUT
//
// Lines of OUT, each written at once, times in nanoseconds of CLOCK_MONOTONIC:
//   C <time> <port>                   connected; port of the server that answered
//   A <time> <id> <port> <asked at>   commit acknowledged
//   U <time> <id> <sqlstate> <text>   not acknowledged: the commit may or may not have happened
//   X <time> <sqlstate> <text>        could not connect
// Ends on SIGTERM, after the transaction in flight.
#include <fcntl.h>
#include <libpq-fe.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::milliseconds;

volatile std::sig_atomic_t stopping = 0;

struct Options {
  const char* conninfo;
  std::string table;
  std::uint64_t first_id, step;
  microseconds pace;
  milliseconds patience;  // with one statement; then the connection is given up
};

class Log {
 public:
  explicit Log(const char* path) : fd_(open(path, O_WRONLY | O_CREAT | O_APPEND, 0600)) {
    if (fd_ < 0) {
      std::perror(path);
      std::exit(2);
    }
  }
  void Line(char kind, const std::string& rest) const {
    auto now = std::chrono::nanoseconds(Clock::now().time_since_epoch()).count();
    std::string line = std::string(1, kind) + " " + std::to_string(now) + " " + rest + "\n";
    if (write(fd_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::exit(2);
  }

 private:
  int fd_;
};

std::string OneLine(const char* text) {
  std::string line = text ? text : "";
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

// What came of one transaction.
struct Outcome {
  bool acknowledged = false;
  std::string port, sqlstate = "-", text;
};

Outcome Failed(PGconn* conn, const PGresult* result) {
  Outcome outcome;
  const char* state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : nullptr;
  if (state) outcome.sqlstate = state;
  outcome.text = OneLine(result ? PQresultErrorMessage(result) : PQerrorMessage(conn));
  return outcome;
}

// All of the results have arrived, none is an error: an error may still follow the rows.
Outcome Run(PGconn* conn, const std::string& sql, Clock::time_point deadline) {
  Outcome outcome;
  if (!PQsendQuery(conn, sql.c_str())) return Failed(conn, nullptr);
  for (;;) {
    while (PQisBusy(conn)) {
      auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
      pollfd wait{PQsocket(conn), POLLIN, 0};
      if (left.count() <= 0) {
        outcome.acknowledged = false;
        outcome.text = "no answer in time";
        return outcome;
      }
      if (poll(&wait, 1, static_cast<int>(left.count())) > 0 && !PQconsumeInput(conn))
        return Failed(conn, nullptr);
    }
    PGresult* result = PQgetResult(conn);
    if (!result) return outcome;
    bool good = PQresultStatus(result) == PGRES_TUPLES_OK;
    outcome = good ? Outcome{true, PQgetvalue(result, 0, 0), "", ""} : Failed(conn, result);
    PQclear(result);
    if (!good && PQstatus(conn) == CONNECTION_BAD) return outcome;
  }
}

PGconn* Connect(const Options& options, const Log& log) {
  PGconn* conn = PQconnectdb(options.conninfo);
  if (PQstatus(conn) == CONNECTION_OK) {
    log.Line('C', PQport(conn));
    return conn;
  }
  log.Line('X', "- " + OneLine(PQerrorMessage(conn)));
  PQfinish(conn);
  return nullptr;
}

void Write(const Options& options, const Log& log) {
  PGconn* conn = nullptr;
  auto next = Clock::now();
  for (std::uint64_t id = options.first_id; !stopping;) {
    std::this_thread::sleep_until(next);
    auto asked = Clock::now();
    next = std::max(next + options.pace, asked);
    if (!conn && !(conn = Connect(options, log))) {
      next = asked + std::max<Clock::duration>(options.pace, milliseconds(10));
      continue;
    }
    auto number = std::to_string(id);
    asked = Clock::now();
    Outcome outcome = Run(conn,
                          "INSERT INTO " + options.table + " (id) VALUES (" + number +
                              ") RETURNING current_setting('port')",
                          asked + options.patience);
    id += options.step;  // an id is tried once, whatever came of it
    if (outcome.acknowledged) {
      auto at = std::chrono::nanoseconds(asked.time_since_epoch()).count();
      log.Line('A', number + " " + outcome.port + " " + std::to_string(at));
      continue;
    }
    log.Line('U', number + " " + outcome.sqlstate + " " + outcome.text);
    PQfinish(conn);
    conn = nullptr;
  }
  PQfinish(conn);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) {
    std::fprintf(stderr, "usage: writer CONNINFO TABLE FIRST_ID STEP PACE_US PATIENCE_MS OUT\n");
    return 2;
  }
  std::signal(SIGTERM, [](int) { stopping = 1; });
  std::signal(SIGPIPE, SIG_IGN);
  Options options{argv[1],
                  argv[2],
                  std::strtoull(argv[3], nullptr, 10),
                  std::strtoull(argv[4], nullptr, 10),
                  microseconds(std::atoll(argv[5])),
                  milliseconds(std::atoll(argv[6]))};
  Write(options, Log(argv[7]));
  return 0;
}
