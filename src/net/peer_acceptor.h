// The receiving half of the peer port: private to PeerNet.
#pragma once
#include <map>

#include "net/peer_common.h"

namespace orchestra::net {

class PeerAcceptor {
 public:
  explicit PeerAcceptor(PeerContext* context) : context_(*context) {}

  NetError Start();
  bool listening() const { return listener_.valid(); }
  std::uint16_t port() const { return port_; }

  // false: `id` is none of ours.
  bool OnEvent(std::uint64_t id, Micros now, std::vector<Incoming>* out);
  void OnTime(Micros now);
  Micros NextTimeout(Micros now) const;

 private:
  enum class Stage : std::uint8_t { kHello, kProof, kOpen };
  struct Connection {
    Fd socket;
    std::string from;
    Stage stage = Stage::kHello;
    std::string in, out;
    std::string name;
    std::string detail;  // of what was refused
    SessionKeys keys;
    std::uint64_t received = 0;  // records
    std::uint64_t acked = 0;     // of them, acknowledged
    std::uint64_t acks = 0;      // records sent
    Micros deadline{};           // to prove itself, later to say something
    bool waiting_to_write = false;
  };
  using Connections = std::map<std::uint64_t, Connection>;  // oldest first

  void AcceptAll(Micros now, std::vector<Incoming>* out);
  void MakeRoom(Micros now, std::vector<Incoming>* out);
  Connections::iterator Victim();
  // All three: false when the connection must be closed.
  bool Receive(Connection* connection, Micros now, std::vector<Incoming>* out);
  bool Consume(Connection* connection, Micros now, std::vector<Incoming>* out);
  bool Acknowledge(std::uint64_t id, Connection* connection);

  // What is at the start of `bytes`, `*used` long.
  WireResult TakeHello(Connection* connection, std::string_view bytes, std::size_t* used);
  WireResult TakeRecord(Connection* connection, std::string_view bytes, std::size_t* used,
                        std::vector<Incoming>* out);

  PeerContext& context_;
  Fd listener_;
  std::uint64_t listener_id_ = 0;
  std::uint16_t port_ = 0;
  bool paused_ = false;
  Micros resume_at_{};
  Connections connections_;
};

}  // namespace orchestra::net
