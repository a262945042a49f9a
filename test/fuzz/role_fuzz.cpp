// The role port: whatever clients say, whenever they leave, each hears one word.
#include "net/role_server.h"

#include <array>
#include <memory>

#include "fuzz/client.h"
#include "fuzz/input.h"

namespace orchestra::fuzz {
namespace {

using net::RoleServer;

enum Act : std::uint8_t { kConnect, kSay, kShutDown, kLeave, kWait, kAnswerElse, kActs };
constexpr std::size_t kMostClients = 24;
constexpr std::array kAnswers = {"MASTER", "STANDBY", "FENCED", "STARTING", "STOPPING"};

class Scene {
 public:
  Scene() { Require(server_.Start().ok(), "the role port opens"); }
  void Play(Input& in) {
    const std::size_t act = in.Choose(kActs);
    if (act == kConnect && clients_.size() < kMostClients) {
      clients_.push_back(std::make_unique<Guest>(Address{"127.0.0.1", server_.port()}));
      connected_++;
    }
    if (act == kAnswerElse) answer_ = kAnswers[in.Choose(kAnswers.size())];
    if (act == kWait) now_ += std::chrono::milliseconds(in.Take<std::uint16_t>() % 1000);
    if (!clients_.empty() && (act == kSay || act == kShutDown || act == kLeave)) {
      const std::size_t at = in.Choose(clients_.size());
      Guest& guest = *clients_[at];
      if (act == kSay) {
        const std::size_t times = 1 + in.Choose(16);
        const std::string_view words = in.Chunk();
        for (std::size_t i = 0; i < times; i++) guest.client.Say(words);
        guest.silent = false;
      }
      if (act == kShutDown) guest.client.ShutDown();
      if (act == kLeave) clients_.erase(clients_.begin() + static_cast<std::ptrdiff_t>(at));
    }
    server_.Poll(now_, answer_);
    Check();
  }

 private:
  struct Guest {
    explicit Guest(const Address& to) : client(to) {}
    Client client;
    std::string heard, due;
    bool silent = true;
  };
  void Check() {
    const net::RoleStats& stats = server_.stats();
    Require(stats.answered + stats.failed <= connected_, "nobody is answered twice");
    Require(stats.no_descriptors == 0, "descriptors do not run out");
    const Micros next = server_.NextTimeout(now_);
    Require(next >= Micros{0} && next <= std::chrono::seconds(1), "the next look is soon");
    for (const auto& guest : clients_) {
      if (guest->due.empty()) guest->due = answer_;  // of the first look after it connected
      guest->heard += guest->client.Listen();
      Require(guest->due.starts_with(guest->heard), "a client hears the answer");
      if (guest->silent)
        Require(guest->heard == guest->due && guest->client.ended(), "at once, whole and ended");
    }
  }
  RoleServer server_{{"127.0.0.1", 0}};
  std::vector<std::unique_ptr<Guest>> clients_;
  std::uint64_t connected_ = 0;
  std::string answer_ = kAnswers[0];
  Micros now_ = std::chrono::seconds(100);
};

}  // namespace

void Run(std::string_view input) {
  Input in(input);
  Scene scene;
  for (int acts = 0; acts < 64 && !in.empty(); acts++) scene.Play(in);
}

std::vector<std::string> Seeds() {
  const auto say = [](std::uint8_t who, std::uint8_t times, std::string_view words) {
    Writer out;
    out(std::uint8_t{kSay});
    out(who);
    out(times);
    Chunk(out, words);
    return out.Take();
  };
  const std::string connect(1, kConnect), leave{kLeave, 0}, shut_down{kShutDown, 0};
  const std::string wait{kWait, 20, 0}, wait_long{kWait, '\xF4', 1}, fenced{kAnswerElse, 2};
  return {connect, connect + say(0, 0, "GET / HTTP/1.0\r\n\r\n") + wait + leave + wait,
          connect + connect + fenced + connect + shut_down + wait + wait_long + leave,
          connect + say(0, 15, std::string(300, 'x')) + wait + connect + wait_long,
          connect + say(0, 0, "a") + wait_long + say(0, 0, "b") + wait};
}

}  // namespace orchestra::fuzz
