// States of a node (design, section 3), and the binding of the vote file to its disk (rule 9).
#include <algorithm>
#include <string_view>
#include <utility>

#include "core/durable.h"

namespace orchestra {
namespace {

constexpr const char* kWhatToDo =
    " To join, start it as a standby with orchestra.seeds and the cluster's secret; to detach it, "
    "remove the file orchestra/cluster.";

// Why this vote file does not belong to this node on this disk, or empty.
std::string Foreign(const Identity& identity, const Surroundings& found) {
  if (identity.system_identifier != found.system_identifier)
    return "the vote file belongs to another database system";
  if (identity.inode != found.inode) return "the vote file was copied from another directory";
  const bool comparable = identity.birth_time_us != 0 && found.birth_time_us != 0;
  if (comparable && identity.birth_time_us != found.birth_time_us)
    return "the vote file was copied into a directory made at another time";
  return "";
}

// Why marker and vote file, both of this disk, do not belong together, or empty.
std::string Disagreement(const Marker& marker, const Durable& durable) {
  if (marker.system_identifier != durable.identity.system_identifier)
    return "the file orchestra/cluster belongs to another database system";
  const auto& known = durable.committed ? durable.committed : durable.accepted;
  if (!known) return "the vote file knows no register, so it is older than the cluster";
  for (const auto& written : {durable.committed, durable.accepted}) {
    if (!written) continue;
    // A forced recovery may have stopped between its two files.
    const auto& former = written->value->former_clusters;
    const bool ours = written->value->cluster_id == marker.cluster_id ||
                      std::find(former.begin(), former.end(), marker.cluster_id) != former.end();
    if (!ours || written->value->system_identifier != marker.system_identifier)
      return "the file orchestra/cluster and the vote file name different clusters";
  }
  return "";
}

// The same disk by all that is in it, but in other surroundings: block by block copies look so, and
// so does a disk that was moved on purpose.
bool Differ(std::uint64_t was, std::uint64_t is) { return was != 0 && is != 0 && was != is; }

BootDecision Configured(Durable durable, std::optional<Marker> marker, const Surroundings& found) {
  BootDecision decision;
  decision.phase = Phase::kConfigured;
  decision.marker = std::move(marker);
  decision.moved = Differ(durable.identity.machine, found.machine);
  decision.suspect = decision.moved || Differ(durable.identity.device, found.device);
  if (durable.identity.machine == 0) durable.identity.machine = found.machine;
  if (durable.identity.device == 0) durable.identity.device = found.device;
  decision.durable = std::move(durable);
  return decision;
}

BootDecision Quarantine(std::optional<Marker> marker, const std::string& why) {
  BootDecision decision;
  decision.phase = Phase::kQuarantined;
  decision.marker = std::move(marker);
  decision.reason = "This node has no valid vote: " + why + "." + kWhatToDo;
  return decision;
}

BootDecision Expelled(const Marker& marker, const std::string& why) {
  BootDecision decision;
  decision.phase = Phase::kQuarantined;
  decision.marker = marker;
  decision.reason = ExpelledText(why);
  decision.expelled = true;
  return decision;
}

// A committed register is written before its marker: a crash in between must not leave a node that
// votes in its cluster and is not gated by it.
BootDecision FromVote(Durable durable, const Surroundings& found) {
  const std::optional<Written>& known = durable.committed ? durable.committed : durable.accepted;
  if (!known) return Quarantine(std::nullopt, "the vote file knows no register");
  const RegisterValue& value = *known->value;
  const Marker marker{value.cluster_id, value.system_identifier, value.cluster_name};
  if (!durable.expelled.empty()) return Expelled(marker, durable.expelled);
  if (std::string wrong = Disagreement(marker, durable); !wrong.empty())
    return Quarantine(marker, wrong);
  if (!durable.committed && Differ(durable.identity.machine, found.machine))
    return {Phase::kUnconfigured, std::nullopt, std::nullopt,
            "The vote file of a creation that was not finished is ignored: it was made on another "
            "machine."};
  if (!durable.committed) return {Phase::kPending, std::move(durable), {}, ""};
  BootDecision decision = Configured(std::move(durable), marker, found);
  decision.write_marker = true;
  return decision;
}

BootDecision WithoutMarker(const Surroundings& found) {
  if (!found.vote_present) return {};
  auto vote = DecodeDurable(found.vote_bytes);
  std::string wrong;
  if (const auto* unreadable = std::get_if<std::string>(&vote))
    wrong = "the vote file is damaged (" + *unreadable + ")";
  else
    wrong = Foreign(std::get<Durable>(vote).identity, found);
  if (wrong.empty()) return FromVote(std::get<Durable>(std::move(vote)), found);
  return {Phase::kUnconfigured, std::nullopt, std::nullopt,
          "A vote file without the file orchestra/cluster is ignored: " + wrong + "."};
}

}  // namespace

std::string ExpelledText(const std::string& why) {
  return "This node takes no part any more: " + why +
         ". To bring it back, make it anew as a copy of the primary, with orchestra.seeds and the "
         "cluster's secret.";
}

const char* NameOf(Phase phase) {
  switch (phase) {
    case Phase::kUnconfigured:
      return "unconfigured";
    case Phase::kPending:
      return "pending";
    case Phase::kConfigured:
      return "configured";
    case Phase::kQuarantined:
      return "quarantined";
  }
  return "unknown";
}

BootDecision DecideBoot(const Surroundings& found) {
  std::optional<Marker> marker;
  std::string damage;
  if (found.marker_present) {
    auto decoded = DecodeMarker(found.marker_bytes);
    if (auto* good = std::get_if<Marker>(&decoded))
      marker = std::move(*good);
    else
      damage = std::get<std::string>(decoded);
  }
  if (!found.read_error.empty()) return Quarantine(std::move(marker), found.read_error);
  if (!found.marker_present) return WithoutMarker(found);
  if (!marker)
    return Quarantine(std::nullopt, "the file orchestra/cluster is damaged (" + damage + ")");
  if (marker->system_identifier != found.system_identifier)
    return Quarantine(marker, "the file orchestra/cluster belongs to another database system");
  if (!found.vote_present)
    return Quarantine(marker, "its vote file is missing, as in a clone or a restored backup");
  auto vote = DecodeDurable(found.vote_bytes);
  if (const auto* unreadable = std::get_if<std::string>(&vote))
    return Quarantine(marker, "its vote file is damaged (" + *unreadable + ")");
  auto& durable = std::get<Durable>(vote);
  std::string wrong = Foreign(durable.identity, found);
  if (wrong.empty()) wrong = Disagreement(*marker, durable);
  if (wrong.empty() && !durable.expelled.empty()) return Expelled(*marker, durable.expelled);
  if (!wrong.empty()) return Quarantine(marker, wrong);
  const bool forced =
      durable.committed && durable.committed->value->cluster_id != marker->cluster_id;
  if (forced) return FromVote(std::move(durable), found);
  return Configured(std::move(durable), std::move(marker), found);
}

}  // namespace orchestra
