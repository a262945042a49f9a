// The asynchronous libpq connection, against a server that says what a test wants.
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include "net/pg_client.h"
#include "net/pg_pool.h"
#include "unit/net_testing.h"

namespace orchestra::net {

void PrintTo(PgClient::State state, std::ostream* os) {
  constexpr const char* kNames[] = {"closed", "connecting", "ready", "busy", "failed"};
  *os << kNames[static_cast<int>(state)];
}

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using State = PgClient::State;

std::string Int(std::uint32_t value, int bytes) {
  std::string out;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(value >> shift));
  return out;
}
std::string Zero(const std::string& text) { return text + std::string(1, '\0'); }
std::string Say(char type, const std::string& body) {
  return type + Int(static_cast<std::uint32_t>(body.size() + 4), 4) + body;
}
const std::string kReady = Say('Z', "I"), kWelcome = Say('R', Int(0, 4)) + kReady;
const std::string kParsed = Say('1', "") + Say('2', "");

std::string Error(const std::string& sqlstate, const std::string& text,
                  const char* level = "ERROR") {
  return Say('E', Zero("S" + std::string(level)) + Zero("V" + std::string(level)) +
                      Zero("C" + sqlstate) + Zero("M" + text) + Zero("DSome detail") +
                      Zero("Fauth.c") + Zero("L335") + Zero("Rauth_failed") + Zero(""));
}
std::string Columns(int count) {
  std::string body = Int(static_cast<std::uint32_t>(count), 2);
  for (int i = 0; i < count; ++i)
    body += Zero("c") + Int(0, 4) + Int(0, 2) + Int(25, 4) + Int(0xffff, 2) + Int(0, 4) + Int(0, 2);
  return Say('T', body);
}
std::string Row(const PgRow& row) {
  std::string body = Int(static_cast<std::uint32_t>(row.size()), 2);
  for (const auto& value : row)
    body += value ? Int(static_cast<std::uint32_t>(value->size()), 4) + *value : Int(0xffffffff, 4);
  return Say('D', body);
}
std::string Done() { return Say('C', Zero("SELECT 1")) + kReady; }

// Says `welcome` to whoever starts up, and `answer` to each query. Empty: nothing.
class FakeServer {
 public:
  explicit FakeServer(Loop* loop) : loop_(*loop) {
    EXPECT_TRUE(Listen({"127.0.0.1", 0}, &listener_, &port_).ok());
    part_ = &loop_.Add({[this] { return listener_.get(); }, [this](Micros) { Serve(); },
                        [](Micros) { return Micros(1000); }});
  }
  ~FakeServer() { loop_.Remove(part_); }
  std::string Conninfo(const std::string& more = "") const {
    return "host=127.0.0.1 port=" + std::to_string(port_) + " user=u dbname=d sslmode=disable " +
           more;
  }
  std::string welcome = kWelcome, answer;
  bool hang_up = false;      // after the next thing said
  std::string last_request;  // of any client
  void DropAll() { clients_.clear(); }

 private:
  void Serve() {
    bool exhausted = false;
    while (auto socket = Accept(listener_, nullptr, &exhausted))
      clients_.push_back({std::make_unique<RawClient>(std::move(*socket)), false});
    for (auto& [client, greeted] : clients_) {
      const std::string request = client->Listen();
      if (request.empty()) continue;
      last_request = request;
      const std::string& reply = greeted ? answer : welcome;
      greeted = true;
      if (!reply.empty()) client->Say(reply);
      if (hang_up) client->ShutDown();
    }
  }
  Loop& loop_;
  Fd listener_;
  std::uint16_t port_ = 0;
  Loop::Part* part_;
  std::vector<std::pair<std::unique_ptr<RawClient>, bool>> clients_;
};

class Pg : public testing::Test {
 protected:
  Pg() {
    pool.Resize(1);
    loop.Add({[this] { return pool.fd(); }, [this](Micros now) { pool.Poll(now); },
              [this](Micros now) { return pool.NextTimeout(now); }});
  }
  PgClient& client() { return pool.at(0); }
  bool Start(const std::string& conninfo) {
    const bool started = client().Start(conninfo, loop.Now(), seconds(5));
    pool.Watch();
    return started;
  }
  State Settle() {
    loop.Until(
        [&] { return client().state() != State::kConnecting && client().state() != State::kBusy; });
    return client().state();
  }
  PgOutcome Ask(const std::string& sql, const PgParams& params = {}) {
    EXPECT_TRUE(client().Query(sql, params, loop.Now(), seconds(5)));
    pool.Watch();
    Settle();
    auto outcome = client().TakeOutcome();
    EXPECT_TRUE(outcome.has_value());
    return outcome.value_or(PgOutcome{});
  }
  Loop loop;
  FakeServer server{&loop};
  PgPool pool;
};

TEST_F(Pg, RowsComeBackWithNulls) {
  ASSERT_TRUE(Start(server.Conninfo()));
  ASSERT_EQ(Settle(), State::kReady);
  server.answer = kParsed + Columns(2) + Row({"a", std::nullopt}) + Row({"", "b"}) + Done();
  const PgOutcome outcome = Ask("SELECT $1, $2", {"p1", std::nullopt});
  EXPECT_TRUE(outcome.ok());
  EXPECT_EQ(outcome.rows, (std::vector<PgRow>{{"a", std::nullopt}, {"", "b"}}));
  EXPECT_NE(server.last_request.find("SELECT $1, $2"), std::string::npos);
  EXPECT_NE(server.last_request.find("p1"), std::string::npos);
  EXPECT_EQ(client().TakeOutcome(), std::nullopt) << "an outcome is told once";
  server.answer = kParsed + Columns(1) + Row({"again"}) + Done();
  EXPECT_EQ(Ask("SELECT 1").rows, (std::vector<PgRow>{{"again"}}));
}

TEST_F(Pg, AServersErrorLeavesTheConnectionUsable) {
  ASSERT_TRUE(Start(server.Conninfo()));
  ASSERT_EQ(Settle(), State::kReady);
  server.answer = kParsed + Columns(1) + Row({"1"}) + Error("22012", "division by zero") + kReady;
  const PgOutcome failed = Ask("SELECT 1/0");
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error->sqlstate, "22012");
  EXPECT_EQ(failed.error->text, "division by zero");
  EXPECT_TRUE(failed.rows.empty());
  ASSERT_EQ(client().state(), State::kReady);
  server.answer = kParsed + Columns(1) + Row({"1"}) + Done();
  EXPECT_TRUE(Ask("SELECT 1").ok());
}

TEST_F(Pg, RefusalAtTheDoorHasItsSqlstate) {
  server.welcome = Error("57P03", "the database system is starting up", "FATAL");
  server.hang_up = true;
  ASSERT_TRUE(Start(server.Conninfo()));
  ASSERT_EQ(Settle(), State::kFailed);
  EXPECT_EQ(client().error().sqlstate, "57P03");
  EXPECT_NE(client().error().text.find("FATAL:  the database system is starting up"),
            std::string::npos)
      << client().error().text;
  EXPECT_EQ(client().error().text.find('\n'), std::string::npos);
  EXPECT_EQ(client().error().text.find("auth.c"), std::string::npos) << client().error().text;
}

TEST_F(Pg, SessionEndedByTheServerDuringAQuery) {
  ASSERT_TRUE(Start(server.Conninfo()));
  ASSERT_EQ(Settle(), State::kReady);
  server.answer = kParsed + Error("57P01", "terminating connection", "FATAL");
  server.hang_up = true;
  const PgOutcome outcome = Ask("SELECT 1");
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error->sqlstate, "57P01");
  EXPECT_EQ(client().state(), State::kFailed);
}

TEST_F(Pg, ServerThatVanishesIsNoticedWhileNoQueryRuns) {
  ASSERT_TRUE(Start(server.Conninfo()));
  ASSERT_EQ(Settle(), State::kReady);
  server.DropAll();
  ASSERT_TRUE(loop.Until([&] { return client().state() == State::kFailed; }));
  EXPECT_NE(client().error().text, "");
  EXPECT_FALSE(client().Query("SELECT 1", {}, loop.Now(), seconds(1)));
  EXPECT_EQ(client().TakeOutcome(), std::nullopt);
}

TEST_F(Pg, FailedConnectionCanBeStartedAgain) {
  server.welcome = Error("28P01", "no", "FATAL");
  ASSERT_TRUE(Start(server.Conninfo()));
  ASSERT_EQ(Settle(), State::kFailed);
  server.welcome = kWelcome;
  ASSERT_TRUE(Start(server.Conninfo()));
  EXPECT_EQ(Settle(), State::kReady);
}

TEST_F(Pg, ConnectingHasADeadline) {
  server.welcome = "";
  ASSERT_TRUE(Start(server.Conninfo()));
  ASSERT_TRUE(loop.Until([&] { return !server.last_request.empty(); }));
  EXPECT_EQ(client().state(), State::kConnecting);
  pollfd quiet{pool.fd(), POLLIN, 0};
  EXPECT_EQ(poll(&quiet, 1, 0), 0) << "an owner would spin until the answer comes";
  loop.Advance(seconds(5));
  ASSERT_EQ(Settle(), State::kFailed);
  EXPECT_EQ(client().error().text, "connecting took longer than 5000 ms");
  EXPECT_EQ(client().fd(), -1);
}

TEST_F(Pg, AQueryHasADeadline) {
  ASSERT_TRUE(Start(server.Conninfo()));
  ASSERT_EQ(Settle(), State::kReady);
  server.answer = kParsed + Columns(1) + Row({"1"});  // and no end
  ASSERT_TRUE(client().Query("SELECT 1", {}, loop.Now(), milliseconds(700)));
  EXPECT_FALSE(client().Query("SELECT 2", {}, loop.Now(), seconds(5))) << "one at a time";
  loop.Advance(milliseconds(700));
  ASSERT_EQ(Settle(), State::kFailed);
  const auto outcome = client().TakeOutcome();
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->error->text, "query took longer than 700 ms");
}

TEST_F(Pg, AnEndlessResultCostsTheConnectionNotTheMemory) {
  ASSERT_TRUE(Start(server.Conninfo()));
  ASSERT_EQ(Settle(), State::kReady);
  server.answer = kParsed + Columns(1);
  for (int i = 0; i < 20; ++i) server.answer += Row({std::string(100'000, 'x')});
  const PgOutcome outcome = Ask("SELECT 1");  // no end comes
  ASSERT_FALSE(outcome.ok());
  EXPECT_NE(outcome.error->text.find("larger than"), std::string::npos) << outcome.error->text;
  EXPECT_TRUE(outcome.rows.empty());
  EXPECT_EQ(client().state(), State::kFailed);
}

TEST_F(Pg, NobodyListens) {
  std::uint16_t port = 0;
  {
    Fd gone;
    ASSERT_TRUE(Listen({"127.0.0.1", 0}, &gone, &port).ok());
  }
  Start("host=127.0.0.1 user=u port=" + std::to_string(port));
  ASSERT_EQ(Settle(), State::kFailed);
  EXPECT_NE(client().error().text.find("Connection refused"), std::string::npos)
      << client().error().text;
  EXPECT_EQ(client().error().sqlstate, "");
}

TEST_F(Pg, ManyInOnePool) {
  pool.Resize(50);
  server.answer = kParsed + Columns(1) + Row({"1"}) + Done();
  for (std::size_t i = 0; i < 50; ++i)
    ASSERT_TRUE(pool.at(i).Start(server.Conninfo(), loop.Now(), seconds(5)));
  pool.Watch();
  std::size_t answered = 0;
  EXPECT_TRUE(loop.Until([&] {
    for (std::size_t i = 0; i < 50; ++i) {
      if (pool.at(i).state() == State::kReady && !pool.at(i).TakeOutcome())
        pool.at(i).Query("SELECT 1", {}, loop.Now(), seconds(5));
      else if (pool.at(i).state() == State::kReady)
        ++answered;
    }
    pool.Watch();
    return answered >= 50;
  }));
  pool.Resize(0);
  EXPECT_EQ(pool.size(), 0u);
}

struct Bad {
  const char* name;
  const char* conninfo;
  const char* expected;
};
void PrintTo(const Bad& bad, std::ostream* os) { *os << bad.conninfo; }
class PgRefused : public testing::TestWithParam<Bad> {};
TEST_P(PgRefused, WithoutConnecting) {
  PgClient client;
  EXPECT_FALSE(client.Start(GetParam().conninfo, Micros{0}, seconds(1)));
  EXPECT_EQ(client.state(), State::kFailed);
  EXPECT_EQ(client.fd(), -1);
  EXPECT_NE(client.error().text.find(GetParam().expected), std::string::npos)
      << client.error().text;
  EXPECT_EQ(client.error().text.find("tOpSeCrEt"), std::string::npos) << client.error().text;
}
INSTANTIATE_TEST_SUITE_P(
    Conninfos, PgRefused,
    testing::Values(
        Bad{"Name", "host=db1.example password=tOpSeCrEt", "not an IP address"},
        Bad{"NameInUri", "postgresql://u:tOpSeCrEt@db1/x", "not an IP address"},
        Bad{"Localhost", "host=localhost", "not an IP address"},
        Bad{"NoHost", "user=u password=tOpSeCrEt", "names no host"},
        Bad{"BadHostaddr", "host=127.0.0.1 hostaddr=nonsense", "not an IP address"},
        Bad{"Several", "host=127.0.0.1,127.0.0.2", "several hosts"},
        Bad{"SeveralAddresses", "hostaddr=127.0.0.1,127.0.0.2", "several hosts"},
        Bad{"PasswordNotQuoted", "host=127.0.0.1 password=a tOpSeCrEt", "cannot be parsed"},
        Bad{"UnknownOption", "host=127.0.0.1 tOpSeCrEt=x", "cannot be parsed"},
        Bad{"BadOptionValue", "host=127.0.0.1 sslmode=nonsense password=tOpSeCrEt", "sslmode"}),
    [](const auto& info) { return info.param.name; });

TEST(PgAccepted, AddressForms) {
  for (const char* conninfo :
       {"host=127.0.0.1 port=1", "host=::1 port=1", "hostaddr=127.0.0.1 port=1",
        "host=db1.example hostaddr=127.0.0.1 port=1", "postgresql://u@127.0.0.1:1/x"}) {
    PgClient client;
    client.Start(conninfo, Micros{0}, seconds(1));
    EXPECT_TRUE(client.state() == State::kConnecting ||
                client.error().text.find("connection to server") == 0)
        << conninfo << ": " << client.error().text;
  }
  PgClient by_socket;
  EXPECT_FALSE(by_socket.Start("host=/nonexistent", Micros{0}, seconds(1)));
  EXPECT_NE(by_socket.error().text.find("/nonexistent"), std::string::npos);
}

TEST_F(Pg, PasswordsThatAServerRepeatsAreMasked) {
  server.welcome = Error("28P01", "I do not like tOpSeCrEt nor tOpSeCrEt", "FATAL");
  ASSERT_TRUE(Start(server.Conninfo("password=tOpSeCrEt")));
  ASSERT_EQ(Settle(), State::kFailed);
  EXPECT_NE(client().error().text.find("I do not like *** nor ***"), std::string::npos)
      << client().error().text;
}

}  // namespace
}  // namespace orchestra::net
