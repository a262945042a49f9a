/* Rule 7: the voters change from OLD to NEW (sets of nodes) by a joint write and a final one, while
 * epochs change as well. The register and the lease are those of register_lease.pml, with quorums
 * that depend on the phase of the change. */
#ifndef OLD
#define OLD 7  /* nodes 0, 1, 2 */
#define NEW 28 /* nodes 2, 3, 4 */
#endif
#define NODES (OLD + NEW < 16 -> 3 : 5)

#define BIT(n) (1 << (n))
#define COUNT(m) \
  (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1) + (((m) >> 3) & 1) + (((m) >> 4) & 1))
#define MAJORITY(voters, m) (2 * COUNT((voters) & (m)) > COUNT(voters))

/* phase 0: voters OLD; 1, joint: voters NEW, voters_prev OLD; 2: voters NEW */
#define VALUE(version, epoch, phase) ((version) * 16 + (epoch) * 4 + (phase))
#define VERSION(x) ((x) >> 4)
#define EPOCH(x) (((x) >> 2) & 3)
#define PHASE(x) ((x) & 3)
#define NONE 0
#define FIRST VALUE(1, 0, 0)
#define QUORUM(phase, m) \
  (((phase) == 2 || MAJORITY(OLD, m)) && ((phase) == 0 || MAJORITY(NEW, m)))

#ifdef BROKEN_ACCEPT_NEW_ONLY
#define ACCEPTED_BY(phase, m) MAJORITY(((phase) == 0 -> OLD : NEW), m)
#else
#define ACCEPTED_BY(phase, m) QUORUM(phase, m)
#endif

/* ---- per node */
byte promised[5], acc_ballot[5], acc[5];
byte informed; /* set of nodes that know that the joint write is committed */

/* ---- per epoch */
byte knows[3]; /* what its primary knows of the register; NONE: not even its own epoch */
byte granted[3], lease[3];

/* ---- per ballot */
byte leads[3], voted[3], voted_ballot[15], voted_value[15];
byte writes[12], last[3], accepted_by[3];
bool committed[3], elected[3];
bool waits[3]; /* since a joint quorum knew of the change */
byte older[3]; /* of OLD: those whose last grant is from before that and may be counted on */
byte dated;    /* epochs with a lease that such a grant limits */

/* ---- ghosts */
byte chosen[6] = NONE;
byte newest, newest_b; /* chosen value, its ballot */
hidden byte i, x, best_b, best;

#define NOW(b) writes[(b) * 4 + last[b]]
#define HOLDER(e) (knows[e] != NONE)
#define CHANGED_IN(phase) (PHASE(newest) >= (phase))

init {
  d_step {
    knows[0] = FIRST;
    for (i : 0 .. 4) { if :: OLD & BIT(i) -> acc[i] = FIRST :: else fi }
  }
}

/* ---- voter */
#define PROMISED_ELSE(n, e) \
  (((granted[0] | granted[1] | granted[2]) & BIT(n)) && !(granted[e] & BIT(n)))

#define ON_PREPARE(n, b) \
  :: d_step { n < NODES && b > promised[n] -> \
       promised[n] = b; \
       if :: !leads[b] -> \
               voted[b] = voted[b] | BIT(n); \
               voted_ballot[b * 5 + n] = acc_ballot[n]; voted_value[b * 5 + n] = acc[n] \
          :: else fi }

#define NEWER(n, b, w) \
  (b > acc_ballot[n] || (b == acc_ballot[n] && VERSION(w) > VERSION(acc[n])))
#define ON_ACCEPT(n, b) \
  :: d_step { n < NODES && leads[b] && b >= promised[n] && NEWER(n, b, NOW(b)) && \
              !PROMISED_ELSE(n, EPOCH(NOW(b))) -> \
       promised[n] = b; acc_ballot[n] = b; acc[n] = NOW(b); \
       if :: !committed[b] -> accepted_by[b] = accepted_by[b] | BIT(n); note_chosen(b) \
          :: else fi }

inline note_chosen(b) {
  if
  :: ACCEPTED_BY(PHASE(NOW(b)), accepted_by[b]) ->
       committed[b] = true;
       accepted_by[b] = 0;
       x = NOW(b);
       assert(chosen[VERSION(x)] == NONE || chosen[VERSION(x)] == x); /* one value per version */
       chosen[VERSION(x)] = x;
       if
       :: b >= newest_b ->
            assert(VERSION(x) >= VERSION(newest)); /* what was chosen is not lost */
            newest = x;
            newest_b = b
       :: else /* the last answer to an older ballot: the newer one has adopted that value */
       fi;
       one_lease()
  :: else
  fi
}
inline note_older(b) {
  older[b] = (granted[0] | granted[1] | granted[2]) & OLD;
  for (i : 0 .. 2) { if :: lease[i] != 0 -> dated = dated | BIT(i) :: else fi };
  skip
}
inline one_lease() {
  assert((lease[0] != 0) + (lease[1] != 0) + (lease[2] != 0) <= 1);
  for (i : 0 .. 2) { assert(lease[i] == 0 || i >= EPOCH(newest)) };
  skip /* a d_step must not end in a loop */
}

/* A voter that knows of the change grants nothing to a holder that knows only OLD. */
#ifdef BROKEN_GRANTS_STALE
#define STALE(n, e) false
#else
#define STALE(n, e) ((informed & BIT(n)) && PHASE(knows[e]) == 0)
#endif
#define INFORM(n) \
  :: d_step { n < NODES && CHANGED_IN(1) && !(informed & BIT(n)) && !CHANGED_IN(2) -> \
       informed = informed | BIT(n) }
#define GRANT(n, e) /* or extends: then the promise is no longer one from before the change */ \
  :: d_step { acc[n] != NONE && EPOCH(acc[n]) == e && HOLDER(e) && !STALE(n, e) && \
              (!(granted[e] & BIT(n)) || ((older[1] | older[2]) & BIT(n))) -> \
       granted[e] = granted[e] | BIT(n); forget_older(n) }
#define PROMISE_LAPSES(n, e) \
  :: d_step { (granted[e] & BIT(n)) && !(lease[e] & BIT(n)) -> \
       granted[e] = granted[e] & ~BIT(n); forget_older(n) }
inline forget_older(n) { older[1] = older[1] & ~BIT(n); older[2] = older[2] & ~BIT(n) }

/* ---- holder of epoch e. A lease that it has stays when it learns of other voters. */
#define LEARN(e, version) \
  :: d_step { chosen[version] != NONE && EPOCH(chosen[version]) == e && \
              VERSION(knows[e]) < version -> knows[e] = chosen[version] }
#ifdef BROKEN_LEASE_OLD_ONLY
#define LEASE_QUORUM(phase, old, new) ((phase) == 2 -> new : old)
#else
#define LEASE_QUORUM(phase, old, new) ((phase) == 0 -> old : ((phase) == 2 -> new : (old) | (new)))
#endif
#define ACQUIRE(e, old, new) \
  :: d_step { HOLDER(e) && QUORUM(0, old) && QUORUM(2, new) && \
              (lease[e] != LEASE_QUORUM(PHASE(knows[e]), old, new) || (dated & BIT(e))) && \
              !(LEASE_QUORUM(PHASE(knows[e]), old, new) & ~granted[e]) -> \
       lease[e] = LEASE_QUORUM(PHASE(knows[e]), old, new); \
       if :: lease[e] & (older[1] | older[2]) -> dated = dated | BIT(e) \
          :: else -> dated = dated & ~BIT(e) fi; \
       one_lease() }
#define LEASE_ENDS(e) :: d_step { lease[e] != 0 -> lease[e] = 0; dated = dated & ~BIT(e) }

/* ---- coordinator */
/* It needs the quorum that it knows (OLD is the least that anybody knows) to hear of the highest
 * accepted value, and then that value's own quorum too. */
#ifdef BROKEN_PREPARES_OLD_ONLY
#define HEARD(q) QUORUM(0, q)
#else
#define HEARD(q) (QUORUM(PHASE(best), q) && \
                  (QUORUM(0, q) || (CHANGED_IN(1) && QUORUM(1, q)) || \
                   (CHANGED_IN(2) && QUORUM(2, q))))
#endif
#define LEAD(b, quorum) \
  :: d_step { !leads[b] && voted[b] && (voted[b] & (quorum)) == (quorum) -> \
       best_b = 0; best = NONE; x = (quorum); \
       for (i : 0 .. 4) { \
         if :: (x & BIT(i)) && (voted_ballot[b * 5 + i] > best_b || \
               (voted_ballot[b * 5 + i] == best_b && voted_value[b * 5 + i] > best)) -> \
                 best_b = voted_ballot[b * 5 + i]; best = voted_value[b * 5 + i] \
            :: else fi }; \
       if :: best != NONE && HEARD(x) -> leads[b] = 1; writes[b * 4] = best; forget_votes(b) \
          :: else fi }
inline forget_votes(b) { /* of no more use: fewer states */
  voted[b] = 0;
  for (i : 0 .. 4) { voted_ballot[b * 5 + i] = 0; voted_value[b * 5 + i] = 0 };
  skip
}

#define READY(b) (leads[b] && committed[b] && last[b] < 3)
inline propose(b, value) {
  x = value;
  last[b] = last[b] + 1;
  writes[b * 4 + last[b]] = x;
  accepted_by[b] = 0;
  committed[b] = false
}
#define ELECT(b) \
  :: d_step { READY(b) && !elected[b] && EPOCH(NOW(b)) < b -> \
       elected[b] = true; propose(b, VALUE(VERSION(NOW(b)) + 1, b, PHASE(NOW(b)))) }
#ifdef BROKEN_NO_JOINT
#define FIRST_STEP 2
#else
#define FIRST_STEP 1
#endif
#define BEGIN_CHANGE(b) \
  :: d_step { READY(b) && PHASE(NOW(b)) == 0 -> \
       propose(b, VALUE(VERSION(NOW(b)) + 1, EPOCH(NOW(b)), FIRST_STEP)) }
/* Final once everything that was granted before a joint quorum knew has surely lapsed: none of it
 * is left, whether it ended or was granted anew. */
#ifdef BROKEN_WAITS_FROM_COMMIT
#define REFUSED true
#else
#define REFUSED QUORUM(1, informed)
#endif
#define BEGIN_WAIT(b) \
  :: d_step { READY(b) && PHASE(NOW(b)) == 1 && !waits[b] && REFUSED -> \
       waits[b] = true; note_older(b) }
#if defined(BROKEN_FINAL_TOO_EARLY)
#define OVER(b) true
#elif defined(BROKEN_FINAL_ONCE_PRIMARY_KNOWS)
#define OVER(b) (PHASE(knows[EPOCH(NOW(b))]) != 0)
#else
#define OVER(b) (waits[b] && older[b] == 0 && dated == 0)
#endif
#define END_CHANGE(b) \
  :: d_step { READY(b) && PHASE(NOW(b)) == 1 && OVER(b) -> \
       propose(b, VALUE(VERSION(NOW(b)) + 1, EPOCH(NOW(b)), 2)); older[b] = 0 }

/* ---- who does what. Minimal majorities of 7, of 28 and of 1 (nodes 0, 1, 2; 2, 3, 4; 0). */
#if OLD == 7
#define WITH_OLD(action, b, new) action(b, 3, new) action(b, 5, new) action(b, 6, new)
#else
#define WITH_OLD(action, b, new) action(b, 1, new)
#endif
#if NEW == 28
#define WITH_BOTH(action, b) \
  WITH_OLD(action, b, 12) WITH_OLD(action, b, 20) WITH_OLD(action, b, 24)
#elif NEW == 7
#define WITH_BOTH(action, b) \
  WITH_OLD(action, b, 3) WITH_OLD(action, b, 5) WITH_OLD(action, b, 6)
#else
#define WITH_BOTH(action, b) WITH_OLD(action, b, 1)
#endif
#define LEAD_WITH(b, old, new) LEAD(b, old) LEAD(b, new) LEAD(b, ((old) | (new)))

#ifdef ONE_BALLOT /* besides the first: for five nodes */
#define PREPARE_2(n)
#else
#define PREPARE_2(n) ON_PREPARE(n, 2)
#endif
#define NODE(n) \
  ON_PREPARE(n, 1) PREPARE_2(n) ON_ACCEPT(n, 1) ON_ACCEPT(n, 2) INFORM(n) \
  GRANT(n, 0) GRANT(n, 1) GRANT(n, 2) \
  PROMISE_LAPSES(n, 0) PROMISE_LAPSES(n, 1) PROMISE_LAPSES(n, 2)
#define EPOCH_HOLDER(e) \
  LEARN(e, 2) LEARN(e, 3) LEARN(e, 4) LEARN(e, 5) LEASE_ENDS(e) WITH_BOTH(ACQUIRE, e)
#define COORDINATOR(b) \
  WITH_BOTH(LEAD_WITH, b) LEAD(b, voted[b]) ELECT(b) BEGIN_CHANGE(b) BEGIN_WAIT(b) END_CHANGE(b)

active proctype Cluster() {
  (knows[0] != NONE);
end:
  do
  NODE(0)
  NODE(1)
  NODE(2)
  NODE(3)
  NODE(4)
  EPOCH_HOLDER(0)
  EPOCH_HOLDER(1)
  EPOCH_HOLDER(2)
  COORDINATOR(1)
#ifndef ONE_BALLOT
  COORDINATOR(2)
#endif
#ifdef REACH_NEW_LEASE /* is there anything to prove? Must be found. */
  :: d_step { EPOCH(newest) == 2 && PHASE(newest) == 2 && lease[2] != 0 && \
              EPOCH(chosen[2]) == 1 -> assert(false) }
#endif
  od
}
