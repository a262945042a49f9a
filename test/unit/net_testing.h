// What the tests of src/net share: a loop that obeys the sockets' contracts, a node with a peer
// port, a client that says anything, and a relay in the middle.
#pragma once
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/peer_net.h"
#include "net/socket.h"

namespace orchestra::net {

// Runs parts that have an fd, a Poll and a NextTimeout, and calls Poll exactly when these promise
// that there is something to do: a wrong fd or timeout shows as a test that does not get on.
class Loop {
 public:
  struct Part {
    std::function<int()> fd;
    std::function<void(Micros)> poll;
    std::function<Micros(Micros)> timeout;
  };
  Part& Add(Part part) {
    parts_.push_back(std::make_unique<Part>(std::move(part)));
    return *parts_.back();
  }
  void Remove(const Part* part) {
    std::erase_if(parts_, [part](const auto& each) { return each.get() == part; });
  }

  Micros Now() const {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<Micros>(now) + ahead_;
  }
  void Advance(Micros by) { ahead_ += by; }  // the parts see a later time; nobody waits

  // true as soon as `done` is; false after `limit` of real time.
  bool Until(const std::function<bool()>& done, Micros limit = std::chrono::seconds(10)) {
    const Micros deadline = Now() + limit;
    for (;;) {
      if (done()) return true;
      const Micros left = deadline - Now();
      if (left <= Micros{0}) return false;
      Turn(std::min<Micros>(left, std::chrono::milliseconds(5)));
    }
  }

 private:
  void Turn(Micros longest) {
    std::vector<pollfd> fds;
    std::vector<Micros> due;
    Micros now = Now();
    for (const auto& part : parts_) {
      fds.push_back({part->fd(), POLLIN, 0});
      due.push_back(now + part->timeout(now));
      longest = std::min(longest, due.back() - now);
    }
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(std::max(longest, Micros{0}));
    poll(fds.data(), fds.size(), static_cast<int>(wait.count()));
    now = Now();
    for (std::size_t i = 0; i < fds.size(); ++i)
      if (fds[i].revents != 0 || now >= due[i]) parts_[i]->poll(now);
  }

  std::vector<std::unique_ptr<Part>> parts_;
  Micros ahead_{};
};

inline constexpr const char* kSecret = "sixteen bytes at the least";

inline PeerConfig TestConfig(const std::string& name, const std::string& secret = kSecret) {
  PeerConfig config;
  config.bind = {"127.0.0.1", 0};
  config.name = name;
  config.secret = Secret(secret);
  return config;
}

inline std::string SampleFrame(std::uint64_t round) {
  Frame frame;
  frame.header.cluster = ClusterId{7};
  frame.header.node = NodeId{1};
  frame.message = Prepare{{round, NodeId{1}}};
  return EncodeFrame(frame);
}

// A peer port in a loop, and what it heard.
class TestPeer {
 public:
  TestPeer(Loop* loop, PeerConfig config) : loop_(*loop), net(std::move(config)) {
    const NetError error = net.Start();
    EXPECT_TRUE(error.ok()) << error.text;
    part_ = &loop_.Add({[this] { return net.fd(); }, [this](Micros now) { net.Poll(now, &heard); },
                        [this](Micros now) { return net.NextTimeout(now); }});
  }
  ~TestPeer() { loop_.Remove(part_); }
  TestPeer(const TestPeer&) = delete;

  Address address() const { return {"127.0.0.1", net.port()}; }
  void Send(const Address& to, std::uint64_t round) {
    net.Send(loop_.Now(), to, SampleFrame(round));
  }
  std::vector<std::uint64_t> rounds() const {
    std::vector<std::uint64_t> all;
    for (const Incoming& each : heard)
      all.push_back(std::get<Prepare>(each.frame.message).ballot.round);
    return all;
  }
  bool Heard(std::uint64_t round) const {
    const auto all = rounds();
    return std::find(all.begin(), all.end(), round) != all.end();
  }

 private:
  Loop& loop_;
  Loop::Part* part_;

 public:
  PeerNet net;
  std::vector<Incoming> heard;
};

// A plain TCP client.
class RawClient {
 public:
  explicit RawClient(const Address& to) {
    const auto address = ParseAddress(to);
    socket_ = Fd(socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0));
    const int result = connect(socket_.get(), address->get(), address->length);
    EXPECT_TRUE(result == 0 || errno == EINPROGRESS) << ErrnoText(errno);
  }
  explicit RawClient(Fd socket) : socket_(std::move(socket)) {}

  // Sends what the kernel takes now, the rest with the next call; also after the other side ended.
  void Say(const std::string& bytes) {
    unsent_ += bytes;
    while (!unsent_.empty() && error_ == 0) {
      const ssize_t put = send(socket_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
      if (put < 0) {
        if (errno != EAGAIN && errno != ENOTCONN) error_ = errno, closed_ = true;
        return;
      }
      unsent_.erase(0, static_cast<std::size_t>(put));
    }
  }
  // What has been heard so far; Listen() returns what is new.
  std::string Listen() {
    Say({});
    std::string fresh;
    char part[4096];
    while (!closed_) {
      const ssize_t got = recv(socket_.get(), part, sizeof part, 0);
      if (got > 0) {
        fresh.append(part, static_cast<std::size_t>(got));
        continue;
      }
      if (got < 0 && (errno == EAGAIN || errno == ENOTCONN)) break;
      if (got < 0) error_ = errno;
      closed_ = true;
    }
    heard_ += fresh;
    return fresh;
  }
  const std::string& heard() const { return heard_; }
  bool Closed() {
    Listen();
    return closed_;
  }
  int error() const { return error_; }  // 0: none; ECONNRESET: a reset was seen
  void ShutDown() { shutdown(socket_.get(), SHUT_WR); }

 private:
  Fd socket_;
  std::string unsent_, heard_;
  bool closed_ = false;
  int error_ = 0;
};

// Stands between a dialer and an acceptor; sees and may change every byte.
class Relay {
 public:
  using Filter = std::function<std::string(std::string)>;  // what is passed on instead
  Relay(Loop* loop, Address to) : loop_(*loop), to_(std::move(to)) {
    EXPECT_TRUE(net::Listen({"127.0.0.1", 0}, &listener_, &port_).ok());
    part_ = &loop_.Add({[this] { return listener_.get(); }, [this](Micros) { Move(); },
                        [](Micros) { return Micros(1000); }});
  }
  ~Relay() { loop_.Remove(part_); }
  Relay(const Relay&) = delete;

  Address address() const { return {"127.0.0.1", port_}; }
  std::size_t dials() const { return pairs_.size(); }
  const std::string& said() const { return said_; }  // by dialers, unfiltered, all connections

  Filter to_acceptor = [](std::string bytes) { return bytes; };
  Filter to_dialer = [](std::string bytes) { return bytes; };

 private:
  void Move() {
    bool exhausted = false;
    while (auto dialer = Accept(listener_, nullptr, &exhausted))
      pairs_.push_back(
          {std::make_unique<RawClient>(std::move(*dialer)), std::make_unique<RawClient>(to_)});
    for (auto& [dialer, acceptor] : pairs_) {
      if (!dialer) continue;
      const std::string up = dialer->Listen();
      said_ += up;
      acceptor->Say(up.empty() ? up : to_acceptor(up));
      const std::string down = acceptor->Listen();
      dialer->Say(down.empty() ? down : to_dialer(down));
      if (dialer->Closed() || acceptor->Closed()) dialer.reset(), acceptor.reset();
    }
  }

  Loop& loop_;
  Address to_;
  Fd listener_;
  std::uint16_t port_ = 0;
  Loop::Part* part_;
  std::vector<std::pair<std::unique_ptr<RawClient>, std::unique_ptr<RawClient>>> pairs_;
  std::string said_;
};

}  // namespace orchestra::net
