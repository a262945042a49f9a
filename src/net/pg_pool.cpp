#include "net/pg_pool.h"

#include <sys/epoll.h>

#include <algorithm>

namespace orchestra::net {

namespace {

constexpr Micros kLongestWait{1'000'000};

}  // namespace

PgPool::PgPool() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {}
PgPool::~PgPool() = default;

void PgPool::Resize(std::size_t count) {
  clients_.resize(std::min(count, clients_.size()));
  while (clients_.size() < count) clients_.push_back(std::make_unique<PgClient>());
}

void PgPool::Poll(Micros now) {
  std::vector<bool> due(clients_.size());
  epoll_event events[128];
  const int count = epoll_wait(epoll_.get(), events, 128, 0);
  for (int i = 0; i < count; ++i)
    if (events[i].data.u64 < due.size()) due[events[i].data.u64] = true;
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    const auto deadline = clients_[i]->Deadline();
    if (due[i] || (deadline && now >= *deadline)) clients_[i]->Poll(now);
  }
  Watch();
}

// libpq may replace a client's socket by one with the same number, which the epoll set then does
// not know: only asking the kernel tells.
void PgPool::Watch() {
  for (std::size_t i = 0; i < clients_.size(); ++i)
    if (const int fd = clients_[i]->fd(); fd >= 0) net::Watch(epoll_, fd, clients_[i]->events(), i);
}

Micros PgPool::NextTimeout(Micros now) const {
  Micros next = now + kLongestWait;
  for (const auto& client : clients_) next = std::min(next, client->Deadline().value_or(next));
  return std::max(next - now, Micros{0});
}

}  // namespace orchestra::net
