// The consensus worker: its start, and what it makes durable.
#include "pg/consensus_worker.h"

#include <cstring>

#include "pg/clock.h"
#include "pg/guard.h"
#include "pg/storage.h"

namespace orchestra::pg {

using std::chrono::milliseconds;

std::uint64_t ConsensusWorker::RandomNumber() {
  std::uint64_t number = 0;
  do {
    unsigned char bytes[sizeof number];
    if (!net::RandomBytes(bytes, sizeof bytes)) throw Fail(ERRCODE_INTERNAL_ERROR, "no randomness");
    std::memcpy(&number, bytes, sizeof number);
  } while (number == 0);
  return number;
}

// Rule 3: every start raises boot_count durably before this node says anything.
bool ConsensusWorker::Booted() {
  if (booted_) return true;
  if (persist_failed_at_ != Instant{} && Since(now_, persist_failed_at_) < kRetry) return false;
  State fresh = Boot(decision_, now_, RandomNumber());
  if (fresh.durable.boot_count != BootCount{}) {
    persist_problem_ = WriteVote(EncodeDurable(fresh.durable));
    if (persist_problem_.empty() && decision_.write_marker)
      persist_problem_ = WriteMarker(EncodeMarker(*decision_.marker));
    if (!persist_problem_.empty()) {
      persist_failed_at_ = now_;
      return false;
    }
  }
  state_ = std::move(fresh);
  booted_ = true;
  return true;
}

void ConsensusWorker::Introduce() {
  if (!incarnation_) incarnation_ = Incarnation{RandomNumber()};
  const Surroundings here = ReadSurroundings();
  Introduced me;
  me.self.name = settings_.node_name;
  me.self.peer = settings_.peer_address;
  me.self.server = settings_.server;
  me.identity.incarnation = *incarnation_;
  me.identity.system_identifier = here.system_identifier;
  me.identity.inode = here.inode;
  me.identity.birth_time_us = here.birth_time_us;
  me.identity.machine = here.machine;
  me.identity.device = here.device;
  Apply(me);
}

// A step that cannot be made durable did not happen: to the protocol a lost message.
bool ConsensusWorker::Persist(const Actions& actions, const State& before) {
  const bool resting =
      persist_failed_at_ != Instant{} && Since(now_, persist_failed_at_) < milliseconds(200);
  if (!resting) {
    persist_problem_.clear();
    if (actions.persist) persist_problem_ = WriteVote(EncodeDurable(state_.durable));
    if (persist_problem_.empty() && actions.write_marker && state_.marker)
      persist_problem_ = WriteMarker(EncodeMarker(*state_.marker));
    now_ = Now();  // an fsync may have taken its time
    if (persist_problem_.empty()) {
      persist_failed_at_ = Instant{};
      return true;
    }
    persist_failed_at_ = now_;
    publish_now_ = true;
  }
  state_ = before;
  return false;
}

// A step that could not be stored may never come again: only another write tells that the disk
// takes writes again.
void ConsensusWorker::RetryPersist() {
  if (persist_failed_at_ == Instant{} || Since(now_, persist_failed_at_) < kRetry) return;
  if (state_.phase != Phase::kConfigured && state_.phase != Phase::kPending) return;
  persist_problem_ = WriteVote(EncodeDurable(state_.durable));
  persist_failed_at_ = persist_problem_.empty() ? Instant{} : now_;
  publish_now_ = true;
}

// Settings first: as long as the marker is there, a start after a crash comes back here.
void ConsensusWorker::Leave() {
  if (!performer_.restored()) return;
  leave_problem_ = RemoveMembership();
  if (!leave_problem_.empty()) return;
  const std::string name = state_.marker ? state_.marker->cluster_name : "";
  LogLine(LOG, "orchestra: left cluster=" + name + " reason=\"it was dropped\" next=\"" +
                   "this server is plain PostgreSQL until it joins a cluster again\"");
  decision_ = DecideBoot(ReadSurroundings());
  incarnation_.reset();
  booted_ = false;
  publish_now_ = true;
  if (Booted()) Introduce();
}

}  // namespace orchestra::pg
