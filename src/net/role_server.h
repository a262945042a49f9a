// The role port for load balancers: whoever connects gets one word and the end of the stream.
// Single-threaded, never blocks, bounded; a client that speaks first sees no reset.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "net/socket.h"

namespace orchestra::net {

struct RoleStats {
  std::uint64_t answered = 0;
  std::uint64_t failed = 0;          // gone before the answer was written
  std::uint64_t cut_short = 0;       // closed before the client closed: time, bytes or number
  std::uint64_t no_descriptors = 0;  // accept failed for want of resources
};

class RoleServer {
 public:
  explicit RoleServer(Address bind) : bind_(std::move(bind)) {}  // IP literal, any; port 0: any

  // Opens the port. On failure (a port in use) call it again later.
  NetError Start();
  bool listening() const { return listener_.valid(); }
  std::uint16_t port() const { return port_; }

  int fd() const { return epoll_.get(); }  // readable when clients wait; -1 until Start succeeded
  // Answers everyone who waits with `answer`, exactly as it is.
  void Poll(Micros now, std::string_view answer);
  // When Poll must be called at the latest although fd() stays quiet; at most a second.
  Micros NextTimeout(Micros now) const;

  const RoleStats& stats() const { return stats_; }

 private:
  // Answered; kept until the client closes, so that nothing it says is met with a reset.
  struct Client {
    Fd socket;
    Micros since;
    Micros check_at;
    std::size_t heard;
  };
  void AcceptAll(Micros now, std::string_view answer);
  void Linger(Micros now, Fd socket);
  void Sweep(Micros now);
  bool Finished(Micros now, Client* client);
  void PauseListener(Micros now);

  Address bind_;
  Fd epoll_, listener_;
  std::uint16_t port_ = 0;
  std::vector<Client> clients_;  // oldest first
  Micros sweep_at_{};
  Micros resume_at_{};
  bool paused_ = false;
  RoleStats stats_;
};

}  // namespace orchestra::net
