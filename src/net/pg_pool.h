// Many PgClients in one epoll set, for an owner that waits on one descriptor.
#pragma once
#include <memory>
#include <vector>

#include "net/pg_client.h"
#include "net/socket.h"

namespace orchestra::net {

class PgPool {
 public:
  PgPool();
  ~PgPool();

  int fd() const { return epoll_.get(); }  // readable when Poll has something to do; constant
  std::size_t size() const { return clients_.size(); }
  void Resize(std::size_t count);  // new ones are closed; surplus ones are ended
  PgClient& at(std::size_t index) { return *clients_[index]; }

  // Polls the clients whose sockets are ready or whose deadlines have passed, and watches what
  // every client waits for now. The owner looks at each client's state and outcome afterwards, and
  // calls Watch() if it started something outside of its own Poll.
  void Poll(Micros now);
  void Watch();
  Micros NextTimeout(Micros now) const;  // at most a second

 private:
  Fd epoll_;
  std::vector<std::unique_ptr<PgClient>> clients_;
};

}  // namespace orchestra::net
