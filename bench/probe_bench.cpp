// What one check of the role port costs the server, against the least possible server: epoll,
// accept, send, close. Both answer the same clients on the same machine in the same run; the CPU
// time is that of the server's own process.
#include <benchmark/benchmark.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <string>

#include "net/role_server.h"
#include "net/socket.h"

namespace orchestra::net {
namespace {

constexpr std::string_view kAnswer = "MASTER";

Micros Now() {
  return std::chrono::duration_cast<Micros>(std::chrono::steady_clock::now().time_since_epoch());
}

// ---- the two servers; neither returns

[[noreturn]] void ServeLeast(Fd listener) {
  const Fd epoll(epoll_create1(0));
  if (!Watch(epoll, listener.get(), EPOLLIN, 0)) _exit(1);
  for (;;) {
    epoll_event event;
    if (epoll_wait(epoll.get(), &event, 1, -1) < 1) continue;
    for (;;) {
      const int client = accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (client < 0) break;
      benchmark::DoNotOptimize(send(client, kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL));
      close(client);
    }
  }
}

[[noreturn]] void ServeRole(RoleServer* server) {
  for (;;) {
    pollfd ready{server->fd(), POLLIN, 0};
    const auto wait =
        std::chrono::ceil<std::chrono::milliseconds>(server->NextTimeout(Now())).count();
    poll(&ready, 1, static_cast<int>(wait));
    server->Poll(Now(), kAnswer);
  }
}

// ---- a server in a process of its own, whose CPU time can be read while it runs

class Server {
 public:
  explicit Server(bool role) {
    Fd listener;
    RoleServer role_server({"127.0.0.1", 0});
    const NetError error = role ? role_server.Start() : Listen({"127.0.0.1", 0}, &listener, &port_);
    if (!error.ok()) return;
    if (role) port_ = role_server.port();
    pid_ = fork();
    if (pid_ != 0) return;
    if (role) ServeRole(&role_server);
    ServeLeast(std::move(listener));
  }
  // Ends the server; CPU seconds that it used, or -1.
  double End() {
    if (pid_ <= 0) return -1;
    kill(pid_, SIGKILL);
    rusage usage{};
    if (wait4(pid_, nullptr, 0, &usage) != pid_) return -1;
    const auto seconds = [](timeval t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  std::uint16_t port() const { return port_; }

 private:
  std::uint16_t port_ = 0;
  pid_t pid_ = -1;
};

// One check, as a load balancer makes it: connect, read to the end, close.
bool Check(std::uint16_t port) {
  const auto address = ParseAddress({"127.0.0.1", port});
  const Fd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(client.get(), address->get(), address->length) != 0) return false;
  std::string heard;
  char part[64];
  ssize_t got;
  while ((got = recv(client.get(), part, sizeof part, 0)) > 0)
    heard.append(part, static_cast<std::size_t>(got));
  return got == 0 && heard == kAnswer;
}

// CPU microseconds a check.
double Measure(bool role, int checks) {
  Server server(role);
  int good = 0;
  for (int i = 0; i < checks; ++i) good += Check(server.port());
  const double seconds = server.End();
  return good == checks && seconds >= 0 ? seconds * 1e6 / checks : -1;
}

void RolePortAgainstLeastServer(benchmark::State& state) {
  const int checks = static_cast<int>(state.range(0));
  double role = 0, least = 0;
  for (auto _ : state) {
    const double a = Measure(true, checks), b = Measure(false, checks);
    if (a < 0 || b < 0) {
      state.SkipWithError("a check was not answered rightly");
      return;
    }
    role += a;
    least += b;
  }
  const auto rounds = static_cast<double>(state.iterations());
  state.counters["role_us"] = role / rounds;
  state.counters["least_us"] = least / rounds;
  state.counters["ratio"] = role / least;
}
BENCHMARK(RolePortAgainstLeastServer)->Arg(5000)->Iterations(6)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace orchestra::net
