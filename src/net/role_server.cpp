#include "net/role_server.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

namespace orchestra::net {

namespace {

constexpr std::size_t kMaxClients = 512;
constexpr std::size_t kMaxHeard = 4096;
constexpr Micros kMaxLinger{500'000};
constexpr Micros kFirstCheck{10'000};
constexpr Micros kPause{100'000};
constexpr Micros kLongestWait{1'000'000};

}  // namespace

NetError RoleServer::Start() {
  if (listening()) return {};
  if (!epoll_.valid()) epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.valid()) return {errno, "could not make an epoll set: " + ErrnoText(errno)};
  Fd listener;
  if (NetError error = Listen(bind_, &listener, &port_); !error.ok()) return error;
  if (!Watch(epoll_, listener.get(), EPOLLIN, 0))
    return {errno, "could not watch the role port: " + ErrnoText(errno)};
  listener_ = std::move(listener);
  clients_.reserve(kMaxClients + 1);
  return {};
}

void RoleServer::Poll(Micros now, std::string_view answer) {
  if (!listening()) return;
  if (paused_ && now >= resume_at_) paused_ = !Watch(epoll_, listener_.get(), EPOLLIN, 0);
  if (!paused_) AcceptAll(now, answer);
  if (!clients_.empty() && now >= sweep_at_) Sweep(now);
}

void RoleServer::AcceptAll(Micros now, std::string_view answer) {
  for (;;) {
    bool exhausted = false;
    auto client = Accept(listener_, nullptr, &exhausted);
    if (exhausted) PauseListener(now);
    if (!client) return;
    // MSG_MORE and the shutdown put the answer and the end of the stream into one packet. The
    // socket is new, so its buffer takes a short answer whole.
    const auto written = send(client->get(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_MORE);
    const bool whole = written == static_cast<ssize_t>(answer.size());
    if (!whole || shutdown(client->get(), SHUT_WR) != 0) {
      ++stats_.failed;
      continue;
    }
    ++stats_.answered;
    Linger(now, std::move(*client));
  }
}

// Without this the listener would stay readable and its owner would spin.
void RoleServer::PauseListener(Micros now) {
  ++stats_.no_descriptors;
  paused_ = Watch(epoll_, listener_.get(), 0, 0);
  resume_at_ = now + kPause;
}

// Closing a socket that the client still writes to would send a reset, which can overtake the
// answer. Most clients close within a moment: a look at all of them some milliseconds later is
// cheaper than an epoll registration and a wakeup for each.
void RoleServer::Linger(Micros now, Fd socket) {
  if (clients_.size() >= kMaxClients) {
    sweep_at_ = now;
    for (Client& client : clients_) client.check_at = now;
    Sweep(now);
  }
  if (clients_.size() >= kMaxClients) {
    ++stats_.cut_short;
    clients_.erase(clients_.begin());
  }
  clients_.push_back({std::move(socket), now, now + kFirstCheck, 0});
  sweep_at_ = clients_.size() == 1 ? now + kFirstCheck : std::min(sweep_at_, now + kFirstCheck);
}

void RoleServer::Sweep(Micros now) {
  std::erase_if(clients_, [&](Client& client) { return Finished(now, &client); });
  sweep_at_ = now + kMaxLinger;
  for (const Client& client : clients_) sweep_at_ = std::min(sweep_at_, client.check_at);
}

bool RoleServer::Finished(Micros now, Client* client) {
  if (now < client->check_at) return false;
  char scrap[1024];
  while (client->heard < kMaxHeard) {
    const ssize_t got = recv(client->socket.get(), scrap, sizeof scrap, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) return true;
    if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return true;
    if (got < 0) break;
    client->heard += static_cast<std::size_t>(got);
  }
  const Micros age = now - client->since;
  if (client->heard >= kMaxHeard || age >= kMaxLinger) {
    ++stats_.cut_short;
    return true;
  }
  // Ever rarer looks: 10, 30, 70, 150, 310, 500 ms after the answer.
  client->check_at = std::min(now + age + kFirstCheck, client->since + kMaxLinger);
  return false;
}

Micros RoleServer::NextTimeout(Micros now) const {
  Micros next = now + kLongestWait;
  if (!clients_.empty()) next = std::min(next, sweep_at_);
  if (paused_) next = std::min(next, resume_at_);
  return std::max(next - now, Micros{0});
}

}  // namespace orchestra::net
