#include "net/peer_net.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

#include "net/peer_acceptor.h"
#include "net/peer_common.h"
#include "net/peer_dialer.h"

namespace orchestra::net {

void PeerContext::Remember(Micros now, std::string text) {
  if (!incident.text.empty() && now - incident.at < kLongestWait) return;
  incident = {now, std::move(text)};
}

std::string PeerContext::CountRefusal(WireResult result) {
  switch (result) {
    case WireResult::kOversized:
      ++stats.refused_oversized;
      return "a message longer than allowed";
    case WireResult::kBadMac:
      ++stats.refused_bad_mac;
      return "another secret, or bytes that were altered or belong to another session";
    case WireResult::kReplayed:
      ++stats.refused_replayed;
      return "a message out of order or sent twice";
    case WireResult::kBadVersion:
      ++stats.refused_garbage;
      return "another version of the peer protocol";
    case WireResult::kUnreadable:
      ++stats.refused_undecodable;
      return "an unreadable frame";
    case WireResult::kFailed:
      return "no randomness, or no message authentication";
    default:
      ++stats.refused_garbage;
      return "not the peer protocol";
  }
}

ReadResult ReadSome(const Fd& socket, std::size_t limit, std::string* buffer) {
  const std::size_t before = buffer->size();
  if (limit == 0) return ReadResult::kNothing;
  buffer->resize(before + limit);
  ssize_t got;
  do {
    got = recv(socket.get(), buffer->data() + before, limit, 0);
  } while (got < 0 && errno == EINTR);
  buffer->resize(before + (got > 0 ? static_cast<std::size_t>(got) : 0));
  if (got > 0) return ReadResult::kSome;
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return ReadResult::kNothing;
  if (got == 0) errno = 0;
  return ReadResult::kClosed;
}

bool WriteSome(const Fd& socket, std::string* buffer) {
  std::size_t done = 0;
  while (done < buffer->size()) {
    const ssize_t put =
        send(socket.get(), buffer->data() + done, buffer->size() - done, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return false;
    if (put <= 0) break;
    done += static_cast<std::size_t>(put);
  }
  buffer->erase(0, done);
  return true;
}

struct PeerNet::Parts {
  explicit Parts(PeerConfig config) : context(std::move(config)) {
    context.epoll = Fd(epoll_create1(EPOLL_CLOEXEC));
  }
  PeerContext context;
  PeerAcceptor acceptor{&context};
  PeerDialer dialer{&context};
};

PeerNet::PeerNet(PeerConfig config) : parts_(std::make_unique<Parts>(std::move(config))) {}
PeerNet::~PeerNet() = default;

NetError PeerNet::Start() {
  PeerContext& context = parts_->context;
  if (context.config.secret.empty())
    return {EINVAL, "the peer port is not opened without a secret"};
  if (!context.epoll.valid()) context.epoll = Fd(epoll_create1(EPOLL_CLOEXEC));
  if (!context.epoll.valid()) return {errno, "could not make an epoll set: " + ErrnoText(errno)};
  return parts_->acceptor.Start();
}

bool PeerNet::listening() const { return parts_->acceptor.listening(); }
std::uint16_t PeerNet::port() const { return parts_->acceptor.port(); }
bool PeerNet::Uses(const Secret& secret) const {
  return parts_->context.config.secret.bytes() == secret.bytes();
}
int PeerNet::fd() const { return parts_->context.epoll.get(); }

void PeerNet::Poll(Micros now, std::vector<Incoming>* out) {
  epoll_event events[128];
  const int count = epoll_wait(fd(), events, 128, 0);
  for (int i = 0; i < count; ++i) {
    const std::uint64_t id = events[i].data.u64;
    if (!parts_->acceptor.OnEvent(id, now, out)) parts_->dialer.OnEvent(id, now);
  }
  // After the events: what arrived while this process was frozen counts as in time.
  parts_->acceptor.OnTime(now);
  parts_->dialer.OnTime(now);
}

Micros PeerNet::NextTimeout(Micros now) const {
  return std::min(parts_->acceptor.NextTimeout(now), parts_->dialer.NextTimeout(now));
}

void PeerNet::Send(Micros now, const Address& to, const std::string& frame) {
  if (parts_->context.config.secret.empty()) return;
  parts_->dialer.Send(now, to, frame);
}

void PeerNet::Retain(const std::vector<Address>& wanted) { parts_->dialer.Retain(wanted); }
const PeerStats& PeerNet::stats() const { return parts_->context.stats; }
std::vector<PeerLink> PeerNet::Links() const { return parts_->dialer.Links(); }
const PeerIncident& PeerNet::last_incident() const { return parts_->context.incident; }

}  // namespace orchestra::net
