// The sending half of the peer port: private to PeerNet.
#pragma once
#include <deque>
#include <memory>

#include "net/peer_common.h"

namespace orchestra::net {

class PeerDialer {
 public:
  explicit PeerDialer(PeerContext* context) : context_(*context) {}

  void Send(Micros now, const Address& to, const std::string& frame);
  void Retain(const std::vector<Address>& wanted);
  std::vector<PeerLink> Links() const;

  // false: `id` is none of ours.
  bool OnEvent(std::uint64_t id, Micros now);
  void OnTime(Micros now);
  Micros NextTimeout(Micros now) const;

 private:
  enum class Stage : std::uint8_t { kIdle, kConnecting, kWelcome, kOpen };
  struct Waiting {
    Micros since;
    std::string frame;
  };
  struct Link {
    Address to;
    std::deque<Waiting> queue;
    std::size_t queued_bytes = 0;
    std::string error;
    Micros backoff{};
    Micros dial_at{};  // not before

    // of the present connection
    Stage stage = Stage::kIdle;
    std::uint64_t id = 0;
    Fd socket;
    std::string in, out;
    std::string hello;
    SessionKeys keys;
    std::uint64_t sent = 0, acked = 0;  // records
    std::uint64_t acks = 0;             // acknowledgements received
    Micros deadline{};  // of connecting, or of the next acknowledgement while acked < sent
    bool waiting_to_write = false;
  };

  Link* FindOrMake(const Address& to);
  void Expire(Micros now, Link* link);
  void Dial(Micros now, Link* link);
  void Hang(Micros now, Link* link, std::string reason);
  // Sends what waits, as far as the connection takes it; dials when there is none.
  void Pump(Micros now, Link* link);
  bool Append(Micros now, Link* link, std::string_view payload);
  // All: false when the connection is over (Hang has been called).
  bool Flush(Micros now, Link* link);
  bool OnConnected(Micros now, Link* link);
  bool Receive(Micros now, Link* link);
  bool TakeWelcome(Micros now, Link* link);
  bool TakeAcks(Micros now, Link* link);
  bool Refuse(Micros now, Link* link, WireResult result);

  PeerContext& context_;
  std::vector<std::unique_ptr<Link>> links_;
};

}  // namespace orchestra::net
