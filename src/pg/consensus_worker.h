// The consensus worker: observe -> decide -> persist -> send -> perform, around the pure core.
// It never blocks on disk longer than one fsync, and never on DNS or libpq.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/board.h"
#include "core/consensus.h"
#include "net/peer_net.h"
#include "pg/command.h"
#include "pg/note_log.h"
#include "pg/performer.h"
#include "pg/settings.h"

namespace orchestra::pg {

class ConsensusWorker {
 public:
  ConsensusWorker();
  // One turn. Returns how long the caller may wait before the next one.
  Micros Turn();
  void Reload();    // after SIGHUP was processed
  void Stopping();  // SIGTERM: says so to the others, once
  int fd() const;   // of the peer port; -1: none. May change between turns.

 private:
  static constexpr Micros kRetry = std::chrono::seconds(1);
  static std::uint64_t RandomNumber();  // never 0

  // consensus_boot.cpp: the start, and one step made durable
  bool Booted();  // false: the vote file could not be written yet
  void Introduce();
  bool Persist(const Actions& actions, const State& before);
  void RetryPersist();
  void Leave();  // the cluster was dropped: once the settings are restored, begins anew

  // consensus_net.cpp
  void ConfigureNet();
  void RereadSecret();
  void Send(const Envelope& envelope);
  void ReceiveFrames();
  void TellRefusals();

  // consensus_worker.cpp: a turn. False: the event was lost, as it could not be made durable.
  bool Apply(const Event& event);
  void ObserveNode();
  void TellRepaired();
  Neighbours LookAround() const;

  // consensus_commands.cpp: what sessions ask for. Each returns what came of it, once known.
  using Outcome = std::optional<SqlAnswer>;
  void Commands();
  Outcome Begin(const CreateRequest& request);
  Outcome Begin(const ChangeRequest& request);
  Outcome Begin(const ForceRequest& request);
  Outcome Begin(const ConfirmRequest& request);
  Outcome CreationSoFar();
  Outcome AnswerSoFar();
  Outcome Unstored() const;
  std::string Compose(const CreateRequest& request, RegisterValue* value) const;
  bool CreationSettled() const;
  bool Ask(const Change& change, Micros deadline);
  std::optional<CommandAnswer> Answered() const;  // to the last Ask

  // consensus_board.cpp
  void Publish();
  std::string Problem() const;
  std::string StandingProblem() const;

  Instant now_{};
  Settings settings_;
  State state_;
  Policy policy_;
  BootDecision decision_;
  std::optional<Incarnation> incarnation_;
  bool booted_ = false;
  bool stopping_ = false;
  bool leave_ = false;  // the core says so on every tick, until this node is unconfigured
  std::unique_ptr<net::PeerNet> net_;
  std::string net_problem_;
  std::string persist_problem_;
  std::string leave_problem_;
  Instant persist_failed_at_{};
  Instant net_tried_at_{};
  Micros refusal_told_{};
  Performer performer_;
  NoteLog notes_;
  std::optional<SqlCommand> command_;
  Micros command_began_{};
  std::uint64_t asked_ = 0;  // id of the last Command of the core
  Instant ticked_at_{};
  Instant published_at_{};
  bool publish_now_ = true;
};

}  // namespace orchestra::pg
