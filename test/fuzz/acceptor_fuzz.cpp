// The peer port as those see it who connect to it: strangers, and peers that go wrong. What is
// delivered was said by somebody who knows the secret, once and in order.
#include <array>
#include <deque>
#include <memory>

#include "fuzz/client.h"
#include "fuzz/frames.h"
#include "fuzz/input.h"
#include "net/peer_net.h"
#include "net/peer_wire.h"

namespace orchestra::fuzz {
namespace {

using namespace orchestra::net;

enum Act : std::uint8_t { kConnect, kSay, kHello, kProof, kFrame, kLate, kWait, kLeave, kActs };
constexpr std::size_t kMostPeers = 8;
constexpr const char* kSecret = "sixteen bytes at the least";

PeerConfig Config() {
  PeerConfig config;
  config.bind = {"127.0.0.1", 0};
  config.name = "n1";
  config.secret = Secret(kSecret);
  config.max_strangers = 3;
  config.max_accepted = 5;
  return config;
}

// Somebody who knows the secret, and sometimes forgets himself.
struct Peer {
  Peer(const Address& to, std::string called) : client(to), name(std::move(called)) {}
  Client client;
  std::string name;  // no two have the same
  std::string hello, heard;
  std::optional<SessionKeys> keys;
  std::uint64_t said = 0;               // records
  std::deque<std::string> undelivered;  // frames
};

class Scene {
 public:
  Scene() { Require(net_.Start().ok(), "the peer port opens"); }

  void Play(Input& in) {
    const std::size_t act = in.Choose(kActs);
    if (act == kConnect && peers_.size() < kMostPeers)
      peers_.push_back(std::make_unique<Peer>(Address{"127.0.0.1", net_.port()},
                                              "peer " + std::to_string(++names_)));
    if (act == kWait) now_ += std::chrono::milliseconds(in.Take<std::uint16_t>());
    if (act != kConnect && act != kWait && !peers_.empty()) {
      const std::size_t at = in.Choose(peers_.size());
      if (act == kLeave)
        peers_.erase(peers_.begin() + static_cast<std::ptrdiff_t>(at));
      else
        Speak(act, *peers_[at], in);
    }
    Look();
  }

 private:
  void Speak(std::size_t act, Peer& peer, Input& in) {
    if (act == kSay) peer.client.Say(in.Chunk());
    if (act == kHello) {
      peer.hello = EncodeHello(Nonce{in.Byte()}, peer.name);
      peer.client.Say(peer.hello);
    }
    if (act == kProof) Prove(peer);
    if (act == kFrame && peer.keys) {
      const std::string frame = Framed(in.Chunk());
      if (frame.size() > kMaxFrameBytes) return;
      peer.undelivered.push_back(frame);
      Record(peer, peer.said++, frame);
    }
    if (act == kLate && peer.keys) {  // again, or one too early
      const std::uint64_t sequence = in.Take<std::uint64_t>();
      if (sequence != peer.said) Record(peer, sequence, Framed(in.Chunk()));
    }
  }
  void Prove(Peer& peer) {
    std::size_t size = 0;
    Nonce nonce{};
    if (peer.keys || peer.hello.empty()) return;
    peer.heard += peer.client.Listen();
    const Secret secret(kSecret);
    if (ParseWelcome(peer.heard, secret, peer.hello, &size, &nonce) != WireResult::kComplete)
      return;
    peer.keys = DeriveKeys(secret, peer.hello, nonce);
    Record(peer, peer.said++, "");
  }
  static void Record(Peer& peer, std::uint64_t sequence, std::string_view payload) {
    const auto record = EncodeRecord(peer.keys->to_acceptor, sequence, payload);
    Require(record.has_value(), "a record can be made");
    peer.client.Say(*record);
  }
  void Look() {
    std::vector<Incoming> incoming;
    net_.Poll(now_, &incoming);
    for (const Incoming& each : incoming) Delivered(each);
    received_ += incoming.size();
    const PeerStats& stats = net_.stats();
    Require(stats.received == received_, "what is counted is delivered");
    Require(stats.authenticated <= stats.accepted, "who is authenticated was accepted");
    const Micros next = net_.NextTimeout(now_);
    Require(next >= Micros{0} && next <= std::chrono::seconds(1), "the next look is soon");
  }
  void Delivered(const Incoming& incoming) {
    const std::string image = EncodeFrame(incoming.frame);
    for (const auto& peer : peers_) {
      if (peer->name != incoming.name) continue;
      Require(!peer->undelivered.empty() && peer->undelivered.front() == image,
              "a frame is delivered once, unaltered and in order");
      peer->undelivered.pop_front();
      return;
    }
    // Of one who left: it was in the kernel's buffer already, so he did say it.
    Require(incoming.name.starts_with("peer "), "a frame is of somebody who said his name");
  }

  PeerNet net_{Config()};
  std::vector<std::unique_ptr<Peer>> peers_;
  int names_ = 0;
  std::uint64_t received_ = 0;
  Micros now_ = std::chrono::seconds(100);
};

std::string Act1(Act act, std::uint8_t who, std::string_view rest = {}) {
  return std::string{static_cast<char>(act), static_cast<char>(who)}.append(rest);
}
std::string Act2(Act act, std::uint8_t who, const std::string& chunk) {
  Writer out;
  Chunk(out, chunk);
  return Act1(act, who, out.bytes());
}

}  // namespace

void Run(std::string_view input) {
  Input in(input);
  Scene scene;
  for (int acts = 0; acts < 64 && !in.empty(); acts++) scene.Play(in);
}

std::vector<std::string> Seeds() {
  const std::string connect(1, kConnect);
  const std::string session = connect + Act1(kHello, 0, "n") + Act1(kProof, 0);
  const std::string prepare = BodyOf(EncodeFrame({samples::Header(), Prepare{}}));
  std::vector<std::string> seeds = {
      connect + Act2(kSay, 0, "GET / HTTP/1.0\r\n\r\n"),
      connect + Act2(kSay, 0, std::string(300, 'x')),
      connect + Act1(kHello, 0, "n") + Act2(kSay, 0, std::string(44, '\0')),
      session + Act2(kFrame, 0, prepare) + Act2(kFrame, 0, prepare),
      session + Act2(kFrame, 0, "no frame"),
      session + Act2(kFrame, 0, prepare) + Act1(kLate, 0, std::string(8, '\0')),
      session + Act2(kFrame, 0, prepare) + Act2(kSay, 0, "\xff\xff\xff\xff"),
      session + Act1(kWait, 0x30, "\x75") + Act2(kFrame, 0, prepare) + Act1(kLeave, 0),
      connect + connect + connect + Act1(kHello, 1, "m") + connect + connect + connect + connect,
      session + session.substr(0, 1) + Act1(kHello, 1, "k") + Act1(kProof, 1) +
          Act2(kFrame, 1, prepare) + Act2(kFrame, 0, prepare),
  };
  for (const std::string& body : SampleBodies()) seeds.push_back(session + Act2(kFrame, 0, body));
  return seeds;
}

}  // namespace orchestra::fuzz
