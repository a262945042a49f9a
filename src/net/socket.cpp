#include "net/socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace orchestra::net {

namespace {

NetError Failed(const char* what, const Address& address) {
  const int code = errno;
  return {code, "could not " + std::string(what) + " " + ToText(address) + ": " + ErrnoText(code)};
}

}  // namespace

void Fd::Close() {
  if (fd_ < 0) return;
  const int saved = errno;
  close(std::exchange(fd_, -1));
  errno = saved;
}

std::string ErrnoText(int code) { return std::generic_category().message(code); }

std::optional<SocketAddress> ParseAddress(const Address& address) {
  SocketAddress parsed;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&parsed.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&parsed.storage);
  if (inet_pton(AF_INET, address.host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
    parsed.length = sizeof *v4;
    return parsed;
  }
  if (inet_pton(AF_INET6, address.host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    parsed.length = sizeof *v6;
    return parsed;
  }
  return std::nullopt;
}

bool IsIpLiteral(const std::string& host) { return ParseAddress({host, 0}).has_value(); }

bool IsLoopback(const SocketAddress& address) {
  if (address.storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address.storage);
    return (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
  return address.storage.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

std::string ToText(const Address& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  const std::string port = std::to_string(address.port);
  return v6 ? "[" + address.host + "]:" + port : address.host + ":" + port;
}

std::string ToText(const SocketAddress& address) {
  char host[INET6_ADDRSTRLEN] = "?";
  if (address.storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address.storage);
    inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
    return ToText(Address{host, ntohs(v4.sin_port)});
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
  inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
  return ToText(Address{host, ntohs(v6.sin6_port)});
}

NetError Listen(const Address& address, Fd* listener, std::uint16_t* port) {
  const auto wanted = ParseAddress(address);
  if (!wanted) return {EINVAL, "\"" + address.host + "\" is not an IP address"};
  Fd socket(::socket(wanted->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return Failed("make a socket for", address);
  const int on = 1;
  // Without it a restarted server could not bind while old connections are in TIME_WAIT.
  setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(socket.get(), wanted->get(), wanted->length) != 0) return Failed("bind", address);
  if (listen(socket.get(), SOMAXCONN) != 0) return Failed("listen on", address);
  SocketAddress bound;
  bound.length = sizeof bound.storage;
  if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound.storage), &bound.length) != 0)
    return Failed("find the port of", address);
  // sin_port and sin6_port are at the same place.
  *port = ntohs(reinterpret_cast<const sockaddr_in&>(bound.storage).sin_port);
  *listener = std::move(socket);
  return {};
}

std::optional<Fd> Accept(const Fd& listener, SocketAddress* from, bool* exhausted) {
  *exhausted = false;
  for (;;) {
    sockaddr* name = from ? reinterpret_cast<sockaddr*>(&from->storage) : nullptr;
    if (from) from->length = sizeof from->storage;
    const int fd =
        accept4(listener.get(), name, from ? &from->length : nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) return Fd(fd);
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      *exhausted = true;
      return std::nullopt;
    }
    // Linux passes errors of the new connection on through accept; the next one may be well. What
    // means that the listener itself is no good must not be tried for ever.
    if (errno == EBADF || errno == EINVAL || errno == ENOTSOCK || errno == EOPNOTSUPP)
      return std::nullopt;
  }
}

bool Watch(const Fd& epoll, int fd, std::uint32_t events, std::uint64_t id) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  if (epoll_ctl(epoll.get(), EPOLL_CTL_MOD, fd, &event) == 0) return true;
  return errno == ENOENT && epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace orchestra::net
