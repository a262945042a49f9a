#include "net/pg_client.h"

#include <libpq-fe.h>
#include <sys/epoll.h>

#include <algorithm>
#include <memory>

#include "net/socket.h"

namespace orchestra::net {

namespace {

struct FreeOptions {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};
using Options = std::unique_ptr<PQconninfoOption, FreeOptions>;

struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, ClearResult>;

// Value of one option, or empty.
std::string Get(const Options& options, const char* keyword) {
  for (const PQconninfoOption* option = options.get(); option->keyword; ++option)
    if (std::string(keyword) == option->keyword) return option->val ? option->val : "";
  return {};
}

struct Target {
  std::vector<const char*> keywords, values;  // null-terminated, as PQconnectStartParams wants them
  std::string hostaddr;
  std::string error;  // not empty: refused
};

// Connecting must never look a name up, so the address must be an IP literal or a directory.
Target Aim(const Options& options) {
  Target target;
  const std::string host = Get(options, "host");
  target.hostaddr = Get(options, "hostaddr");
  const bool directory = !host.empty() && (host[0] == '/' || host[0] == '@');
  if (target.hostaddr.empty() && IsIpLiteral(host)) target.hostaddr = host;
  if (host.empty() && target.hostaddr.empty())
    target.error = "conninfo names no host; give an IP address or a socket directory";
  else if (host.find(',') != std::string::npos || target.hostaddr.find(',') != std::string::npos)
    target.error = "conninfo names several hosts; give one";
  else if (target.hostaddr.empty() ? !directory : !IsIpLiteral(target.hostaddr))
    target.error = "host \"" + (target.hostaddr.empty() ? host : target.hostaddr) +
                   "\" is not an IP address; names are not looked up (add hostaddr)";
  if (!target.error.empty()) return target;

  const auto add = [&](const char* keyword, const char* value) {
    target.keywords.push_back(keyword);
    target.values.push_back(value);
  };
  for (const PQconninfoOption* option = options.get(); option->keyword; ++option)
    if (option->val && std::string("hostaddr") != option->keyword)
      add(option->keyword, option->val);
  // Kerberos would talk to its own servers, and wait for them.
  if (Get(options, "gssencmode").empty()) add("gssencmode", "disable");
  return target;
}

void Ignore(void*, const char*) {}

std::string OneLine(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  for (char& c : text)
    if (c == '\n' || c == '\t') c = ' ';
  return text;
}

// libpq tells the SQLSTATE of a refused connection only inside its (verbose) message:
// "... FATAL:  28P01: password authentication failed ...", details on further lines.
PgError ParseMessage(const std::string& message) {
  constexpr std::size_t kStateBytes = 5;
  const auto in_state = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); };
  for (std::size_t at = message.find(":  "); at != std::string::npos;
       at = message.find(":  ", at + 1)) {
    const std::size_t begin = at + 3, end = begin + kStateBytes;
    if (message.compare(std::min(end, message.size()), 2, ": ") != 0) continue;
    if (!std::all_of(message.begin() + begin, message.begin() + end, in_state)) continue;
    const std::size_t line = message.find('\n', end);
    return {message.substr(begin, kStateBytes),
            message.substr(0, begin) + message.substr(end + 2, line - end - 2)};
  }
  return {{}, message};
}

void Mask(std::string* text, const char* secret) {
  const std::string hidden = secret ? secret : "";
  if (hidden.empty()) return;
  for (std::size_t at = text->find(hidden); at != std::string::npos; at = text->find(hidden, at)) {
    text->replace(at, hidden.size(), "***");
    at += 3;
  }
}

}  // namespace

bool PgClient::Start(const std::string& conninfo, Micros now, Micros timeout) {
  Close();
  outcome_.reset();
  // libpq's own message could quote a password that was not quoted rightly.
  const Options options(PQconninfoParse(conninfo.c_str(), nullptr));
  if (!options) {
    Fail({{}, "conninfo cannot be parsed"});
    return false;
  }
  Target target = Aim(options);
  if (!target.error.empty()) {
    Fail({{}, std::move(target.error)});
    return false;
  }
  if (!target.hostaddr.empty()) {
    target.keywords.push_back("hostaddr");
    target.values.push_back(target.hostaddr.c_str());
  }
  target.keywords.push_back(nullptr);
  target.values.push_back(nullptr);
  conn_ = PQconnectStartParams(target.keywords.data(), target.values.data(), 0);
  if (!conn_) {
    Fail({{}, "out of memory"});
    return false;
  }
  PQsetNoticeProcessor(conn_, Ignore, nullptr);
  PQsetErrorVerbosity(conn_, PQERRORS_VERBOSE);  // see ParseMessage
  if (PQstatus(conn_) == CONNECTION_BAD) {
    FailConnection();
    return false;
  }
  state_ = State::kConnecting;
  events_ = EPOLLOUT;
  allowed_ = timeout;
  deadline_ = now + timeout;
  return true;
}

bool PgClient::Query(const std::string& sql, const PgParams& params, Micros now, Micros timeout) {
  if (state_ != State::kReady) return false;
  std::vector<const char*> values;
  for (const auto& param : params) values.push_back(param ? param->c_str() : nullptr);
  collecting_ = {};
  collected_bytes_ = 0;
  outcome_.reset();
  if (!PQsendQueryParams(conn_, sql.c_str(), static_cast<int>(values.size()), nullptr,
                         values.data(), nullptr, nullptr, 0) ||
      !PQsetSingleRowMode(conn_)) {
    FailConnection();
    return false;
  }
  state_ = State::kBusy;
  allowed_ = timeout;
  deadline_ = now + timeout;
  PollQuery();
  return true;
}

PgClient::State PgClient::Poll(Micros now) {
  if (state_ == State::kConnecting) PollConnect();
  if (state_ == State::kBusy || state_ == State::kReady) PollQuery();
  if (const auto deadline = Deadline(); deadline && now >= *deadline)
    Fail({{},
          std::string(state_ == State::kConnecting ? "connecting" : "query") +
              " took longer than " + std::to_string(allowed_.count() / 1000) + " ms"});
  return state_;
}

void PgClient::PollConnect() {
  switch (PQconnectPoll(conn_)) {
    case PGRES_POLLING_OK:
      if (PQsetnonblocking(conn_, 1) != 0) return FailConnection();
      state_ = State::kReady;
      events_ = EPOLLIN;
      return;
    case PGRES_POLLING_READING:
      events_ = EPOLLIN;
      return;
    case PGRES_POLLING_WRITING:
      events_ = EPOLLOUT;
      return;
    default:
      return FailConnection();
  }
}

// Also while no query runs, to notice a server that went away.
void PgClient::PollQuery() {
  const int flushed = PQflush(conn_);
  if (!PQconsumeInput(conn_) || flushed < 0) return FailConnection();
  events_ = flushed > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN;
  if (state_ == State::kReady) {
    while (PGnotify* notify = PQnotifies(conn_)) PQfreemem(notify);
    if (PQstatus(conn_) == CONNECTION_BAD) FailConnection();
    return;
  }
  while (!PQisBusy(conn_)) {
    const Result result(PQgetResult(conn_));
    if (!result) {
      if (PQstatus(conn_) == CONNECTION_BAD) {
        return collecting_.error ? Fail(*collecting_.error) : FailConnection();
      }
      state_ = State::kReady;
      outcome_ = std::move(collecting_);
      return;
    }
    if (!Collect(result.get())) return;
  }
}

// false: the connection was given up.
bool PgClient::Collect(pg_result* result) {
  const ExecStatusType status = PQresultStatus(result);
  if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
    Fail({{}, "COPY is not supported here"});
    return false;
  }
  if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) {
    const char* sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char* primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    collecting_.rows.clear();
    collecting_.error = {sqlstate ? sqlstate : "",
                         Redacted(primary ? primary : PQresultErrorMessage(result))};
    return true;
  }
  const int columns = PQnfields(result);
  for (int row = 0; row < PQntuples(result); ++row) {
    PgRow values;
    for (int column = 0; column < columns; ++column) {
      const auto size = static_cast<std::size_t>(PQgetlength(result, row, column));
      collected_bytes_ += size + sizeof(values[0]);
      if (PQgetisnull(result, row, column))
        values.emplace_back();
      else
        values.emplace_back(std::string(PQgetvalue(result, row, column), size));
    }
    collecting_.rows.push_back(std::move(values));
  }
  if (collected_bytes_ <= kMaxPgResultBytes) return true;
  Fail({{}, "result is larger than " + std::to_string(kMaxPgResultBytes) + " bytes"});
  return false;
}

void PgClient::FailConnection() { Fail(ParseMessage(PQerrorMessage(conn_))); }

void PgClient::Fail(PgError error) {
  error_ = {std::move(error.sqlstate), Redacted(std::move(error.text))};
  if (state_ == State::kBusy) outcome_ = PgOutcome{{}, error_};
  Close();
  state_ = State::kFailed;
}

std::string PgClient::Redacted(std::string text) const {
  if (conn_) {
    Mask(&text, PQpass(conn_));
    if (const Options options(PQconninfo(conn_)); options)
      for (const char* keyword : {"password", "sslpassword"})
        Mask(&text, Get(options, keyword).c_str());
  }
  return OneLine(std::move(text));
}

void PgClient::Close() {
  if (conn_) PQfinish(conn_);
  conn_ = nullptr;
  state_ = State::kClosed;
  events_ = 0;
  collecting_ = {};
}

std::optional<PgOutcome> PgClient::TakeOutcome() { return std::exchange(outcome_, std::nullopt); }

int PgClient::fd() const { return conn_ ? PQsocket(conn_) : -1; }

std::uint32_t PgClient::events() const { return events_; }

std::optional<Micros> PgClient::Deadline() const {
  if (state_ != State::kConnecting && state_ != State::kBusy) return std::nullopt;
  return deadline_;
}

}  // namespace orchestra::net
