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
};

}  // namespace orchestra
