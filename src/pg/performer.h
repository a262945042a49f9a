// Performs the duties of the core on this server: gate, WAL receiver, end of WAL, promotion,
// synchronous standbys, slots. Level-triggered: called every turn, acts on what differs.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/backend.h"
#include "pg/sessions.h"
#include "pg/settings_restorer.h"
#include "pg/wal_end.h"

namespace orchestra::pg {

// What the register says of other nodes.
struct Neighbours {
  std::vector<std::string> slots;  // that the other members' standbys use
  std::optional<Address> primary;  // where the primary's server is reached
  TimelineId timeline;             // that the primary writes; 0: none yet
  std::string other_primary;       // "n2, at 10.0.0.2:5432"; empty: not known, or this node
};

class Performer {
 public:
  // Publishes the gate for every commit of this server. Call it after each step that may have
  // moved the lease.
  static void PublishGate(const Duties& duties);

  // Everything else. Returns the end of WAL when a scan that the core asked for is done.
  std::optional<WalEndRead> Perform(const Duties& duties, const LocalView& view,
                                    const Neighbours& neighbours, Instant now);

  // The end of WAL that Perform returned could not be used: it will be read again.
  void ScanAgain() { scanning_.reset(); }

  // The server's settings are not orchestra's, and none is left that it had changed.
  bool restored() const { return restorer_.done(); }

  // True while something is under way that wants a turn every few ms.
  bool busy() const { return busy_; }
  // What stands in the way, for people; empty: nothing.
  const std::string& problem() const { return problem_; }

 private:
  void Unmanaged(const Duties& duties, const LocalView& view, const Neighbours& neighbours,
                 Instant now);
  void Receiver(const Duties& duties, const LocalView& view, TimelineId line, Instant now);
  void Archive(const Duties& duties, const LocalView& view, TimelineId line, Instant now);
  void Follow(const Duties& duties, Instant now);
  void Promotion(const Duties& duties, const LocalView& view,
                 const std::vector<std::string>& slots);
  std::optional<WalEndRead> Scan(const Duties& duties, const LocalView& view, Instant now);
  void TellEnd(const WalPosition& position);

  SessionEnder sessions_;
  SettingsRestorer restorer_;
  WalEndReader reader_;
  std::optional<std::uint64_t> scanning_;
  struct Followed {  // whom, and up to where
    EpochId epoch;
    NodeId upstream;
    Lsn upto;
    friend bool operator==(const Followed&, const Followed&) = default;
  };
  Followed receiver_for_;  // for which the receiver was opened
  Instant receiver_opened_at_{};
  bool on_line_ = false;  // since then it has streamed what the primary writes
  bool archive_obeys_ = true;
  bool archive_open_ = true;
  Instant archive_asked_at_{};
  Instant nudged_at_{};
  EpochId conninfo_epoch_;  // for which primary_conninfo was rewritten
  EpochId promoting_;       // promotion asked for and not yet followed up
  std::string told_end_;    // the last end of WAL that the log tells of
  bool busy_ = false;
  std::string problem_;
};

}  // namespace orchestra::pg
