// The vote file and the marker: read back exactly or refused, and no disk whatever makes a node a
// voter that it is not.
#include "core/consensus.h"
#include "fuzz/input.h"
#include "fuzz/target.h"
#include "unit/samples.h"

namespace orchestra::fuzz {
namespace {

enum Flag : std::uint8_t {
  kMarkerPresent = 1,
  kVotePresent = 2,
  kMarkerSealed = 4,  // a right checksum is added
  kVoteSealed = 8,
  kReadError = 16,
  kAtHome = 32,  // on the disk that the vote file names
};

std::string File(std::string_view bytes, bool sealed) {
  return sealed ? Seal(std::string(bytes)) : std::string(bytes);
}

Surroundings Found(Input& in) {
  const std::uint8_t flags = in.Byte();
  Surroundings found;
  found.system_identifier = in.Take<std::uint64_t>();
  found.inode = in.Take<std::uint64_t>();
  found.birth_time_us = in.Take<std::int64_t>();
  found.marker_present = (flags & kMarkerPresent) != 0;
  found.vote_present = (flags & kVotePresent) != 0;
  found.marker_bytes = File(in.Chunk(), (flags & kMarkerSealed) != 0);
  found.vote_bytes = File(in.Rest(), (flags & kVoteSealed) != 0);
  if ((flags & kReadError) != 0) found.read_error = "input/output error";
  const auto vote = DecodeDurable(found.vote_bytes);
  if (const auto* durable = std::get_if<Durable>(&vote); durable && (flags & kAtHome) != 0) {
    found.system_identifier = durable->identity.system_identifier;
    found.inode = durable->identity.inode;
    found.birth_time_us = durable->identity.birth_time_us;
  }
  return found;
}

void CheckFiles(const Surroundings& found) {
  const auto marker = DecodeMarker(found.marker_bytes);
  if (const auto* good = std::get_if<Marker>(&marker))
    Require(EncodeMarker(*good) == found.marker_bytes, "a marker has one image");
  else
    Require(!std::get<std::string>(marker).empty(), "a refused marker has a reason");
  const auto vote = DecodeDurable(found.vote_bytes);
  if (const auto* good = std::get_if<Durable>(&vote))
    Require(EncodeDurable(*good) == found.vote_bytes, "a vote file has one image");
  else
    Require(!std::get<std::string>(vote).empty(), "a refused vote file has a reason");
}

void CheckDecision(const Surroundings& found, const BootDecision& decision) {
  const bool votes = decision.phase == Phase::kConfigured || decision.phase == Phase::kPending;
  Require(decision.durable.has_value() == votes, "who takes part has a memory, and only that");
  Require(decision.phase != Phase::kQuarantined || !decision.reason.empty(),
          "a quarantine says why");
  Require(!found.marker_present || decision.phase == Phase::kConfigured ||
              decision.phase == Phase::kQuarantined,
          "a data directory of a cluster is never plain PostgreSQL");
  if (!found.read_error.empty())
    Require(decision.phase == Phase::kQuarantined, "what cannot be read is never guessed");
  if (!votes) return;
  const Identity& identity = decision.durable->identity;
  Require(identity.system_identifier == found.system_identifier && identity.inode == found.inode,
          "a vote of another disk is no vote");
  Require(decision.durable->expelled.empty(), "who was expelled takes no part");
  if (decision.phase == Phase::kConfigured)
    Require(decision.marker && decision.marker->system_identifier == found.system_identifier,
            "a configured node has a marker, or gets one");
}

void CheckStart(const BootDecision& decision) {
  const Instant now{std::chrono::seconds(1000), std::chrono::seconds(900)};
  const State state = Boot(decision, now, 7);
  Require(state.phase == decision.phase, "a start changes no phase");
  if (!decision.durable) return;
  Require(state.durable.boot_count != decision.durable->boot_count, "a start is counted");
  const auto again = DecodeDurable(EncodeDurable(state.durable));
  Require(std::holds_alternative<Durable>(again) && std::get<Durable>(again) == state.durable,
          "what a start writes can be read again");
}

std::string Unsealed(std::string image) {
  image.resize(Unseal(image)->size());
  return image;
}

std::string Disk(int flags, const std::string& marker, const std::string& vote) {
  Writer out;
  out(static_cast<std::uint8_t>(flags));
  out(samples::Me().system_identifier);
  out(samples::Me().inode);
  out(samples::Me().birth_time_us);
  Chunk(out, marker);
  out.Raw(vote);
  return out.Take();
}

}  // namespace

void Run(std::string_view input) {
  Input in(input);
  const Surroundings found = Found(in);
  CheckFiles(found);
  const BootDecision decision = DecideBoot(found);
  CheckDecision(found, decision);
  CheckStart(decision);
}

std::vector<std::string> Seeds() {
  const std::string marker = EncodeMarker(samples::FullMarker());
  const std::string vote = EncodeDurable(samples::FullDurable());
  Durable young = samples::FullDurable();
  young.committed.reset();
  const std::string pending = EncodeDurable(young);
  const int both = kMarkerPresent | kVotePresent;
  return {
      Disk(0, "", ""),
      Disk(both, marker, vote),
      Disk(both | kMarkerSealed | kVoteSealed, Unsealed(marker), Unsealed(vote)),
      Disk(both | kMarkerSealed | kVoteSealed | kAtHome, Unsealed(marker), Unsealed(vote)),
      Disk(kVotePresent | kVoteSealed | kAtHome, "", Unsealed(vote)),
      Disk(kVotePresent | kVoteSealed | kAtHome, "", Unsealed(pending)),
      Disk(kMarkerPresent | kMarkerSealed, Unsealed(marker), ""),
      Disk(both | kReadError, marker, vote),
  };
}

}  // namespace orchestra::fuzz
