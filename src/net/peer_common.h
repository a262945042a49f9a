// What both halves of the peer port share: private to PeerNet.
#pragma once
#include <string>

#include "net/peer_net.h"
#include "net/peer_wire.h"
#include "net/socket.h"

namespace orchestra::net {

struct PeerContext {
  explicit PeerContext(PeerConfig wanted) : config(std::move(wanted)) {}

  PeerConfig config;
  Fd epoll;
  PeerStats stats;
  PeerIncident incident;
  // Names a socket in the epoll set. Never used twice, so that an event cannot reach the wrong one.
  std::uint64_t NewId() { return ++last_id; }
  std::uint64_t last_id = 0;

  // Remembers a refusal for people; a flood of them must not cost more than one.
  void Remember(Micros now, std::string text);
  // Counts why bytes were refused, and says it.
  std::string CountRefusal(WireResult result);
};

enum class ReadResult : std::uint8_t { kSome, kNothing, kClosed };

// Appends at most `limit` bytes.
ReadResult ReadSome(const Fd& socket, std::size_t limit, std::string* buffer);
// Removes from `buffer` what the kernel took. false: the connection is broken.
bool WriteSome(const Fd& socket, std::string* buffer);

inline constexpr std::size_t kReadBytes = 64 * 1024;  // from one socket at a time
inline constexpr Micros kLongestWait{1'000'000};

}  // namespace orchestra::net
