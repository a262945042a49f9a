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
  // start
  bool Booted();  // false: the vote file could not be written yet
  void ConfigureNet();
  void RereadSecret();
  void Introduce();

  // one step of the core, made durable before it is told
  bool Apply(const Event& event);
  bool Persist(const Actions& actions, const State& before);
  void RetryPersist();
  void Send(const Envelope& envelope);

  void ObserveNode();
  void ReceiveFrames();
  void TellRefusals();
  void Commands();
  std::string StartCreation(const CreateRequest& request);
  bool CreationSettled() const;
  void FinishCreation(const CommandAnswer& answer);
  void Publish();
  std::string Problem() const;

  Instant now_{};
  Settings settings_;
  State state_;
  Policy policy_;
  BootDecision decision_;
  std::optional<Incarnation> incarnation_;
  bool booted_ = false;
  bool stopping_ = false;
  std::unique_ptr<net::PeerNet> net_;
  std::string net_problem_;
  std::string persist_problem_;
  Instant persist_failed_at_{};
  Instant net_tried_at_{};
  Micros refusal_told_{};
  Performer performer_;
  NoteLog notes_;
  std::optional<CreateRequest> creating_;
  Instant ticked_at_{};
  Instant observed_at_{};
  Instant published_at_{};
  bool publish_now_ = true;
};

}  // namespace orchestra::pg
