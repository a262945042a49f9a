#include "net/peer_dialer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

namespace orchestra::net {

namespace {

constexpr std::size_t kMaxLinks = 2 * kMaxMembers;  // members and seeds
constexpr unsigned kUserTimeoutMs = 2000;

void Tune(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUserTimeoutMs, sizeof kUserTimeoutMs);
}

}  // namespace

PeerDialer::Link* PeerDialer::FindOrMake(const Address& to) {
  for (const auto& link : links_)
    if (link->to == to) return link.get();
  if (links_.size() >= kMaxLinks) return nullptr;
  links_.push_back(std::make_unique<Link>());
  links_.back()->to = to;
  links_.back()->backoff = context_.config.backoff_min;
  return links_.back().get();
}

void PeerDialer::Send(Micros now, const Address& to, const std::string& frame) {
  Link* link = FindOrMake(to);
  if (link) Expire(now, link);
  const PeerConfig& config = context_.config;
  if (!link || frame.size() > kMaxFrameBytes || link->queue.size() >= config.queue_frames ||
      link->queued_bytes + frame.size() > config.queue_bytes) {
    ++context_.stats.dropped;
    return;
  }
  link->queue.push_back({now, frame});
  link->queued_bytes += frame.size();
  Pump(now, link);
}

void PeerDialer::Retain(const std::vector<Address>& wanted) {
  std::erase_if(links_, [&](const auto& link) {
    return std::find(wanted.begin(), wanted.end(), link->to) == wanted.end();
  });
}

std::vector<PeerLink> PeerDialer::Links() const {
  std::vector<PeerLink> all;
  for (const auto& link : links_)
    all.push_back({link->to, link->stage == Stage::kOpen, link->queue.size(), link->error});
  return all;
}

// Old frames say old things; a peer that was away should hear the present.
void PeerDialer::Expire(Micros now, Link* link) {
  while (!link->queue.empty() && now - link->queue.front().since > context_.config.frame_lifetime) {
    link->queued_bytes -= link->queue.front().frame.size();
    link->queue.pop_front();
    ++context_.stats.dropped;
  }
}

void PeerDialer::Dial(Micros now, Link* link) {
  link->dial_at = now + link->backoff;
  link->backoff = std::min(link->backoff * 2, context_.config.backoff_max);
  const auto address = ParseAddress(link->to);
  if (!address) return Hang(now, link, "not an IP address");
  if (!IsLoopback(*address))
    return Hang(now, link, "not a loopback address, and peers talk unencrypted");
  Nonce nonce{};
  if (!RandomBytes(nonce.data(), nonce.size())) return Hang(now, link, "no random bytes yet");
  link->socket =
      Fd(socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!link->socket.valid()) return Hang(now, link, ErrnoText(errno));
  Tune(link->socket.get());
  ++context_.stats.dialed;
  if (connect(link->socket.get(), address->get(), address->length) != 0 && errno != EINPROGRESS)
    return Hang(now, link, ErrnoText(errno));
  link->id = context_.NewId();
  if (!Watch(context_.epoll, link->socket.get(), EPOLLOUT, link->id))
    return Hang(now, link, ErrnoText(errno));
  link->stage = Stage::kConnecting;
  link->deadline = now + context_.config.connect_timeout;
  link->hello = EncodeHello(nonce, context_.config.name);
}

// Ends the present connection; what was sent and not acknowledged is lost, what waits is kept.
void PeerDialer::Hang(Micros now, Link* link, std::string reason) {
  link->dial_at = std::max(link->dial_at, now);
  link->stage = Stage::kIdle;
  link->id = 0;
  link->socket.Close();
  link->in.clear();
  link->out.clear();
  link->keys = {};
  link->sent = link->acked = link->acks = 0;
  link->waiting_to_write = false;
  link->error = std::move(reason);
}

void PeerDialer::Pump(Micros now, Link* link) {
  Expire(now, link);
  if (link->stage == Stage::kIdle && !link->queue.empty() && now >= link->dial_at) Dial(now, link);
  if (link->stage != Stage::kOpen) return;
  while (link->out.empty() && !link->queue.empty()) {
    const Waiting waiting = std::move(link->queue.front());
    link->queue.pop_front();
    link->queued_bytes -= waiting.frame.size();
    if (!Append(now, link, waiting.frame)) return;
    ++context_.stats.sent;
    if (!Flush(now, link)) return;
  }
}

bool PeerDialer::Append(Micros now, Link* link, std::string_view payload) {
  auto record = EncodeRecord(link->keys.to_acceptor, link->sent, payload);
  if (!record) {
    Hang(now, link, "could not compute a MAC");
    return false;
  }
  if (link->acked == link->sent) link->deadline = now + context_.config.ack_timeout;
  ++link->sent;
  link->out += *record;
  return true;
}

bool PeerDialer::Flush(Micros now, Link* link) {
  if (!link->out.empty() && !WriteSome(link->socket, &link->out)) {
    Hang(now, link, "connection lost: " + ErrnoText(errno));
    return false;
  }
  const bool more = !link->out.empty();
  if (more == link->waiting_to_write) return true;
  link->waiting_to_write = more;
  if (Watch(context_.epoll, link->socket.get(), more ? EPOLLIN | EPOLLOUT : EPOLLIN, link->id))
    return true;
  Hang(now, link, ErrnoText(errno));
  return false;
}

bool PeerDialer::OnEvent(std::uint64_t id, Micros now) {
  const auto found =
      std::find_if(links_.begin(), links_.end(), [id](const auto& link) { return link->id == id; });
  if (found == links_.end()) return false;
  Link* link = found->get();
  const bool alive = link->stage == Stage::kConnecting ? OnConnected(now, link)
                                                       : Receive(now, link) && Flush(now, link);
  if (alive) Pump(now, link);
  return true;
}

bool PeerDialer::OnConnected(Micros now, Link* link) {
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(link->socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) {
    Hang(now, link, ErrnoText(error));
    return false;
  }
  link->stage = Stage::kWelcome;
  link->out = link->hello;
  link->waiting_to_write = true;  // EPOLLOUT is what is watched now
  return Flush(now, link);
}

bool PeerDialer::Receive(Micros now, Link* link) {
  const ReadResult result = ReadSome(link->socket, kReadBytes, &link->in);
  const int code = errno;
  if (link->stage == Stage::kWelcome && !TakeWelcome(now, link)) return false;
  if (link->stage == Stage::kOpen && !TakeAcks(now, link)) return false;
  if (result != ReadResult::kClosed) return true;
  Hang(now, link, code == 0 ? "closed by the peer" : "connection lost: " + ErrnoText(code));
  return false;
}

bool PeerDialer::Refuse(Micros now, Link* link, WireResult result) {
  const std::string reason = context_.CountRefusal(result);
  context_.Remember(now, "peer " + ToText(link->to) + " refused: " + reason);
  Hang(now, link, reason);
  return false;
}

bool PeerDialer::TakeWelcome(Micros now, Link* link) {
  std::size_t size = 0;
  Nonce nonce{};
  const WireResult result =
      ParseWelcome(link->in, context_.config.secret, link->hello, &size, &nonce);
  if (result == WireResult::kIncomplete) return true;
  if (result != WireResult::kComplete) return Refuse(now, link, result);
  auto keys = DeriveKeys(context_.config.secret, link->hello, nonce);
  if (!keys) {
    Hang(now, link, "could not compute a MAC");
    return false;
  }
  link->in.erase(0, size);
  link->keys = std::move(*keys);
  link->stage = Stage::kOpen;
  link->error.clear();
  ++context_.stats.established;
  return Append(now, link, {});  // the proof
}

bool PeerDialer::TakeAcks(Micros now, Link* link) {
  for (;;) {
    std::size_t size = 0;
    std::string_view payload;
    WireResult result = ParseRecord(link->in, link->keys.to_dialer, link->acks,
                                    sizeof(std::uint64_t), &size, &payload);
    if (result == WireResult::kIncomplete) return true;
    const auto count = result == WireResult::kComplete ? DecodeCount(payload) : std::nullopt;
    if (result == WireResult::kComplete && (!count || *count <= link->acked || *count > link->sent))
      result = WireResult::kGarbage;
    if (result != WireResult::kComplete) return Refuse(now, link, result);
    link->in.erase(0, size);
    ++link->acks;
    link->acked = *count;
    link->deadline = now + context_.config.ack_timeout;
    link->backoff = context_.config.backoff_min;
  }
}

void PeerDialer::OnTime(Micros now) {
  for (const auto& link : links_) {
    const bool opening = link->stage == Stage::kConnecting || link->stage == Stage::kWelcome;
    const bool unacknowledged = link->stage == Stage::kOpen && link->acked < link->sent;
    if (opening && now >= link->deadline) Hang(now, link.get(), "no answer in time");
    if (unacknowledged && now >= link->deadline) {
      ++context_.stats.unacknowledged;
      Hang(now, link.get(), "no acknowledgement in time");
    }
    Pump(now, link.get());
  }
}

Micros PeerDialer::NextTimeout(Micros now) const {
  Micros next = now + kLongestWait;
  for (const auto& link : links_) {
    if (link->stage == Stage::kIdle) {
      if (!link->queue.empty()) next = std::min(next, link->dial_at);
    } else if (link->stage != Stage::kOpen || link->acked < link->sent) {
      next = std::min(next, link->deadline);
    }
  }
  return std::max(next - now, Micros{0});
}

}  // namespace orchestra::net
