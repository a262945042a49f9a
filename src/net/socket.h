// What every socket of orchestra needs: an owned descriptor, errors as values, and addresses
// without DNS.
#pragma once
#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "core/register.h"
#include "core/types.h"

namespace orchestra::net {

// Outcome of an operation that may be tried again. `code` is an errno value, so that a status can
// tell "port in use" (EADDRINUSE) from the rest; `text` is one sentence for people.
struct NetError {
  int code = 0;
  std::string text;
  bool ok() const { return code == 0; }
};

// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { Close(); }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void Close();

 private:
  int fd_ = -1;
};

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// Only IP literals: a DNS lookup could block a worker for seconds.
std::optional<SocketAddress> ParseAddress(const Address& address);
bool IsIpLiteral(const std::string& host);
bool IsLoopback(const SocketAddress& address);
std::string ToText(const Address& address);        // "127.0.0.1:5434", "[::1]:5434"
std::string ToText(const SocketAddress& address);  // likewise

// A non-blocking listening socket with the longest backlog that the kernel gives. On success
// `*listener` and `*port` (of use when `address.port` is 0) are set.
NetError Listen(const Address& address, Fd* listener, std::uint16_t* port);

// Next connection, non-blocking and close-on-exec. nullopt: none is waiting. `*exhausted` is set
// when descriptors or memory ran out: the listener stays readable, so its owner must pause it.
std::optional<Fd> Accept(const Fd& listener, SocketAddress* from, bool* exhausted);

// Adds `fd` to the epoll set or changes its events (EPOLLIN and so on); `id` comes back in
// data.u64.
bool Watch(const Fd& epoll, int fd, std::uint32_t events, std::uint64_t id);

std::string ErrnoText(int code);

}  // namespace orchestra::net
