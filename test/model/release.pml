/* RELEASE (rules 2 and 11): the holder of epoch 0 asks, gives back and asks again; epoch 1 is
 * accepted by each of the three voters once it is free of promises. When two have, its holder may
 * have a lease.
 *
 * Every message stays receivable for ever: delayed, duplicated, reordered, lost. Requests are
 * (boot, seq); seq starts anew with each boot. Time runs over requests in the order in which they
 * were sent: those before `lapsed` are older than a lease lasts; a voter's promise for a request
 * ends after that, because the holder counts from its send. */
#define SEQS 2 /* requests per boot */
#define REQUEST(boot, seq) ((boot) * SEQS + (seq)) /* 1 .. 2 * SEQS, in the order of sending */
#define BIT(n) (1 << (n))
#define COUNT(m) (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1))
#define MAJORITY(m) (COUNT(m) >= 2)
#define OLDER(m) ((m) % SEQS == 0 -> SEQS : (m) % SEQS) /* its seq alone */

/* ---- holder */
byte boot, seq;     /* of the last request */
byte cancelled;     /* answers to requests up to here are ignored */
byte counted[3];    /* per voter: latest request answered */
byte lapsed;        /* requests up to here give no lease any more */
byte answers[3];    /* per voter: set of requests granted, as bits */
short released;     /* RELEASEs sent, as bits of requests */

/* ---- voters */
byte promise[3];    /* latest request granted for epoch 0 whose promise lives; 0: none */
byte last[3];       /* latest request granted or released */
byte next_epoch;    /* voters that have accepted epoch 1 */

#define NOW REQUEST(boot, seq)
#define COUNTS(v) (counted[v] > lapsed -> BIT(v) : 0)
#define LEASED MAJORITY(COUNTS(0) | COUNTS(1) | COUNTS(2))

/* compared with the boot count, or as a careless voter would */
#ifdef BROKEN_SEQ_WITHOUT_BOOT
#define KEY(r) ((r) == 0 -> 0 : OLDER(r))
#else
#define KEY(r) (r)
#endif

#define SEND :: d_step { seq < SEQS -> seq++ }

inline drop() {
  counted[0] = 0; counted[1] = 0; counted[2] = 0;
  cancelled = NOW;
  forget(NOW)
}
inline forget(upto) { /* answers that cannot count any more: fewer states */
  answers[0] = answers[0] & ~((2 << (upto)) - 1);
  answers[1] = answers[1] & ~((2 << (upto)) - 1);
  answers[2] = answers[2] & ~((2 << (upto)) - 1)
}

/* Gate closed, lease dropped, then told. */
#define RELEASE \
  :: d_step { seq > 0 && !(released & (1 << NOW)) -> \
       released = released | (1 << NOW); own_drop() }
#ifdef BROKEN_RELEASES_BEFORE_CLOSING
inline own_drop() { skip }
#elif defined(BROKEN_COUNTS_CANCELLED)
inline own_drop() { counted[0] = 0; counted[1] = 0; counted[2] = 0 }
#else
inline own_drop() { drop() }
#endif

#define RESTART :: d_step { boot == 0 && seq > 0 -> drop(); boot = 1; seq = 0 }

#define TIME \
  :: d_step { lapsed < NOW -> lapsed++; lapse(0); lapse(1); lapse(2); forget(lapsed) }
inline lapse(v) { if :: counted[v] <= lapsed -> counted[v] = 0 :: else fi }

#define COUNT_ANSWER(v, r) \
  :: d_step { (answers[v] & (1 << r)) && r > cancelled && r > lapsed && r > counted[v] -> \
       counted[v] = r; one_lease() }
inline one_lease() { assert(!(LEASED && MAJORITY(next_epoch))) }

#ifdef REACH_NEXT_BY_RELEASE
byte was; /* voters that have granted */
#define NOTE(v) was = was | BIT(v)
#else
#define NOTE(v) skip
#endif
#define GRANT(v, r) \
  :: d_step { r <= NOW && (seq > 0 || r <= SEQS) && KEY(r) > KEY(last[v]) && \
              !(next_epoch & BIT(v)) -> \
       last[v] = r; promise[v] = r; NOTE(v); \
       if :: r > cancelled && r > lapsed -> answers[v] = answers[v] | (1 << r) :: else fi }

#ifdef BROKEN_RELEASES_ANY
#define COVERED(r, v) true
#else
#define COVERED(r, v) (KEY(r) >= KEY(last[v]))
#endif
#define ON_RELEASE(v, r) \
  :: d_step { (released & (1 << r)) && COVERED(r, v) && (promise[v] || last[v] != r) && \
              !(next_epoch & BIT(v)) -> \
       promise[v] = 0; last[v] = (KEY(r) > KEY(last[v]) -> r : last[v]) }

#define PROMISE_LAPSES(v) :: d_step { promise[v] && promise[v] <= lapsed -> promise[v] = 0 }
#define ACCEPT(v) \
  :: d_step { !(next_epoch & BIT(v)) && !promise[v] -> \
       next_epoch = next_epoch | BIT(v); last[v] = 0; one_lease() }

#define EACH(action, v) \
  action(v, 1) action(v, 2) action(v, 3) action(v, 4)
#define VOTER(v) EACH(GRANT, v) EACH(ON_RELEASE, v) EACH(COUNT_ANSWER, v) \
  PROMISE_LAPSES(v) ACCEPT(v)

active proctype Cluster() {
end:
  do
  SEND
  RELEASE
  RESTART
  TIME
  VOTER(0)
  VOTER(1)
  VOTER(2)
#ifdef REACH_LEASE_AGAIN /* is there anything to prove? Each of these must be found. */
  :: d_step { LEASED && (released & (1 << REQUEST(0, 1))) && (released & (1 << REQUEST(1, 1))) -> \
       assert(false) }
#endif
#ifdef REACH_NEXT_BY_RELEASE /* before time alone would have let epoch 1 in */
  :: d_step { next_epoch == 7 && lapsed == 0 && was == 7 -> assert(false) }
#endif
  od
}
