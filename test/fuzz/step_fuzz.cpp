// The consensus core: a node of three voters in whatever is said to it, at whatever time. It stays
// bounded, forgets nothing that it promised, and says nothing that could not be read.
#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "core/board.h"
#include "fuzz/frames.h"
#include "fuzz/maker.h"
#include "fuzz/target.h"

namespace orchestra::fuzz {
namespace {

using std::chrono::milliseconds;

enum Act : std::uint8_t {
  kTick,
  kHear,
  kFrame,
  kObserve,
  kWalEnd,
  kAnswerAll,  // what it asked for, as its peers would
  kRestart,
  kLostWrite,  // the next step cannot be made durable
  kCommand,
  kCall,
  kActs
};

// The answers that let a node get on.
struct Obliging {
  const State& s;
  std::vector<Message> operator()(const PreVote& m) const { return {PreVoteOk{m.ballot}}; }
  std::vector<Message> operator()(const Prepare& m) const {
    return {Promise{m.ballot, s.durable.accepted}};
  }
  std::vector<Message> operator()(const Accept& m) const {
    return {Accepted{m.written.write}, Beat(m.written.write.ballot, m.seq)};
  }
  std::vector<Message> operator()(const Commit& m) const {
    return {Beat(m.written.write.ballot, m.seq)};
  }
  std::vector<Message> operator()(const LeaseRequest& m) const {
    return {LeaseAck{m.epoch, m.boot, m.seq, m.seq + 1, true, 2000}};
  }
  std::vector<Message> operator()(const Fence& m) const {
    std::optional<WalPosition> end;
    if (m.want_position) end = hand::End(1000, s.durable.wal_epoch);
    return {Fenced{m.ballot, m.version, m.epoch, end}};
  }
  template <class M>
  std::vector<Message> operator()(const M& /*other*/) const {
    return {};
  }
  static Message Beat(Ballot ballot, std::uint64_t seq) {
    return HeartbeatAck{ballot, seq, false, EpochId{}};
  }
};

class Scene {
 public:
  explicit Scene(Input& in) : in_(in) {
    BootDecision decision;
    const std::size_t start = in_.Choose(6);
    const auto id = static_cast<std::uint16_t>(1 + in_.Choose(3));
    decision.phase = start == 0   ? Phase::kUnconfigured
                     : start == 1 ? Phase::kQuarantined
                     : start == 2 ? Phase::kPending
                                  : Phase::kConfigured;
    if (start != 0) decision.marker = Marker{hand::kCluster, hand::kSystem, "main"};
    if (start >= 2) decision.durable = hand::MemoryOf(id, hand::FirstValue());
    if (start == 2) decision.durable->committed.reset();
    decision.suspect = start == 3;
    s_ = Boot(decision, now_, in_.Byte());
    self_ = Introduced{samples::Node(start < 2 ? 4 : id), hand::IdentityOf(start < 2 ? 4 : id)};
    Do(self_);
    if (start > 3) Pass(std::chrono::seconds(10));  // the hold-off is over
  }

  void Play() {
    Maker make(in_, s_);
    switch (in_.Choose(kActs)) {
      case kTick:
        Pass(milliseconds(in_.Take<std::uint16_t>() % 4000));
        return Do(Tick{});
      case kHear: {
        Message message;
        make.Choice(message);
        return Hear(make.Make<NodeId>(), std::move(message), 1 + in_.Choose(3));
      }
      case kFrame: {
        auto frame = DecodeFrame(Framed(in_.Chunk()));
        if (auto* good = std::get_if<Frame>(&frame)) Take(std::move(*good));
        return;
      }
      case kObserve:
        return Observe(make);
      case kWalEnd: {
        WalEndRead read{s_.scan_seq, hand::End(1000, s_.durable.wal_epoch)};
        if (in_.Choose(2) == 0) make(read.position);
        if (in_.Choose(4) == 0) read.scan++;
        return Do(read);
      }
      case kAnswerAll:
        return AnswerAll();
      case kRestart:
        return Restart();
      case kLostWrite:
        lose_next_ = true;
        return;
      case kCommand: {
        Command command;
        command.id = ++commands_;
        make.Choice(command.change);
        command.patience = milliseconds(in_.Take<std::uint16_t>());
        return Do(command);
      }
      default:
        return Call(make);
    }
  }

 private:
  void Pass(Micros time) {
    now_ = now_ + time;
    if (in_.Choose(8) == 0) now_.boottime += milliseconds(in_.Byte());  // was suspended
  }
  void Hear(NodeId from, Message message, std::uint64_t boot = 1) {
    Do(Received{{from, Self(s_), std::move(message)},
                hand::kCluster,
                Incarnation{from.value},
                BootCount{boot}});
  }
  void Take(Frame frame) {
    const FrameHeader& header = frame.header;
    Do(Received{{header.node, header.to, std::move(frame.message)},
                header.cluster,
                header.incarnation,
                header.boot});
  }
  void Observe(Maker& make) {
    LocalView view;
    const std::size_t how = in_.Choose(4);
    view.status.db = how < 2 ? DbState::kPrimary : DbState::kStandby;
    view.status.timeline = TimelineId{1};
    view.status.flush_lsn = Lsn{1000};
    if (how == 3) make(view.status);
    view.sync_effective = s_.setting_generation;
    view.insert_lsn = Lsn{1000u + in_.Byte()};
    view.receiver_quiet = make.Make<bool>();
    for (std::size_t left = in_.Choose(4); left > 0; left--)
      view.standby_flushed.emplace_back(make.Make<NodeId>(), Lsn{900u + in_.Byte()});
    Do(Observed{view});
  }
  void AnswerAll() {
    const std::size_t of = 1 + in_.Choose(3);  // of these nodes at the most
    for (const Envelope& envelope : std::exchange(unanswered_, {})) {
      if (envelope.to == kNoNode || envelope.to.value > of) continue;
      for (Message& answer : std::visit(Obliging{s_}, envelope.message))
        Hear(envelope.to, std::move(answer));
    }
  }
  void Restart() {
    if (s_.durable == Durable{}) return;
    auto read = DecodeDurable(EncodeDurable(s_.durable));
    Require(std::holds_alternative<Durable>(read), "what was written can be read");
    Surroundings found;
    const Identity& identity = s_.durable.identity;
    found.system_identifier = identity.system_identifier;
    found.inode = identity.inode;
    found.birth_time_us = identity.birth_time_us;
    found.machine = in_.Choose(8) == 0 ? 77 : identity.machine;
    found.vote_present = true;
    found.vote_bytes = EncodeDurable(s_.durable);
    found.marker_present = s_.marker.has_value();
    if (s_.marker) found.marker_bytes = EncodeMarker(*s_.marker);
    s_ = Boot(DecideBoot(found), now_, in_.Byte());
    unanswered_.clear();
    Do(self_);
  }
  void Call(Maker& make) {
    switch (in_.Choose(7)) {
      case 0:
        return Do(AbandonCommand{});
      case 1:
        return Do(ReleaseLease{});
      case 2:
        return Do(ForceRecovery{++commands_, ClusterId{1u + in_.Byte()}, "by hand"});
      case 3:
        return Do(ConfirmIdentity{++commands_});
      case 4:
        return Do(AbandonCreation{});
      case 5:
        self_ = Introduced{make.Make<Member>(), self_.identity};
        return Do(self_);
      default:
        return Do(CreateCluster{hand::FirstValue(in_.Choose(2) == 0 ? 1 : 3), hand::IdentityOf(1)});
    }
  }

  void Do(const Event& event) {
    const State before = s_;
    last_ = Step(s_, event, now_);
    CheckMemory(before);
    CheckBounds();
    for (const Envelope& envelope : last_.send) CheckSent(envelope);
    for (const Note& note : last_.notes)
      Require(DecodeNote(EncodeNote(note)).has_value(), "a note can be read");
    const Duties duties = DutiesOf(s_, now_);
    if (duties.gate_open)
      Require(HoldsLease(s_, now_) && s_.durable.fenced < CommittedValue(s_)->epoch,
              "the gate is open by a lease of an epoch that is not fenced only");
    TopologyOf(s_, now_);
    if (lose_next_ && last_.persist) {
      s_ = before;
      last_ = Actions{};
      lose_next_ = false;
    }
    for (Envelope& envelope : last_.send) unanswered_.push_back(std::move(envelope));
    while (unanswered_.size() > 64) unanswered_.pop_front();
  }

  void CheckMemory(const State& before) const {
    const Durable& was = before.durable;
    const Durable& is = s_.durable;
    if (!last_.persist) {
      Require(is == was, "what must be remembered changes only with a write");
      return;
    }
    const auto again = DecodeDurable(EncodeDurable(is));
    Require(std::holds_alternative<Durable>(again) && std::get<Durable>(again) == is,
            "what is written can be read");
    if (before.phase != Phase::kConfigured) return;
    Require(is.promised >= was.promised, "a promise never goes back");
    Require(is.fenced >= was.fenced, "a fence never goes back");
    const bool confirmed = before.suspect && !s_.suspect;
    Require(confirmed ? is.boot_count > was.boot_count : is.boot_count == was.boot_count,
            "only a start counts starts, and a copy that is confirmed is ahead of the other one");
    Require(is.max_ttl_granted_ms >= was.max_ttl_granted_ms, "the longest lease is remembered");
    Require(!was.accepted || (is.accepted && is.accepted->write >= was.accepted->write),
            "what was accepted is not forgotten");
    Require(!was.committed || is.committed->value->epoch >= was.committed->value->epoch,
            "epochs never go back");
  }

  void CheckBounds() const {
    Require(s_.hellos.size() <= kMaxMembers && s_.peers.size() <= 2 * kMaxMembers,
            "peers are bounded");
    Require(s_.nonces_issued.size() <= 256 && s_.requests_sent.size() <= 64, "leases are bounded");
    Require(s_.promises.size() <= kMaxMembers && s_.pre_votes.size() <= kMaxMembers &&
                s_.proposal_acks.size() <= kMaxMembers && s_.grants.size() <= kMaxMembers &&
                s_.echo.size() <= 2 * kMaxMembers && s_.create_acks.size() <= kMaxMembers,
            "votes are bounded");
    Require(s_.failover.positions.size() <= kMaxMembers && s_.owed.size() <= 256 &&
                s_.standbys.size() <= 2 * kMaxMembers && s_.refusal_sent.size() <= 256 &&
                s_.durable.peers.size() <= kMaxMembers,
            "what is known of others is bounded");
    Require(last_.send.size() <= 16 * kMaxMembers && last_.notes.size() <= 64,
            "a step does a bounded amount");
  }

  static void CheckSent(const Envelope& envelope) {
    const std::string image = EncodeFrame({samples::Header(), envelope.message});
    const auto decoded = DecodeFrame(image);
    Require(std::holds_alternative<Frame>(decoded), "what is sent can be read");
  }

  Input& in_;
  State s_;
  Introduced self_;
  Actions last_;
  std::deque<Envelope> unanswered_;  // sent since AnswerAll, the newest
  Instant now_{std::chrono::seconds(1000), std::chrono::seconds(900)};
  std::uint64_t commands_ = 0;
  bool lose_next_ = false;
};

}  // namespace

void Run(std::string_view input) {
  Input in(input);
  Scene scene(in);
  for (int acts = 0; acts < 100 && !in.empty(); acts++) scene.Play();
}

std::vector<std::string> Seeds() {
  const std::string primary{4, 0, 7, 1}, standby{4, 1, 7, 1};  // start, id, random, pass
  const std::string later{kTick, '\xD0', 7, 1}, soon{kTick, 100, 0, 1}, agree{kAnswerAll, 2};
  const std::string is_primary{kObserve, 0, 50, 1, 2, 2, '\xF0', 3, '\xF0'};
  const std::string is_standby{kObserve, 2, 50, 1, 0}, restart{kRestart, 1, 9};
  const std::string on = soon + agree, wal_end{kWalEnd, 1, 1};
  const std::string elect = later + agree + agree + agree + soon + agree;
  std::vector<std::string> seeds = {
      primary + is_primary + soon + agree + soon + agree + soon + agree + is_primary,
      primary + is_primary + later + elect + restart + later + is_primary + elect,
      standby + is_standby + elect + later + agree + soon + agree + soon + agree,
      standby + is_standby + later + std::string{kLostWrite} + elect,
      std::string{0, 0, 7} + is_standby + later + later,
      std::string{1, 0, 7} + is_standby + later + later,
      std::string{2, 1, 7} + is_standby + elect,
      std::string{3, 1, 7} + is_standby + elect + std::string{kCall, 3} + elect,
      std::string{0, 0, 7} + is_primary + std::string{kCall, 6, 0} + soon + is_primary + elect,
      standby + is_standby + elect + std::string{kCommand, 7, 3, '\xFF', 0} + soon + agree + elect,
      standby + is_standby + elect + on + on + on + on + wal_end + on + on + wal_end + on + on,
      standby + later + std::string{kCall, 2, 9} + elect};
  for (const std::string& body : SampleBodies()) {
    Writer frame;
    frame(std::uint8_t{kFrame});
    Chunk(frame, body);
    seeds.push_back(standby + is_standby + frame.bytes() + soon);
  }
  return seeds;
}

}  // namespace orchestra::fuzz
