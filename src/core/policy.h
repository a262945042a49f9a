// Safety rules that tests can switch off, to prove that the checks notice (mutants). The shipped
// worker never passes anything but Policy{}.
#pragma once

namespace orchestra {

struct Policy {
  bool honor_promise = true;        // rule 2: no other epoch while a promise lives
  bool hold_off = true;             // rule 3
  bool adopt_accepted = true;       // rule 1: the winner adopts the highest accepted value
  bool lease_from_send = true;      // rule 2: lease counted from the send, not from the ack
  bool durable_fence = true;        // rule 4: the fence survives a restart
  bool activation = true;           // rule 5 (vii)
  bool refuse_fenced_lease = true;  // rule 4: no lease for a fenced epoch
  bool drift_margin = true;         // rule 2: TTL(1-2 rho)
  bool fence_receiver = true;       // rule 4: a fenced node takes no WAL
  bool highest_target = true;       // rule 5 (iv): no target below the highest counted end of WAL
  bool single_lead = true;          // rule 1: a ballot is led once
  bool deaf_steps_down = true;      // rule 1: a coordinator that hears no majority stops
  bool new_heartbeats_only = true;  // rule 1: a relayed COMMIT counts if its number is new
  bool newest_epoch_only = true;    // rule 2: no lease once a newer epoch was seen
  bool echo_nonce = true;           // rule 2: a grant needs a nonce of the last TTL
  bool both_clocks = true;          // rule 2: a lease is over when either clock says so
  bool latest_clock = true;         // rule 2: a promise lasts until the latest clock says so
  bool least_ttl_granted = true;    // rule 2: the lease is what the voters promised
  bool longest_ttl_held = true;     // rule 3: hold-off by the largest TTL ever granted
  bool voters_fenced_first = true;  // rule 4: FENCE at a majority of voters before data nodes
  bool complete_fence = true;       // rule 4: no dangling fence
  bool exact_only = true;           // rule 5 (iii): only exact ends of WAL are counted
  bool basis_quorum = true;         // rule 5 (iii): an inactive epoch is counted on its basis
  bool lineage = true;              // rule 5 (iii): only WAL of the lineage is counted
  bool gated_first = true;          // rule 5 (iii): nobody is counted out who may not be gated yet
  bool fed_is_counted = true;       // rule 5 (iv): who was fed is fenced and counted again
  bool recount = true;              // rule 5 (v): replies count for the version they named
  bool start_noted = true;          // rule 6: a start is written before the gate opens
  bool sync_order = true;           // rule 6: S shrinks in the setting before the register
  bool sync_barrier = true;         // rule 6
  bool ack_by_setting = true;       // rule 6: the barrier covers whatever a client is told of
  bool hears_before_shrink = true;  // rule 6: a deaf primary does not shrink S
  bool request_stands = true;       // rule 6: what was asked for is not undone before an answer
  bool joint_quorums = true;        // rule 7: majorities of the previous voters as well
  bool joint_waits = true;          // rule 7: a change of voters ends after TTL(1+2 rho)
  bool voters_known = true;         // rule 7: no grant to who goes by older voters
  bool lease_is_veto = true;        // rule 8: no failover while the lease is renewed
  bool peer_memory = true;          // rule 9: an older start of a peer is not heard
  bool suspect_is_mute = true;      // rule 9: no vote before it is confirmed
  bool release_up_to_seq = true;    // rule 11: RELEASE cancels only older grants
  bool released_stay_released = true;  // rule 11: acks of released requests are ignored
};

}  // namespace orchestra
