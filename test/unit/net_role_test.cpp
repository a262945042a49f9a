// The role port: exact answers, no resets, bounds.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "net/role_server.h"
#include "unit/net_testing.h"

namespace orchestra::net {
namespace {

using std::chrono::milliseconds;

class RolePort : public testing::Test {
 protected:
  RolePort() {
    const NetError error = server.Start();
    EXPECT_TRUE(error.ok()) << error.text;
    loop.Add({[this] { return server.fd(); }, [this](Micros now) { server.Poll(now, answer); },
              [this](Micros now) { return server.NextTimeout(now); }});
  }
  Address address() const { return {"127.0.0.1", server.port()}; }
  bool UntilClosed(RawClient* client) {
    return loop.Until([&] { return client->Closed(); });
  }
  Loop loop;
  std::string answer = "MASTER";
  RoleServer server{{"127.0.0.1", 0}};
};

TEST_F(RolePort, AnswersExactlyAndEnds) {
  for (const char* each : {"MASTER", "STANDBY", "FENCED"}) {
    answer = each;
    RawClient client(address());
    ASSERT_TRUE(UntilClosed(&client));
    EXPECT_EQ(client.heard(), each);
    EXPECT_EQ(client.error(), 0);
  }
  EXPECT_EQ(server.stats().answered, 3u);
}

TEST_F(RolePort, ManyAtOnce) {
  std::vector<std::unique_ptr<RawClient>> clients;
  clients.reserve(200);
  for (int i = 0; i < 200; ++i) clients.push_back(std::make_unique<RawClient>(address()));
  for (const auto& client : clients) {
    ASSERT_TRUE(UntilClosed(client.get()));
    EXPECT_EQ(client->heard(), "MASTER");
    EXPECT_EQ(client->error(), 0);
  }
  EXPECT_EQ(server.stats().answered, 200u);
}

TEST_F(RolePort, ClientThatSpeaksFirstSeesNoReset) {
  RawClient client(address());
  client.Say("GET / HTTP/1.0\r\nHost: somewhere\r\n\r\n");
  ASSERT_TRUE(UntilClosed(&client));
  EXPECT_EQ(client.heard(), "MASTER");
  EXPECT_EQ(client.error(), 0);
}

TEST_F(RolePort, ClientThatGoesOnSpeakingAfterTheAnswerSeesNoReset) {
  RawClient client(address());
  ASSERT_TRUE(UntilClosed(&client));  // the server's side has ended
  for (int i = 0; i < 3; ++i) {
    RawClient other(address());
    ASSERT_TRUE(UntilClosed(&other));  // time passes, on both sides
    client.Say("more");
    // A reset would show as EPIPE or ECONNRESET by now.
    EXPECT_EQ(client.error(), 0);
  }
  EXPECT_EQ(server.stats().cut_short, 0u);
}

TEST_F(RolePort, SilentClientIsKeptForHalfASecondOnly) {
  RawClient client(address());
  ASSERT_TRUE(UntilClosed(&client));
  loop.Advance(milliseconds(400));
  server.Poll(loop.Now(), answer);
  client.Say("a");
  EXPECT_EQ(server.stats().cut_short, 0u);
  loop.Advance(milliseconds(200));
  ASSERT_TRUE(loop.Until([&] { return server.stats().cut_short == 1; }));
  EXPECT_TRUE(loop.Until([&] {
    client.Say("a");
    return client.error() != 0;
  })) << "the server still listens to it";
}

TEST_F(RolePort, ClientThatGoesIsForgottenQuickly) {
  { RawClient client(address()); }
  {
    RawClient client(address());
    ASSERT_TRUE(UntilClosed(&client));
  }
  // No client left: nothing to do for a second.
  EXPECT_TRUE(loop.Until([&] { return server.NextTimeout(loop.Now()) > milliseconds(900); },
                         milliseconds(300)));
  EXPECT_EQ(server.stats().cut_short, 0u);
}

TEST_F(RolePort, TalkativeClientIsCutOff) {
  RawClient client(address());
  const std::string talk(1000, 'x');
  EXPECT_TRUE(loop.Until([&] {
    client.Say(talk);
    return server.stats().cut_short == 1;
  }));
}

TEST_F(RolePort, LingeringClientsAreBounded) {
  rlimit files{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
  if (files.rlim_max < 2048) GTEST_SKIP() << "needs 2048 open files";
  files.rlim_cur = std::max<rlim_t>(files.rlim_cur, 2048);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 600; ++i) {
    clients.push_back(std::make_unique<RawClient>(address()));
    ASSERT_TRUE(UntilClosed(clients.back().get())) << i;
    EXPECT_EQ(clients.back()->heard(), "MASTER");
    EXPECT_EQ(clients.back()->error(), 0);
  }
  EXPECT_GE(server.stats().cut_short, 600u - 512u);
}

TEST_F(RolePort, RunningOutOfDescriptorsIsSurvived) {
  RawClient waiting(address());
  rlimit saved{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &saved), 0);
  rlimit none = saved;
  none.rlim_cur = 0;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  for (int i = 0; i < 1000; ++i) server.Poll(loop.Now(), answer);
  const std::uint64_t tries = server.stats().no_descriptors;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &saved), 0);
  EXPECT_GE(tries, 1u);
  EXPECT_LE(tries, 5u) << "tried again at once: a spinning worker";
  ASSERT_TRUE(UntilClosed(&waiting));
  EXPECT_EQ(waiting.heard(), "MASTER");
}

TEST_F(RolePort, PortInUseIsReportedAndTakenWhenFree) {
  auto first = std::make_unique<RoleServer>(Address{"127.0.0.1", 0});
  ASSERT_TRUE(first->Start().ok());
  RoleServer second({"127.0.0.1", first->port()});
  const NetError error = second.Start();
  EXPECT_EQ(error.code, EADDRINUSE);
  EXPECT_NE(error.text.find(std::to_string(first->port())), std::string::npos) << error.text;
  second.Poll(loop.Now(), answer);  // harmless
  first.reset();
  EXPECT_TRUE(second.Start().ok());
  EXPECT_TRUE(second.listening());
}

TEST(RoleServer, AnyAddressMayBeBound) {
  for (const char* host : {"0.0.0.0", "127.0.0.2"}) {
    RoleServer server({host, 0});
    EXPECT_TRUE(server.Start().ok()) << host;
  }
  RoleServer named({"localhost", 0});
  EXPECT_NE(named.Start().code, 0);
}

}  // namespace
}  // namespace orchestra::net
