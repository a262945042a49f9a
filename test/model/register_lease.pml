/* Rules 1, 2, 3: the register and the lease, three voters, two ballots besides the first.
 *
 * Messages: what was once sent stays receivable (delay, reordering, duplication) and need never be
 * received (loss). Time: only its order counts, see MAY_LAPSE. README.md has rules and code.
 *
 * An epoch is named by the ballot that proposed it: ballot b creates at most one, epoch b. Any node
 * may be made its primary, at any time: what FENCE adds to that is in wal_fence.pml. */
#define BIT(n) (1 << (n))
#define COUNT(m) (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1))
#define MAJORITY(m) (COUNT(m) >= 2)

/* A register value. Versions grow by one with each change. */
#define VALUE(version, epoch) ((version) * 4 + (epoch))
#define VERSION(x) ((x) >> 2)
#define EPOCH(x) ((x) & 3)
#define NONE 0
#define FIRST VALUE(1, 0)

/* ---- durable, per node */
byte promised[3];
byte acc_ballot[3], acc[3] = FIRST;
byte known[3] = FIRST; /* committed, as learned */

/* ---- per epoch */
byte primary[3];
byte granted[3]; /* voters whose promise (or hold-off) for this epoch lives */
byte lease[3];   /* the majority whose grants the holder counts on; 0: no lease */

/* ---- per ballot: its coordinator */
byte leads[3];
byte voted[3]; /* voters that promised, and what they had accepted */
byte voted_ballot[9], voted_value[9];
byte writes[9], last[3]; /* the values it proposed, in order */
byte accepted_by[3];     /* voters that accepted the last one */
bool committed[3];       /* the last one */

/* ---- ghosts: what the assertions are about */
byte chosen[4] = NONE; /* by version */
byte newest_chosen;    /* epoch */
hidden byte i, x, best_b, best;

#define NOW(b) writes[(b) * 3 + last[b]]
#define HOLDER(e) (EPOCH(known[primary[e]]) == (e)) /* its primary knows that e is committed */

/* The promise of a voter outlives each lease that counts on its grant: the holder counts
 * TTL(1-2 rho) from the send of its request, the voter TTL from its answer, which is later. */
#ifdef BROKEN_LEASE_FROM_ACK
#define MAY_LAPSE(n, e) true
#else
#define MAY_LAPSE(n, e) (!(lease[e] & BIT(n)))
#endif

#ifdef BROKEN_NO_PROMISE
#define PROMISED_ELSE(n, e) false
#else
#define PROMISED_ELSE(n, e) \
  (((granted[0] | granted[1] | granted[2]) & BIT(n)) && !(granted[e] & BIT(n)))
#endif

#ifdef BROKEN_OLD_BALLOT
#define OBEYS(n, b) true
#else
#define OBEYS(n, b) ((b) >= promised[n])
#endif

#ifdef BROKEN_LEADS_TWICE
#define MAY_LEAD(b) (leads[b] < 2)
#else
#define MAY_LEAD(b) (leads[b] == 0)
#endif

/* ---- voter: PREPARE, ACCEPT, COMMIT */
#define ON_PREPARE(n, b) \
  :: d_step { b > promised[n] -> \
       promised[n] = b; \
       if :: MAY_LEAD(b) -> \
               voted[b] = voted[b] | BIT(n); \
               voted_ballot[b * 3 + n] = acc_ballot[n]; voted_value[b * 3 + n] = acc[n] \
          :: else fi }

/* Compared by ballot and version; a write that is there already is only answered. */
#define NEWER(n, b, w) \
  (b > acc_ballot[n] || (b == acc_ballot[n] && VERSION(w) > VERSION(acc[n])))
#define REPEATED(n, b, k, w) \
  (b == acc_ballot[n] && VERSION(w) == VERSION(acc[n]) && k == last[b] && !committed[b] && \
   !(accepted_by[b] & BIT(n)))
#define ON_ACCEPT(n, b, k) \
  :: d_step { leads[b] && k <= last[b] && OBEYS(n, b) && \
              !PROMISED_ELSE(n, EPOCH(writes[b * 3 + k])) && \
              (NEWER(n, b, writes[b * 3 + k]) || REPEATED(n, b, k, writes[b * 3 + k])) -> \
       x = writes[b * 3 + k]; \
       if :: NEWER(n, b, x) -> accept(n, b, x) :: else fi; \
       if :: k == last[b] && !committed[b] -> \
               accepted_by[b] = accepted_by[b] | BIT(n); note_chosen(b) \
          :: else fi }

inline accept(n, b, value) {
  if
  :: EPOCH(value) != EPOCH(acc[n]) ->
       for (i : 0 .. 2) { granted[i] = granted[i] & ~BIT(n) };
       skip
  :: else
  fi;
  if :: b > promised[n] -> promised[n] = b :: else fi;
  acc_ballot[n] = b;
  acc[n] = value
}
inline note_chosen(b) {
  if
  :: MAJORITY(accepted_by[b]) ->
       committed[b] = true;
       accepted_by[b] = 0;
       x = NOW(b);
       assert(chosen[VERSION(x)] == NONE || chosen[VERSION(x)] == x); /* one value per version */
       chosen[VERSION(x)] = x;
       if :: EPOCH(x) > newest_chosen -> newest_chosen = EPOCH(x) :: else fi;
       one_lease()
  :: else
  fi
}

/* At most one unexpired lease, and none of an epoch whose successor is chosen. */
inline one_lease() {
  assert((lease[0] != 0) + (lease[1] != 0) + (lease[2] != 0) <= 1);
  for (i : 0 .. 2) { assert(lease[i] == 0 || i >= newest_chosen) };
  skip /* a d_step must not end in a loop */
}

/* Only holders, past and to come, use what they learn. A newer epoch ends their lease. */
#define ON_COMMIT(n, version) \
  :: d_step { chosen[version] != NONE && version > VERSION(known[n]) && \
              (primary[EPOCH(chosen[version])] == n || primary[EPOCH(known[n])] == n) -> \
       known[n] = chosen[version]; \
       for (i : 0 .. 2) { \
         if :: primary[i] == n && i < EPOCH(known[n]) -> lease[i] = 0 :: else fi }; skip }

/* ---- lease: LEASE_REQ and its answer, the count at the holder, the two ends of time */
#define GRANT(n, e) \
  :: d_step { EPOCH(acc[n]) == e && !(granted[e] & BIT(n)) && HOLDER(e) -> \
       granted[e] = granted[e] | BIT(n) }
#define ACQUIRE(n, e, quorum) \
  :: d_step { primary[e] == n && HOLDER(e) && (granted[e] & quorum) == quorum && \
              lease[e] != quorum -> \
       lease[e] = quorum; one_lease() }
#define LEASE_ENDS(n, e) :: d_step { lease[e] != 0 && primary[e] == n -> lease[e] = 0 }
#define PROMISE_LAPSES(n, e) \
  :: d_step { (granted[e] & BIT(n)) && MAY_LAPSE(n, e) -> granted[e] = granted[e] & ~BIT(n) }

/* What is durable stays; the promises are forgotten, and the hold-off has their effect: no other
 * epoch until no lease can count on them. So where the rules hold, the restart of a voter changes
 * nothing here, and that of a holder is LEASE_ENDS. */
#ifdef BROKEN_NO_HOLD_OFF
#define RESTART(n) \
  :: d_step { ((granted[0] | granted[1] | granted[2]) & BIT(n)) -> \
       for (i : 0 .. 2) { granted[i] = granted[i] & ~BIT(n) }; skip }
#else
#define RESTART(n)
#endif

#define EACH_EPOCH(n, e) \
  GRANT(n, e) PROMISE_LAPSES(n, e) LEASE_ENDS(n, e) \
  ACQUIRE(n, e, 3) ACQUIRE(n, e, 5) ACQUIRE(n, e, 6)

active [3] proctype Node() {
end:
  do
  ON_PREPARE(_pid, 1)
  ON_PREPARE(_pid, 2)
  ON_ACCEPT(_pid, 1, 0)
  ON_ACCEPT(_pid, 1, 1)
  ON_ACCEPT(_pid, 2, 0)
  ON_ACCEPT(_pid, 2, 1)
  ON_COMMIT(_pid, 2)
  ON_COMMIT(_pid, 3)
  EACH_EPOCH(_pid, 0)
  EACH_EPOCH(_pid, 1)
  EACH_EPOCH(_pid, 2)
  RESTART(_pid)
  od
}

/* ---- coordinator: the winner adopts the highest accepted value and re-commits it first */
#ifdef BROKEN_NO_ADOPTION
#define BETTER(v) (best == NONE) /* takes the first answer */
#else
#define BETTER(v) \
  (best == NONE || voted_ballot[v] > best_b || (voted_ballot[v] == best_b && voted_value[v] > best))
#endif

#define LEAD(b, quorum) \
  :: d_step { MAY_LEAD(b) && (voted[b] & quorum) == quorum -> \
       best_b = 0; best = NONE; \
       for (i : 0 .. 2) { \
         if :: (quorum & BIT(i)) && BETTER(b * 3 + i) -> \
                 best_b = voted_ballot[b * 3 + i]; best = voted_value[b * 3 + i] \
            :: else fi } \
       leads[b]++; last[b] = 0; writes[b * 3] = best; \
       accepted_by[b] = 0; committed[b] = false; forget_votes(b) }
inline forget_votes(b) { /* of no more use: fewer states */
  if
  :: !MAY_LEAD(b) ->
       voted[b] = 0;
       for (i : 0 .. 2) { voted_ballot[b * 3 + i] = 0; voted_value[b * 3 + i] = 0 };
       skip
  :: else
  fi
}

#define ELECT(b, n) \
  :: d_step { leads[b] && committed[b] && writes[b * 3 + 1] == NONE -> \
       primary[b] = n; x = NOW(b); \
       last[b] = 1; writes[b * 3 + 1] = VALUE(VERSION(x) + 1, b); \
       accepted_by[b] = 0; committed[b] = false }

#define THIS (_pid - 2)
active [2] proctype Coordinator() {
end:
  do
  LEAD(THIS, 3)
  LEAD(THIS, 5)
  LEAD(THIS, 6)
  LEAD(THIS, 7)
  ELECT(THIS, 0)
  ELECT(THIS, 1)
  ELECT(THIS, 2)
#ifdef REACH_SECOND_LEASE /* is there anything to prove? Must be found. */
  :: d_step { lease[2] != 0 && EPOCH(chosen[2]) == 1 && primary[1] != primary[2] -> assert(false) }
#endif
  od
}
