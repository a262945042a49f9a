// The peer port: authenticated frames between nodes. Single-threaded, never blocks.
//
// Channels are simplex: a node dials each peer for what it sends; on accepted connections it only
// receives (and acknowledges, so that the dialer notices a connection that leads nowhere). Frames
// may be lost, never altered, repeated or reordered within one connection. Nothing here decides:
// cluster id and addressee in a frame's header are for the core to check.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/frame.h"
#include "core/register.h"
#include "core/types.h"
#include "net/secret.h"
#include "net/socket.h"

namespace orchestra::net {

struct PeerConfig {
  Address bind;      // IP literal of loopback; any other is refused until there is TLS. 0: any port
  std::string name;  // of this node, told to peers in clear (and authenticated)
  Secret secret;     // must not be empty

  Micros connect_timeout{1'000'000};  // connection and handshake, when dialing
  Micros ack_timeout{1'000'000};      // an unacknowledged connection is replaced after this
  Micros backoff_min{100'000}, backoff_max{1'000'000};  // from dial to dial
  Micros frame_lifetime{1'000'000};                     // a frame that waits longer is dropped
  std::size_t queue_frames = 128;                       // waiting for one peer
  std::size_t queue_bytes = 512 * 1024;

  Micros stranger_timeout{2'000'000};  // to prove oneself, when accepted
  Micros idle_timeout{30'000'000};     // an accepted connection that says nothing is closed
  std::size_t max_strangers = 32;      // accepted, not yet authenticated; oldest closed first
  std::size_t max_accepted = 64;       // all accepted; longest silent closed first
};

// Counters since Start. `refused_*` count connections closed for that reason.
struct PeerStats {
  std::uint64_t accepted = 0;       // TCP connections
  std::uint64_t authenticated = 0;  // of them, proved to know the secret
  std::uint64_t dialed = 0;
  std::uint64_t established = 0;  // dialed ones that reached an authenticated peer
  std::uint64_t received = 0, sent = 0;
  std::uint64_t dropped = 0;          // frames: queue full or waited too long
  std::uint64_t unacknowledged = 0;   // dialed connections replaced for want of acknowledgements
  std::uint64_t refused_garbage = 0;  // not our protocol, or not its order
  std::uint64_t refused_oversized = 0;
  std::uint64_t refused_bad_mac = 0;      // wrong secret, altered, or of another session
  std::uint64_t refused_replayed = 0;     // authentic, but not the next one
  std::uint64_t refused_undecodable = 0;  // authentic, but no frame that this version reads
  std::uint64_t refused_timeout = 0;      // did not prove itself in time
  std::uint64_t refused_crowded = 0;      // closed to make room
  std::uint64_t no_descriptors = 0;       // accept failed for want of resources
};

struct Incoming {
  Frame frame;
  std::string name;  // node name that the (authenticated) dialer gave
};

// One peer that this node sends to, for status.
struct PeerLink {
  Address to;
  bool established = false;
  std::size_t queued = 0;
  std::string error;  // why it is not established; empty: it is, or not tried yet
};

struct PeerIncident {
  Micros at{};
  std::string text;  // empty: none yet
};

class PeerNet {
 public:
  explicit PeerNet(PeerConfig config);
  ~PeerNet();
  PeerNet(const PeerNet&) = delete;
  PeerNet& operator=(const PeerNet&) = delete;

  // Opens the peer port. On failure (a port in use) call it again later; sending works meanwhile.
  NetError Start();
  bool listening() const;
  std::uint16_t port() const;  // really bound
  bool Uses(const Secret& secret) const;

  int fd() const;  // an epoll descriptor, readable when Poll has something to do; constant
  // Does all that can be done without waiting; appends what arrived, in order per peer.
  void Poll(Micros now, std::vector<Incoming>* out);
  // When Poll must be called at the latest although fd() stays quiet; at most a second.
  Micros NextTimeout(Micros now) const;

  // Queues one encoded frame for the peer at `to` and dials it when needed. Sends at once if it
  // can.
  void Send(Micros now, const Address& to, const std::string& frame);
  // Forgets every peer that is not in `wanted`.
  void Retain(const std::vector<Address>& wanted);

  const PeerStats& stats() const;
  std::vector<PeerLink> Links() const;
  // Last connection refused (either way), with its address; replaced at most once a second.
  const PeerIncident& last_incident() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace orchestra::net
