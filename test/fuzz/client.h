// The other end of a socket of the product: says and hears bytes, never blocks.
#pragma once
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "fuzz/target.h"
#include "net/socket.h"

namespace orchestra::fuzz {

class Client {
 public:
  explicit Client(const Address& to) {
    const auto address = net::ParseAddress(to);
    socket_ = net::Fd(socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0));
    Require(socket_.valid(), "there are sockets");
    const int result = connect(socket_.get(), address->get(), address->length);
    Require(result == 0 || errno == EINPROGRESS, "loopback connects");
  }
  explicit Client(net::Fd socket) : socket_(std::move(socket)) {}

  // As much as the kernel takes.
  void Say(std::string_view bytes) {
    if (!bytes.empty()) (void)!send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  // What came since the last call.
  std::string Listen() {
    std::string fresh;
    char part[4096];
    ssize_t got;
    while ((got = recv(socket_.get(), part, sizeof part, 0)) > 0)
      fresh.append(part, static_cast<std::size_t>(got));
    ended_ = ended_ || got == 0;
    return fresh;
  }
  bool ended() const { return ended_; }  // by the other side, in good order
  void ShutDown() { shutdown(socket_.get(), SHUT_WR); }
  // By a reset: thousands of runs must not leave thousands of ports in TIME_WAIT.
  void Reset() {
    const linger at_once{1, 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    socket_.Close();
  }
  ~Client() {
    if (socket_.valid()) Reset();
  }
  Client(Client&&) = default;
  Client& operator=(Client&&) = default;

 private:
  net::Fd socket_;
  bool ended_ = false;
};

}  // namespace orchestra::fuzz
