#include "net/peer_acceptor.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

namespace orchestra::net {

namespace {

constexpr std::size_t kStrangerBytes = 256;
constexpr Micros kPause{100'000};

}  // namespace

NetError PeerAcceptor::Start() {
  if (listening()) return {};
  const Address& bind = context_.config.bind;
  const auto address = ParseAddress(bind);
  if (!address) return {EINVAL, "peer address \"" + bind.host + "\" is not an IP address"};
  if (!IsLoopback(*address))
    return {EACCES, "peer address " + bind.host +
                        " is refused: peers talk unencrypted, so only a loopback address (such as "
                        "127.0.0.1) is allowed"};
  Fd listener;
  if (NetError error = Listen(bind, &listener, &port_); !error.ok()) return error;
  const std::uint64_t id = context_.NewId();
  if (!Watch(context_.epoll, listener.get(), EPOLLIN, id))
    return {errno, "could not watch the peer port: " + ErrnoText(errno)};
  listener_ = std::move(listener);
  listener_id_ = id;
  return {};
}

bool PeerAcceptor::OnEvent(std::uint64_t id, Micros now, std::vector<Incoming>* out) {
  if (listening() && id == listener_id_) {
    AcceptAll(now, out);
    return true;
  }
  const auto found = connections_.find(id);
  if (found == connections_.end()) return false;
  Connection& connection = found->second;
  // What arrived is delivered even if the connection breaks right after it.
  if (!Receive(&connection, now, out) || !Acknowledge(id, &connection)) connections_.erase(found);
  return true;
}

void PeerAcceptor::AcceptAll(Micros now, std::vector<Incoming>* out) {
  for (;;) {
    bool exhausted = false;
    SocketAddress from;
    auto socket = Accept(listener_, &from, &exhausted);
    if (exhausted) {
      // Without a pause the listener would stay readable and its owner would spin.
      ++context_.stats.no_descriptors;
      paused_ = Watch(context_.epoll, listener_.get(), 0, listener_id_);
      resume_at_ = now + kPause;
    }
    if (!socket) return;
    ++context_.stats.accepted;
    MakeRoom(now, out);
    const int on = 1;
    setsockopt(socket->get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const std::uint64_t id = context_.NewId();
    if (!Watch(context_.epoll, socket->get(), EPOLLIN, id)) continue;
    Connection connection;
    connection.socket = std::move(*socket);
    connection.from = ToText(from);
    connection.deadline = now + context_.config.stranger_timeout;
    connections_.emplace(id, std::move(connection));
    OnEvent(id, now, out);  // its HELLO is often here already
  }
}

// The connection that is worth least: the oldest that said nothing yet, the oldest that proved
// nothing yet, the one that has been silent for longest.
PeerAcceptor::Connections::iterator PeerAcceptor::Victim() {
  const auto rank = [](const auto& entry) {
    const Connection& connection = entry.second;
    return std::make_pair(connection.stage, connection.deadline);
  };
  return std::min_element(connections_.begin(), connections_.end(),
                          [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
}

void PeerAcceptor::MakeRoom(Micros now, std::vector<Incoming>* out) {
  for (;;) {
    const auto strangers = static_cast<std::size_t>(
        std::count_if(connections_.begin(), connections_.end(),
                      [](const auto& entry) { return entry.second.stage != Stage::kOpen; }));
    if (strangers < context_.config.max_strangers &&
        connections_.size() < context_.config.max_accepted)
      return;
    const auto victim = Victim();
    const std::uint64_t id = victim->first;
    const Stage before = victim->second.stage;
    // A last look: what a good peer said may be waiting behind a flood of strangers.
    OnEvent(id, now, out);
    const auto still = connections_.find(id);
    if (still == connections_.end() || still->second.stage != before) continue;
    ++context_.stats.refused_crowded;
    context_.Remember(now, "peer connection from " + still->second.from +
                               " closed: too many connections at once");
    connections_.erase(still);
  }
}

bool PeerAcceptor::Receive(Connection* connection, Micros now, std::vector<Incoming>* out) {
  // A stranger may say little, and a proof leaves room for what follows it.
  const std::size_t limit = connection->stage == Stage::kOpen
                                ? kReadBytes
                                : kStrangerBytes - std::min(kStrangerBytes, connection->in.size());
  const ReadResult result = ReadSome(connection->socket, limit, &connection->in);
  return Consume(connection, now, out) && result != ReadResult::kClosed;
}

bool PeerAcceptor::Consume(Connection* connection, Micros now, std::vector<Incoming>* out) {
  const std::string_view in = connection->in;
  std::size_t done = 0;
  for (;;) {
    std::size_t used = 0;
    const WireResult result = connection->stage == Stage::kHello
                                  ? TakeHello(connection, in.substr(done), &used)
                                  : TakeRecord(connection, in.substr(done), &used, out);
    if (result == WireResult::kIncomplete) break;
    if (result != WireResult::kComplete) {
      context_.Remember(now, "peer connection from " + connection->from +
                                 " refused: " + context_.CountRefusal(result) + connection->detail);
      return false;
    }
    done += used;
    if (connection->stage == Stage::kOpen)
      connection->deadline = now + context_.config.idle_timeout;
  }
  connection->in.erase(0, done);
  return true;
}

WireResult PeerAcceptor::TakeHello(Connection* connection, std::string_view bytes,
                                   std::size_t* used) {
  const WireResult result = ParseHello(bytes, used, &connection->name);
  if (result != WireResult::kComplete) return result;
  const std::string_view hello = bytes.substr(0, *used);
  const Secret& secret = context_.config.secret;
  Nonce nonce{};
  if (!RandomBytes(nonce.data(), nonce.size())) return WireResult::kFailed;
  auto welcome = EncodeWelcome(secret, hello, nonce);
  auto keys = DeriveKeys(secret, hello, nonce);
  if (!welcome || !keys) return WireResult::kFailed;
  connection->keys = std::move(*keys);
  connection->out += *welcome;
  connection->stage = Stage::kProof;
  return result;
}

WireResult PeerAcceptor::TakeRecord(Connection* connection, std::string_view bytes,
                                    std::size_t* used, std::vector<Incoming>* out) {
  const bool proof = connection->stage == Stage::kProof;
  std::string_view payload;
  const WireResult result = ParseRecord(bytes, connection->keys.to_acceptor, connection->received,
                                        proof ? 0 : kMaxFrameBytes, used, &payload);
  if (result != WireResult::kComplete) return result;
  ++connection->received;
  if (proof) {
    connection->stage = Stage::kOpen;
    ++context_.stats.authenticated;
    return result;
  }
  auto frame = DecodeFrame(payload);
  if (const auto* error = std::get_if<FrameError>(&frame)) {
    connection->detail = ": " + std::string(NameOf(*error));
    return WireResult::kUnreadable;
  }
  ++context_.stats.received;
  out->push_back({std::move(std::get<Frame>(frame)), connection->name});
  return result;
}

// One acknowledgement for all that came; while one cannot be written, the next waits and covers
// more.
bool PeerAcceptor::Acknowledge(std::uint64_t id, Connection* connection) {
  if (connection->out.empty() && connection->received > connection->acked) {
    auto record = EncodeRecord(connection->keys.to_dialer, connection->acks++,
                               EncodeCount(connection->received));
    if (!record) return false;
    connection->acked = connection->received;
    connection->out = std::move(*record);
  }
  if (!connection->out.empty() && !WriteSome(connection->socket, &connection->out)) return false;
  const bool more = !connection->out.empty() || connection->acked < connection->received;
  if (more == connection->waiting_to_write) return true;
  connection->waiting_to_write = more;
  return Watch(context_.epoll, connection->socket.get(), more ? EPOLLIN | EPOLLOUT : EPOLLIN, id);
}

void PeerAcceptor::OnTime(Micros now) {
  if (paused_ && now >= resume_at_)
    paused_ = !Watch(context_.epoll, listener_.get(), EPOLLIN, listener_id_);
  std::erase_if(connections_, [&](const auto& entry) {
    const Connection& connection = entry.second;
    if (now < connection.deadline) return false;
    if (connection.stage != Stage::kOpen) {
      ++context_.stats.refused_timeout;
      context_.Remember(now, "peer connection from " + connection.from +
                                 " refused: did not prove itself in time");
    }
    return true;
  });
}

Micros PeerAcceptor::NextTimeout(Micros now) const {
  Micros next = now + kLongestWait;
  if (paused_) next = std::min(next, resume_at_);
  for (const auto& [id, connection] : connections_) next = std::min(next, connection.deadline);
  return std::max(next - now, Micros{0});
}

}  // namespace orchestra::net
