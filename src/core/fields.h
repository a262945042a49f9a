// The fields of everything that becomes bytes, each listed once (see core/codec.h). The order is
// the format: a change of it is a new protocol or file format number.
#pragma once
#include "core/codec.h"
#include "core/durable.h"
#include "core/frame.h"
#include "core/message.h"
#include "core/register.h"
#include "core/status.h"
#include "core/types.h"

namespace orchestra {

template <class V>
inline constexpr bool kIsStrong = false;
template <class Tag, class Rep>
inline constexpr bool kIsStrong<Strong<Tag, Rep>> = true;

template <class V>
requires kIsStrong<std::remove_const_t<V>>
void Fields(auto& io, V& v) { io(v.value); }
void Fields(auto& io, Of<Ballot> auto& v) {
  io(v.round);
  io(v.node);
  io.Check([&v] { return v.round <= kMaxRound; });
}
void Fields(auto& io, Of<WriteId> auto& v) {
  io(v.ballot);
  io(v.version);
}

// ---------------------------------------------------------------- register

void Fields(auto& io, Of<Address> auto& v) {
  io.Name(v.host, kMaxAddressBytes);
  io(v.port);
}
constexpr MemberKind LastOf(MemberKind) { return MemberKind::kWitness; }
constexpr Mode LastOf(Mode) { return Mode::kObserve; }
constexpr Durability LastOf(Durability) { return Durability::kAsync; }
constexpr OnNoSync LastOf(OnNoSync) { return OnNoSync::kDegrade; }
constexpr SyncZone LastOf(SyncZone) { return SyncZone::kOther; }
constexpr Verdict LastOf(Verdict) { return Verdict::kRefused; }
void Fields(auto& io, Of<Member> auto& v) {
  io(v.id);
  io.Name(v.name, kMaxNameBytes);
  io(v.peer);
  io(v.server);
  io(v.kind);
  io(v.voter);
  io(v.sync_candidate);
  io(v.incarnation);
  io.Name(v.zone, kMaxNameBytes);
}
void Fields(auto& io, Of<SyncSet> auto& v) {
  io.List(v.nodes, kMaxMembers);
  io(v.k);
}
void Fields(auto& io, Of<Basis> auto& v) {
  io(v.primary);
  io(v.timeline);
  io(v.sync);
}
void Fields(auto& io, Of<LineageEntry> auto& v) {
  io(v.timeline);
  io(v.since);
  io(v.begin);
}
void Fields(auto& io, Of<RegisterValue> auto& v) {
  io(v.cluster_id);
  io(v.system_identifier);
  io.Name(v.cluster_name, kMaxNameBytes);
  io(v.version);
  io(v.epoch);
  io(v.primary);
  io(v.active);
  io(v.timeline);
  io(v.sync);
  io(v.basis);
  io.List(v.lineage, kMaxLineage);
  io(v.target_branch);
  io(v.branch_from);
  io.List(v.members, kMaxMembers);
  io.List(v.voters_prev, kMaxMembers);
  io(v.voters_since);
  io(v.highest_id);
  io(v.primary_boot);
  io(v.lease_ttl_ms);
  io(v.longest_ttl_ms);
  io(v.drift_permille);
  io(v.mode);
  io(v.paused);
  io(v.dropped);
  io(v.durability);
  io(v.on_no_sync);
  io(v.sync_copies);
  io(v.min_sync_copies);
  io(v.sync_zone);
  io(v.max_failover_lag_bytes);
  io(v.auto_voters);
  io.List(v.former_clusters, kMaxFormerClusters);
  io.Check([&v] { return Validate(v).empty(); });
}
void Fields(auto& io, Of<Written> auto& v) {
  io(v.write);
  io(v.value);
}

// ---------------------------------------------------------------- status

void Fields(auto& io, Of<TimelineEnd> auto& v) {
  io(v.timeline);
  io(v.end);
}
void Fields(auto& io, Of<WalPosition> auto& v) {
  io(v.timeline);
  io(v.end);
  io(v.exact);
  io(v.out_of_recovery);
  io.List(v.history, kMaxHistory);
  io(v.wal_epoch);
}
void Fields(auto& io, Of<NodeStatus> auto& v) {
  io.Enum(v.db, DbState::kNone);
  io.Enum(v.receiver, ReceiverState::kStreaming);
  io(v.accepting_connections);
  io(v.gate_open);
  io(v.quarantined);
  io(v.timeline);
  io(v.flush_lsn);
  io(v.replay_lsn);
  io(v.upstream);
  io(v.receiver_message_age_ms);
  io(v.lease_left_ms);
  io(v.server_version_num);
  io(v.fenced);
  io(v.suspect);
  io(v.promised);
  io(v.accepted);
  io.Text(v.slot, kMaxNameBytes);
  io.Text(v.version, kMaxNameBytes);
  io.Text(v.problem, kMaxProblemBytes);
}

// ---------------------------------------------------------------- messages

void Fields(auto& io, Of<PreVote> auto& v) {
  io(v.ballot);
  io(v.as_holder);
}
void Fields(auto& io, Of<PreVoteOk> auto& v) { io(v.ballot); }
void Fields(auto& io, Of<Prepare> auto& v) { io(v.ballot); }
void Fields(auto& io, Of<Promise> auto& v) {
  io(v.ballot);
  io(v.accepted);
}
void Fields(auto& io, Of<Accept> auto& v) {
  io(v.written);
  io(v.seq);
}
void Fields(auto& io, Of<Accepted> auto& v) { io(v.write); }
void Fields(auto& io, Of<Nack> auto& v) { io(v.promised); }
void Fields(auto& io, Of<Commit> auto& v) {
  io(v.written);
  io(v.seq);
}
void Fields(auto& io, Of<HeartbeatAck> auto& v) {
  io(v.ballot);
  io(v.seq);
  io(v.promise_live);
  io(v.fenced);
}
void Fields(auto& io, Of<LeaseRequest> auto& v) {
  io(v.epoch);
  io(v.known);
  io(v.boot);
  io(v.seq);
  io(v.echo);
}
void Fields(auto& io, Of<LeaseAck> auto& v) {
  io(v.epoch);
  io(v.boot);
  io(v.seq);
  io(v.nonce);
  io(v.granted);
  io(v.ttl_ms);
}
void Fields(auto& io, Of<Release> auto& v) {
  io(v.epoch);
  io(v.boot);
  io(v.seq);
}
void Fields(auto& io, Of<Fence> auto& v) {
  io(v.ballot);
  io(v.version);
  io(v.epoch);
  io(v.want_position);
}
void Fields(auto& io, Of<Fenced> auto& v) {
  io(v.ballot);
  io(v.version);
  io(v.epoch);
  io(v.position);
}
void Fields(auto& io, Of<Feed> auto& v) {
  io(v.ballot);
  io(v.epoch);
  io(v.source);
  io(v.upto);
  io(v.wal_epoch);
}
void Fields(auto& io, Of<Activate> auto& v) {
  io(v.timeline);
  io(v.begin);
}
void Fields(auto& /*io*/, Of<NoteStart> auto& /*v*/) {}
void Fields(auto& /*io*/, Of<DropCluster> auto& /*v*/) {}
void Fields(auto& io, Of<ChangeSync> auto& v) { io(v.sync); }
void Fields(auto& io, Of<ChangeVoters> auto& v) { io.List(v.voters, kMaxMembers); }
void Fields(auto& io, Of<ChangeMember> auto& v) {
  io(v.node);
  io(v.sync_candidate);
}
void Fields(auto& io, Of<ChangeZone> auto& v) {
  io(v.node);
  io.Name(v.zone, kMaxNameBytes);
}
void Fields(auto& io, Of<RemoveMember> auto& v) { io(v.node); }
void Fields(auto& io, Of<ChangeSettings> auto& v) {
  io(v.lease_ttl_ms);
  io(v.drift_permille);
  io(v.mode);
  io(v.paused);
  io(v.auto_voters);
  io(v.durability);
  io(v.on_no_sync);
  io(v.sync_copies);
  io(v.min_sync_copies);
  io(v.sync_zone);
  io(v.max_failover_lag_bytes);
}
void Fields(auto& io, Of<StartFailover> auto& v) {
  io(v.target);
  io(v.accept_data_loss);
}
void Fields(auto& io, Of<Request> auto& v) {
  io(v.id);
  io(v.epoch);
  io(v.base);
  io(v.boot);
  io.Choice(v.change);
  io(v.heard);
  io(v.heard_seq);
}
void Fields(auto& io, Of<Reply> auto& v) {
  io(v.id);
  io(v.verdict);
  io.Text(v.reason, kMaxProblemBytes);
  io(v.committed);
}
void Fields(auto& io, Of<Recall> auto& v) { io(v.nonce); }
void Fields(auto& io, Of<Recalled> auto& v) {
  io(v.nonce);
  io(v.incarnation);
  io(v.boot);
  io(v.ballot);
  io(v.accepted);
  io(v.fenced);
  io(v.alive);
}
void Fields(auto& io, Of<Status> auto& v) { io(v.status); }
void Fields(auto& io, Of<Create> auto& v) { io(v.written); }
void Fields(auto& io, Of<Join> auto& v) {
  io(v.wanted);
  io(v.system_identifier);
  io(v.incarnation);
}

// The protocol range comes first, and stays there in every protocol.
void Fields(auto& io, Of<FrameHeader> auto& v) {
  io(v.protocol_min);
  io(v.protocol_max);
  io(v.cluster);
  io(v.node);
  io(v.to);
  io(v.incarnation);
  io(v.boot);
}

// ---------------------------------------------------------------- files

void Fields(auto& io, Of<Identity> auto& v) {
  io(v.node);
  io(v.incarnation);
  io(v.system_identifier);
  io(v.inode);
  io(v.birth_time_us);
  io(v.machine);
  io(v.device);
}
void Fields(auto& io, Of<PeerMemory> auto& v) {
  io(v.node);
  io(v.incarnation);
  io(v.boot);
  io(v.ballot);
  io(v.accepted);
  io(v.fenced);
}
void Fields(auto& io, Of<Durable> auto& v) {
  io(v.identity);
  io(v.boot_count);
  io(v.promised);
  io(v.accepted);
  io(v.committed);
  io(v.fenced);
  io(v.fenced_version);
  io(v.max_ttl_granted_ms);
  io(v.wal_epoch);
  io(v.wrote_epoch);
  io.List(v.peers, kMaxMembers);
  io.Text(v.expelled, kMaxProblemBytes);
}
void Fields(auto& io, Of<Marker> auto& v) {
  io(v.cluster_id);
  io(v.system_identifier);
  io.Name(v.cluster_name, kMaxNameBytes);
}

}  // namespace orchestra
