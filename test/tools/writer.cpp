// A client that writes: inserts one unique id per transaction at a given pace, and keeps on its own
// disk what it was told. Used by the TAP tests and the demo.
//
//   writer CONNINFO TABLE FIRST_ID STEP PACE_US PATIENCE_MS OUT [MODE]
//
// MODE is what one turn does:
//   plain      INSERT of one id (when nothing else is said)
//   two_phase  INSERT of one id, PREPARE TRANSACTION 'TABLE:ID', COMMIT PREPARED
//   procedure  CALL TABLE_batch(FIRST, STEP, COUNT), which commits each of COUNT ids by itself;
//              what the client is told, it is told of all of them
// Lines of OUT, each written at once, times in nanoseconds of CLOCK_MONOTONIC:
//   C <time> <port>                   connected; port of the server that answered
//   P <time> <id> <port> <asked at>   PREPARE TRANSACTION acknowledged
//   A <time> <id> <port> <asked at>   commit acknowledged
//   U <time> <id> <sqlstate> <text>   not acknowledged: may or may not have happened, from this id
//   on X <time> <sqlstate> <text>        could not connect
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
#include <string_view>
#include <thread>
#include <vector>

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
  std::string_view mode;
};
constexpr std::uint64_t kBatch = 5;  // ids of one CALL

class Log {
 public:
  explicit Log(const char* path) : fd_(open(path, O_WRONLY | O_CREAT | O_APPEND, 0600)) {
    if (fd_ < 0) {
      std::perror(path);
      std::exit(2);
    }
  }
  void Line(char kind, const std::string& rest, Clock::time_point when = Clock::now()) const {
    auto at = std::chrono::nanoseconds(when.time_since_epoch()).count();
    std::string line = std::string(1, kind) + " " + std::to_string(at) + " " + rest + "\n";
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

// One thing to be said to the server.
struct Step {
  char told;  // kind of the line once it is acknowledged
  std::string sql;
  std::string_view tag;  // of its last command, when that did what it was told to
};

// What is said in one turn.
std::vector<Step> StepsOf(const Options& options, std::uint64_t id) {
  const std::string number = std::to_string(id);
  const std::string insert = "INSERT INTO " + options.table + " (id) VALUES (" + number +
                             ") RETURNING current_setting('port')";
  if (options.mode == "two_phase") {
    const std::string name = " '" + options.table + ":" + number + "'";
    return {{'P', "BEGIN; " + insert + "; PREPARE TRANSACTION" + name, "PREPARE TRANSACTION"},
            {'A', "COMMIT PREPARED" + name, "COMMIT PREPARED"}};
  }
  if (options.mode == "procedure")
    return {{'A',
             "CALL " + options.table + "_batch(" + number + ", " + std::to_string(options.step) +
                 ", " + std::to_string(kBatch) + ")",
             "CALL"}};
  return {{'A', insert, "INSERT 0 1"}};
}

// Acknowledged once all of the results have arrived, none is an error, and the last one is what was
// asked for: an error may still follow the rows, and a failed transaction answers with ROLLBACK.
Outcome Run(PGconn* conn, const Step& step, Clock::time_point deadline) {
  Outcome outcome;
  if (!PQsendQuery(conn, step.sql.c_str())) return Failed(conn, nullptr);
  bool failed = false;
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
    const auto status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
      outcome = Failed(conn, result);
      failed = true;
    } else if (!failed) {
      if (PQntuples(result) > 0) outcome.port = PQgetvalue(result, 0, 0);
      outcome.text = PQcmdStatus(result);
      outcome.acknowledged = outcome.text == step.tag;
    }
    PQclear(result);
    if (failed && PQstatus(conn) == CONNECTION_BAD) return outcome;
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

// One turn. False when not all of it was acknowledged; the connection is of no use then.
bool Turn(PGconn* conn, const Options& options, const Log& log, std::uint64_t first,
          std::uint64_t count) {
  std::string port;
  for (const Step& step : StepsOf(options, first)) {
    const auto asked = Clock::now();
    const Outcome outcome = Run(conn, step, asked + options.patience);
    if (!outcome.acknowledged) {
      log.Line('U', std::to_string(first) + " " + outcome.sqlstate + " " + outcome.text);
      return false;
    }
    if (!outcome.port.empty()) port = outcome.port;
    const auto at = std::chrono::nanoseconds(asked.time_since_epoch()).count();
    const auto told = Clock::now();
    for (std::uint64_t i = 0; i < count; ++i)
      log.Line(step.told,
               std::to_string(first + i * options.step) + " " + port + " " + std::to_string(at),
               told);
  }
  return true;
}

void Write(const Options& options, const Log& log) {
  PGconn* conn = nullptr;
  auto next = Clock::now();
  const std::uint64_t count = options.mode == "procedure" ? kBatch : 1;
  for (std::uint64_t id = options.first_id; !stopping;) {
    std::this_thread::sleep_until(next);
    const auto now = Clock::now();
    next = std::max(next + options.pace, now);
    if (!conn && !(conn = Connect(options, log))) {
      next = now + std::max<Clock::duration>(options.pace, milliseconds(10));
      continue;
    }
    const bool acknowledged = Turn(conn, options, log, id, count);
    id += options.step * count;  // an id is tried once, whatever came of it
    if (acknowledged) continue;
    PQfinish(conn);
    conn = nullptr;
  }
  PQfinish(conn);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc == 9 ? argv[8] : "plain";
  if (argc < 8 || argc > 9 || (mode != "plain" && mode != "two_phase" && mode != "procedure")) {
    std::fprintf(stderr,
                 "usage: writer CONNINFO TABLE FIRST_ID STEP PACE_US PATIENCE_MS OUT "
                 "[plain|two_phase|procedure]\n");
    return 2;
  }
  std::signal(SIGTERM, [](int) { stopping = 1; });
  std::signal(SIGPIPE, SIG_IGN);
  Options options{argv[1],
                  argv[2],
                  std::strtoull(argv[3], nullptr, 10),
                  std::strtoull(argv[4], nullptr, 10),
                  microseconds(std::atoll(argv[5])),
                  milliseconds(std::atoll(argv[6])),
                  mode};
  Write(options, Log(argv[7]));
  return 0;
}
