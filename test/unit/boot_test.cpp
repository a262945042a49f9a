#include <functional>

#include "core/durable.h"
#include "unit/printers.h"
#include "unit/samples.h"

namespace orchestra {
namespace {

using Found = Surroundings;

Durable NotExpelled() {
  Durable durable = samples::FullDurable();
  durable.expelled.clear();
  return durable;
}

// A configured node's restart on its own disk.
Found Restart() {
  const Identity me = samples::Me();
  return {me.system_identifier,
          me.inode,
          me.birth_time_us,
          me.machine,
          me.device,
          true,
          EncodeMarker(samples::FullMarker()),
          true,
          EncodeDurable(NotExpelled()),
          ""};
}

void SetVote(Found& found, const std::function<void(Durable&)>& change) {
  Durable durable = NotExpelled();
  change(durable);
  found.vote_bytes = EncodeDurable(durable);
}

void RemoveMarker(Found& found) {
  found.marker_present = false;
  found.marker_bytes.clear();
}

void RemoveVote(Found& found) {
  found.vote_present = false;
  found.vote_bytes.clear();
}

struct Row {
  const char* name;
  std::function<void(Found&)> change;
  Phase phase;
  const char* reason;  // part of it; empty: there must be none
};

void PrintTo(const Row& row, std::ostream* os) { *os << row.name; }

class BootStates : public testing::TestWithParam<Row> {};

TEST_P(BootStates, AreDecided) {
  Found found = Restart();
  GetParam().change(found);
  const BootDecision decision = DecideBoot(found);
  EXPECT_EQ(decision.phase, GetParam().phase) << decision.reason;
  if (*GetParam().reason == '\0') {
    EXPECT_EQ(decision.reason, "");
  } else {
    EXPECT_NE(decision.reason.find(GetParam().reason), std::string::npos) << decision.reason;
  }
  const bool trusted = decision.phase == Phase::kPending || decision.phase == Phase::kConfigured;
  EXPECT_EQ(decision.durable.has_value(), trusted);
  for (const char* advice : {"To join, start it as a standby with orchestra.seeds",
                             "to detach it, remove the file orchestra/cluster"}) {
    const bool given = decision.reason.find(advice) != std::string::npos;
    EXPECT_EQ(given, decision.phase == Phase::kQuarantined) << decision.reason;
  }
  const bool readable =
      found.marker_present && std::holds_alternative<Marker>(DecodeMarker(found.marker_bytes));
  EXPECT_EQ(decision.marker.has_value(), readable || decision.write_marker);
  EXPECT_EQ(decision.write_marker, decision.phase == Phase::kConfigured && !found.marker_present);
  if (decision.write_marker) {
    EXPECT_EQ(*decision.marker, samples::FullMarker());
  }
}

constexpr Phase kU = Phase::kUnconfigured;
constexpr Phase kP = Phase::kPending;
constexpr Phase kC = Phase::kConfigured;
constexpr Phase kQ = Phase::kQuarantined;

INSTANTIATE_TEST_SUITE_P(
    Matching, BootStates,
    testing::Values(
        Row{"restart", [](Found&) {}, kC, ""},
        Row{"birth time unknown now", [](Found& f) { f.birth_time_us = 0; }, kC, ""},
        Row{"birth time unknown then",
            [](Found& f) { SetVote(f, [](Durable& d) { d.identity.birth_time_us = 0; }); }, kC, ""},
        Row{"accepted only", [](Found& f) { SetVote(f, [](Durable& d) { d.committed.reset(); }); },
            kC, ""},
        Row{"committed only", [](Found& f) { SetVote(f, [](Durable& d) { d.accepted.reset(); }); },
            kC, ""},
        Row{"marker lost, or not written yet", RemoveMarker, kC, ""},
        Row{"creation under way",
            [](Found& f) {
              RemoveMarker(f);
              SetVote(f, [](Durable& d) { d.committed.reset(); });
            },
            kP, ""}));

INSTANTIATE_TEST_SUITE_P(
    Unconfigured, BootStates,
    testing::Values(Row{"neither file",
                        [](Found& f) {
                          RemoveMarker(f);
                          RemoveVote(f);
                        },
                        kU, ""},
                    Row{"leftover of a copied directory",
                        [](Found& f) {
                          RemoveMarker(f);
                          f.inode++;
                        },
                        kU, "is ignored: the vote file was copied from another directory"},
                    Row{"leftover of another system",
                        [](Found& f) {
                          RemoveMarker(f);
                          f.system_identifier++;
                        },
                        kU, "is ignored: the vote file belongs to another database system"},
                    Row{"damaged leftover",
                        [](Found& f) {
                          RemoveMarker(f);
                          f.vote_bytes.pop_back();
                        },
                        kU, "is ignored: the vote file is damaged (its checksum"}));

INSTANTIATE_TEST_SUITE_P(
    Quarantined, BootStates,
    testing::Values(
        Row{"base backup", RemoveVote, kQ, "its vote file is missing"},
        Row{"copied directory", [](Found& f) { f.inode++; }, kQ, "copied from another directory"},
        Row{"restored in place", [](Found& f) { f.birth_time_us++; }, kQ, "made at another time"},
        Row{"new system under old files", [](Found& f) { f.system_identifier++; }, kQ,
            "orchestra/cluster belongs to another database system"},
        Row{"vote of another system",
            [](Found& f) { SetVote(f, [](Durable& d) { d.identity.system_identifier++; }); }, kQ,
            "the vote file belongs to another database system"},
        Row{"corrupt vote", [](Found& f) { f.vote_bytes[40] ^= 1; }, kQ,
            "vote file is damaged (its checksum"},
        Row{"empty vote", [](Found& f) { f.vote_bytes.clear(); }, kQ, "vote file is damaged"},
        Row{"corrupt marker", [](Found& f) { f.marker_bytes[10] ^= 1; }, kQ,
            "orchestra/cluster is damaged"},
        Row{"corrupt marker without vote",
            [](Found& f) {
              f.marker_bytes.clear();
              RemoveVote(f);
            },
            kQ, "orchestra/cluster is damaged"},
        Row{"unreadable", [](Found& f) { f.read_error = "could not read it"; }, kQ,
            "could not read it"},
        Row{"unreadable without marker",
            [](Found& f) {
              RemoveMarker(f);
              f.read_error = "could not read it";
            },
            kQ, "could not read it"},
        Row{"vote without register",
            [](Found& f) {
              SetVote(f, [](Durable& d) {
                d.accepted.reset();
                d.committed.reset();
              });
            },
            kQ, "knows no register"},
        Row{"marker of another cluster",
            [](Found& f) {
              Marker marker = samples::FullMarker();
              marker.cluster_id.value++;
              f.marker_bytes = EncodeMarker(marker);
            },
            kQ, "name different clusters"},
        Row{"register of another system",
            [](Found& f) {
              SetVote(f, [](Durable& d) {
                RegisterValue other = samples::Value();
                other.system_identifier++;
                d.accepted = samples::Write(other);
              });
            },
            kQ, "name different clusters"}));

TEST(Boot, AnExpelledNodeStaysOutWithAndWithoutItsMarker) {
  for (const bool marker : {true, false}) {
    Found found = Restart();
    SetVote(found, [](Durable& d) { d.expelled = "it was removed from the cluster"; });
    found.marker_present = marker;
    const BootDecision decision = DecideBoot(found);
    EXPECT_EQ(decision.phase, Phase::kQuarantined);
    EXPECT_TRUE(decision.expelled);
    EXPECT_NE(decision.reason.find("removed from the cluster"), std::string::npos);
  }
}

TEST(Boot, AnotherMachineOrFileSystemMakesASuspect) {
  struct Case {
    const char* name;
    std::uint64_t machine, device;
    bool suspect, moved;
  };
  const Identity me = samples::Me();
  for (const Case& c : {Case{"at home", me.machine, me.device, false, false},
                        Case{"another machine", me.machine + 1, me.device, true, true},
                        Case{"another file system", me.machine, me.device + 1, true, false},
                        Case{"unknown machine", 0, me.device, false, false}}) {
    Found found = Restart();
    found.machine = c.machine;
    found.device = c.device;
    const BootDecision decision = DecideBoot(found);
    EXPECT_EQ(decision.phase, Phase::kConfigured) << c.name;
    EXPECT_EQ(decision.suspect, c.suspect) << c.name;
    EXPECT_EQ(decision.moved, c.moved) << c.name;
    EXPECT_EQ(decision.durable->identity.machine, me.machine) << "until it is confirmed";
  }
}

TEST(Boot, AnUnfinishedCreationDoesNotMoveToAnotherMachine) {
  for (const bool moved : {false, true}) {
    Found found = Restart();
    SetVote(found, [](Durable& d) { d.committed.reset(); });
    found.marker_present = false;
    if (moved) found.machine++;
    const BootDecision decision = DecideBoot(found);
    EXPECT_EQ(decision.phase, moved ? Phase::kUnconfigured : Phase::kPending);
    EXPECT_EQ(decision.reason.empty(), !moved);
  }
}

}  // namespace
}  // namespace orchestra
