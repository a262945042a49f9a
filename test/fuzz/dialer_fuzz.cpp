// The peer port as those see it whom it dials: whoever sits there and whatever it answers, what it
// hears is frames in order, and the dialer stays bounded.
#include <algorithm>
#include <memory>
#include <optional>

#include "fuzz/client.h"
#include "fuzz/input.h"
#include "net/peer_net.h"
#include "net/peer_wire.h"

namespace orchestra::fuzz {
namespace {

using namespace orchestra::net;

enum Act : std::uint8_t {
  kSend,
  kAccept,
  kSay,
  kWelcome,
  kWrongWelcome,
  kAck,
  kWrongAck,
  kHangUp,
  kWait,
  kForget,
  kActs
};
constexpr const char* kSecret = "sixteen bytes at the least";

PeerConfig Config() {
  PeerConfig config;
  config.name = "n1";
  config.secret = Secret(kSecret);
  config.queue_frames = 8;
  config.queue_bytes = 64 * 1024;
  return config;
}

// One for all inputs: each of its connections is closed before the next input begins.
class Listener {
 public:
  Listener() { Require(Listen({"127.0.0.1", 0}, &socket_, &port_).ok(), "a port opens"); }
  std::optional<Client> Next() {
    bool exhausted = false;
    auto socket = net::Accept(socket_, nullptr, &exhausted);
    if (!socket) return std::nullopt;
    return Client(std::move(*socket));
  }
  Address address() const { return {"127.0.0.1", port_}; }

 private:
  Fd socket_;
  std::uint16_t port_ = 0;
};

Listener& TheListener() {
  static Listener listener;
  return listener;
}

class Scene {
 public:
  ~Scene() {
    far_.reset();
    while (TheListener().Next()) {
    }
  }
  void Play(Input& in) {
    const std::size_t act = in.Choose(kActs);
    if (act == kSend) Send(in.Take<std::uint16_t>());
    if (act == kAccept) Answer();
    if (act == kWait) now_ += std::chrono::milliseconds(in.Take<std::uint16_t>() % 4000);
    if (act == kForget) net_.Retain({});
    if (far_) Speak(act, in);
    std::vector<Incoming> incoming;
    net_.Poll(now_, &incoming);
    Require(incoming.empty(), "nothing comes in by a connection that was dialed");
    Hear();
    Check();
  }

 private:
  // The far end of one connection.
  struct Far {
    explicit Far(Client accepted) : client(std::move(accepted)) {}
    Client client;
    std::string heard, hello;
    std::optional<SessionKeys> keys;
    std::uint64_t records = 0, acks = 0;
    bool honest = true;  // said nothing that it should not have said
  };
  void Send(std::size_t size) {
    // Numbered, so that a lost one is told from one that came twice.
    std::string frame = EncodeCount(++sent_);
    frame.resize(sizeof sent_ + size, 'f');
    net_.Send(now_, TheListener().address(), frame);
  }
  void Answer() {
    if (auto client = TheListener().Next()) far_.emplace(std::move(*client));
  }
  void Speak(std::size_t act, Input& in) {
    Far& far = *far_;
    if (act == kHangUp) return far_.reset();
    if (act == kSay) {
      const std::string_view words = in.Chunk();
      far.honest = far.honest && words.empty();
      far.client.Say(words);
    }
    if ((act == kWelcome || act == kWrongWelcome) && !far.hello.empty() && !far.keys)
      Welcome(far, Nonce{in.Byte()}, act == kWelcome ? 0 : in.Take<std::uint16_t>());
    if ((act == kAck || act == kWrongAck) && far.keys) {
      const std::uint64_t count = act == kAck ? far.records : in.Take<std::uint64_t>();
      const auto record = EncodeRecord(far.keys->to_dialer, far.acks++, EncodeCount(count));
      far.honest = false;  // a count that is said twice is refused
      far.client.Say(record.value_or(""));
    }
  }
  // 0: the right one; else one byte of it is wrong.
  void Welcome(Far& far, const Nonce& nonce, std::uint16_t wrong) {
    const Secret secret(kSecret);
    std::string welcome = EncodeWelcome(secret, far.hello, nonce).value_or("");
    Require(!welcome.empty(), "a WELCOME can be made");
    if (wrong != 0) {
      far.honest = false;
      char& byte = welcome[wrong % welcome.size()];
      byte = static_cast<char>(byte ^ (1 + wrong % 255));
    } else if (far.honest) {
      far.keys = DeriveKeys(secret, far.hello, nonce);
    }
    far.client.Say(welcome);
  }
  void Hear() {
    if (!far_) return;
    Far& far = *far_;
    far.heard += far.client.Listen();
    std::size_t size = 0;
    std::string name;
    if (far.hello.empty() && ParseHello(far.heard, &size, &name) == WireResult::kComplete) {
      Require(name == "n1", "the dialer says its name");
      far.hello = far.heard.substr(0, size);
      far.heard.erase(0, size);
    }
    if (!far.keys) {
      Require(far.hello.empty() || far.heard.empty(), "who proved nothing hears nothing");
      return;
    }
    std::string_view payload;
    WireResult result;
    while ((result = ParseRecord(far.heard, far.keys->to_acceptor, far.records, kMaxFrameBytes,
                                 &size, &payload)) == WireResult::kComplete) {
      Require(payload.empty() == (far.records == 0), "first the proof, then frames");
      if (!payload.empty()) {
        const auto number = DecodeCount(payload.substr(0, sizeof sent_));
        Require(number && *number > newest_ && *number <= sent_, "a frame comes once, in order");
        newest_ = *number;
      }
      far.records++;
      far.heard.erase(0, size);
    }
    Require(result == WireResult::kIncomplete, "a dialer sends records");
  }
  void Check() const {
    const std::vector<PeerLink> links = net_.Links();
    Require(links.size() <= 1, "one link to one peer");
    for (const PeerLink& link : links) Require(link.queued <= 8, "a queue is bounded");
    Require(net_.stats().established <= net_.stats().dialed, "who is established was dialed");
    const Micros next = net_.NextTimeout(now_);
    Require(next >= Micros{0} && next <= std::chrono::seconds(1), "the next look is soon");
  }

  PeerNet net_{Config()};
  std::optional<Far> far_;
  std::uint64_t sent_ = 0, newest_ = 0;
  Micros now_ = std::chrono::seconds(100);
};

std::string Say(std::string_view words) {
  Writer out;
  out(std::uint8_t{kSay});
  Chunk(out, words);
  return out.Take();
}

}  // namespace

void Run(std::string_view input) {
  Input in(input);
  Scene scene;
  for (int acts = 0; acts < 64 && !in.empty(); acts++) scene.Play(in);
}

std::vector<std::string> Seeds() {
  const std::string send{kSend, 100, 0}, send_large{kSend, 0, 60}, accept{kAccept};
  const std::string welcome{kWelcome, 7}, wrong_welcome{kWrongWelcome, 7, 10, 0};
  const std::string ack{kAck}, wrong_ack{kWrongAck, 9, 0, 0, 0, 0, 0, 0, 0}, hang_up{kHangUp};
  const std::string wait{kWait, '\xE8', 3}, wait_long{kWait, '\xD0', 7}, forget{kForget};
  const std::string dial = send + wait + accept + wait;
  const std::string open = dial + welcome + wait;
  return {dial + Say("HTTP/1.0 400 Bad Request\r\n\r\n") + wait,
          dial + Say("orchwelc") + wait_long + send,
          dial + wrong_welcome + wait + send,
          open + ack + send + ack,
          open + ack + send + send_large + send_large + ack + ack,
          open + ack + send + wrong_ack + wait,
          open + ack + ack + wait_long,
          open + send + wait_long + send + accept + welcome,
          open + hang_up + send + wait_long + accept + welcome + send + ack,
          open + Say("\xff\xff\xff\xff") + forget + send};
}

}  // namespace orchestra::fuzz
