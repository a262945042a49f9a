// Values with every field set, none to its default, for round trips.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "core/durable.h"
#include "core/frame.h"
#include "core/message.h"

namespace orchestra::samples {

inline EpochId Epoch(std::uint64_t round, std::uint16_t node, std::uint64_t version) {
  return EpochId{WriteId{Ballot{round, NodeId{node}}, Version{version}}};
}

inline Member Node(std::uint16_t id, bool voter = true) {
  const std::string number = std::to_string(id);
  return {NodeId{id},
          "n" + number,
          Address{"10.0.0." + number, 5434},
          Address{"db" + number + ".example", 5432},
          MemberKind::kData,
          voter,
          voter,
          Incarnation{id},
          "zone" + number};
}

// Designated, so that a field which is added and forgotten here is a warning, hence an error.

// Three voters and a member; primary 2, active.
inline RegisterValue Value() {
  return {
      .cluster_id = ClusterId{0xC0FFEE0123456789},
      .system_identifier = 0x6A5B4C3D2E1F0011,
      .cluster_name = "main",
      .version = Version{17},
      .epoch = Epoch(4, 3, 12),
      .primary = NodeId{2},
      .active = true,
      .timeline = TimelineId{5},
      .sync = {{NodeId{1}, NodeId{3}}, 1},
      .basis = {NodeId{1}, TimelineId{4}, SyncSet{{NodeId{2}, NodeId{3}}, 2}},
      .lineage = {{TimelineId{4}, Epoch(1, 1, 1), Lsn{0x3000000}},
                  {TimelineId{5}, Epoch(4, 3, 12), Lsn{0x5000000}}},
      .target_branch = std::nullopt,
      .branch_from = EpochId{},
      .members = {Node(1), Node(2), Node(3), Node(9, false)},
      .voters_prev = {NodeId{1}, NodeId{2}, NodeId{9}},
      .voters_since = Version{16},
      .highest_id = 11,
      .primary_boot = BootCount{6},
      .lease_ttl_ms = 1500,
      .longest_ttl_ms = 3000,
      .drift_permille = 90,
      .mode = Mode::kManual,
      .paused = true,
      .durability = Durability::kQuorum,
      .on_no_sync = OnNoSync::kDegrade,
      .sync_copies = 2,
      .min_sync_copies = 1,
      .sync_zone = SyncZone::kOther,
      .max_failover_lag_bytes = 77,
      .auto_voters = true,
      .former_clusters = {ClusterId{5}, ClusterId{6}},
  };
}

// The same on its way to the next epoch: everything that only an inactive epoch has.
inline RegisterValue InactiveValue() {
  RegisterValue value = Value();
  value.version = Version{18};
  value.epoch = Epoch(6, 1, 18);
  value.primary = NodeId{3};
  value.active = false;
  value.timeline = TimelineId{};
  value.sync = SyncSet{{NodeId{1}, NodeId{2}}, 1};
  value.basis = BasisOf(Value());
  value.target_branch = LineageEntry{TimelineId{6}, Epoch(5, 2, 15), Lsn{0x4000000}};
  value.branch_from = Epoch(5, 3, 16);
  return value;
}

// The largest register that is valid: what a frame must be able to carry.
inline RegisterValue LargestValue() {
  RegisterValue value = Value();
  value.cluster_name = std::string(kMaxNameBytes, 'c');
  value.lineage.assign(kMaxLineage, value.lineage.back());
  value.members.clear();
  value.sync.nodes.clear();
  for (std::uint16_t id = 1; id <= kMaxMembers; id++) {
    Member member = Node(id, id != 1);  // an odd number of voters
    member.name.resize(kMaxNameBytes, 'x');
    member.peer.host.resize(kMaxAddressBytes, 'y');
    member.server.host.resize(kMaxAddressBytes, 'z');
    value.members.push_back(member);
    if (id != value.primary.value) value.sync.nodes.push_back(NodeId{id});
  }
  value.basis = Basis{value.primary, TimelineId{4}, value.sync};
  return value;
}

inline Written Write(RegisterValue value = Value()) {
  return {WriteId{Ballot{6, NodeId{1}}, value.version},
          std::make_shared<const RegisterValue>(std::move(value))};
}

inline WalPosition Position() {
  return {
      .timeline = TimelineId{5},
      .end = Lsn{0x1'0A2B'3C4D},
      .exact = true,
      .out_of_recovery = true,
      .history = {{TimelineId{1}, Lsn{0x3000000}}, {TimelineId{4}, Lsn{0x1'00000000}}},
      .wal_epoch = Epoch(4, 3, 12),
  };
}

inline NodeStatus FullStatus() {
  return {
      .db = DbState::kStandby,
      .receiver = ReceiverState::kStreaming,
      .accepting_connections = true,
      .gate_open = true,
      .quarantined = true,
      .timeline = TimelineId{5},
      .flush_lsn = Lsn{0x1'0A2B'3C4D},
      .replay_lsn = Lsn{0x1'0A2B'0000},
      .upstream = NodeId{2},
      .receiver_message_age_ms = 120,
      .lease_left_ms = 1400,
      .server_version_num = 150020,
      .fenced = Epoch(3, 1, 9),
      .suspect = true,
      .promised = Ballot{6, NodeId{2}},
      .accepted = {Ballot{6, NodeId{2}}, Version{17}},
      .slot = "n1_slot",
      .version = "0.1",
      .problem = "fsync is slow",
  };
}

// Every message once, every field set; Promise and Fenced also without their option.
inline std::vector<Message> Messages() {
  const Ballot ballot{7, NodeId{2}};
  const EpochId epoch = Epoch(4, 3, 12);
  const BootCount boot{3};
  const Version version{17};
  return {
      PreVote{ballot, true},
      PreVoteOk{ballot},
      Prepare{ballot},
      Promise{ballot, Write()},
      Promise{ballot, std::nullopt},
      Accept{Write(), 99},
      Accepted{Write().write},
      Nack{ballot},
      Commit{Write(), 100},
      Commit{Write(InactiveValue()), 100},
      HeartbeatAck{ballot, 101, true, epoch},
      LeaseRequest{epoch, version, boot, 41, 40},
      LeaseAck{epoch, boot, 41, 77, true, 2000},
      Release{epoch, boot, 42},
      Fence{ballot, version, epoch, true},
      Fenced{ballot, version, epoch, Position()},
      Fenced{ballot, version, epoch, std::nullopt},
      Request{9, epoch, version, boot, Activate{TimelineId{5}, Lsn{0x5000028}}, ballot, 55},
      Request{9, epoch, version, boot, NoteStart{}, ballot, 55},
      Request{9, epoch, version, boot, ChangeSync{Value().sync}, ballot, 55},
      Request{9, epoch, version, boot, ChangeVoters{{NodeId{1}, NodeId{9}}}, ballot, 55},
      Request{9, epoch, version, boot, ChangeMember{NodeId{9}, true}, ballot, 55},
      Request{9, epoch, version, boot, RemoveMember{NodeId{9}}, ballot, 55},
      Request{9, epoch, version, boot,
              ChangeSettings{1000, 50, Mode::kManual, true, false, Durability::kAsync,
                             OnNoSync::kDegrade, 2, 1, SyncZone::kOther, 77},
              ballot, 55},
      Request{9, epoch, version, boot, ChangeSettings{}, ballot, 55},
      Request{9, epoch, version, boot, StartFailover{NodeId{3}, true}, ballot, 55},
      Request{9, epoch, version, boot, ChangeZone{NodeId{9}, "west"}, ballot, 55},
      Reply{9, Verdict::kRefused, "no", Write()},
      Status{FullStatus()},
      Create{Write()},
      Join{Node(4), 0x6A5B4C3D2E1F0011, Incarnation{0xABCDEF}},
      Recall{5},
      Recalled{5, Incarnation{0xABCDEF}, boot, ballot, Write().write, epoch, true},
      Feed{ballot, epoch, NodeId{3}, Lsn{0x5000028}, epoch},
  };
}

inline FrameHeader Header() {
  return {kProtocolMin, kProtocolMax,        Value().cluster_id, NodeId{1},
          NodeId{2},    Incarnation{0x1122}, BootCount{3}};
}

inline Identity Me() {
  return {NodeId{1}, Incarnation{0x99887766}, Value().system_identifier,
          4711,      1'700'000'000'000'001,   0xAC,
          0xDE};
}

inline Durable FullDurable() {
  return {
      .identity = Me(),
      .boot_count = BootCount{8},
      .promised = Ballot{7, NodeId{2}},
      .accepted = Write(InactiveValue()),
      .committed = Write(),
      .fenced = Epoch(3, 1, 9),
      .fenced_version = Version{9},
      .max_ttl_granted_ms = 2500,
      .wal_epoch = Epoch(4, 3, 12),
      .wrote_epoch = Epoch(2, 1, 5),
      .peers = {{NodeId{2}, Incarnation{0x77}, BootCount{3}, Ballot{6, NodeId{2}}, Write().write,
                 Epoch(3, 1, 9)}},
      .expelled = "it was removed from the cluster",
  };
}

inline Marker FullMarker() { return {Value().cluster_id, Value().system_identifier, "main"}; }

}  // namespace orchestra::samples
