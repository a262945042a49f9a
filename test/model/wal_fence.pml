/* Rules 4 and 5: FENCE, counting, the choice of a target, activation. Three data nodes, two
 * coordinators one after the other (ballots 1 and 2), each may fail over once.
 *
 * The register is what register_lease.pml has proved of it: a write is proposed, and committed
 * unless a newer ballot is led before; a newer coordinator adopts a proposal that it finds, and
 * must find a committed one. So is the lease: it can be had at any time at which no later epoch is
 * chosen (LEASED). S is "all but the primary"; k of the first epoch is 1, of the others K1. */
#ifndef K1
#define K1 1
#endif
#define K(e) ((e) == 0 -> 1 : K1)

#define BIT(n) (1 << (n))
#define COUNT(m) (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1))
#define MAJORITY(m) (COUNT(m) >= 2)

/* A register value; each change makes it greater, so it serves as the version too. Ballot b makes
 * at most one epoch, epoch b. */
#define VALUE(epoch, active) ((epoch) * 2 + (active))
#define EPOCH(x) ((x) >> 1)
#define ACTIVE(x) ((x) & 1)
#define FIRST VALUE(0, 1)

/* WAL as a set of records. Each belongs to one epoch, so a line through the tree of timelines is a
 * set, "ends further on the same line" is ">", and what two nodes have in common is "&". */
#define START(e) (1 << (2 * (e)))      /* end-of-recovery record of epoch e */
#define COMMIT(e) (1 << (2 * (e) + 1)) /* a client's commit */
#define UP_TO(e) ((1 << (2 * (e) + 2)) - 1)

/* ---- durable, per node. Epoch 0: node 0 is the primary, with a commit that nobody else has yet */
byte promised[3];
byte known[3] = FIRST; /* the register, as learned */
byte fenced[3];        /* takes WAL only of epochs >= this */
byte wal[3] = {3, 1, 1};
byte role[3] = {1, 0, 0}; /* out of recovery under epoch role - 1; 0: standby */

/* ---- the register */
byte chosen = FIRST, past[3]; /* past: what it was before, for late COMMITs */
byte proposed;                /* by the coordinator that leads; 0: none */
byte leader;                  /* ballot */
byte primary[3], basis[3];    /* per epoch; basis: the last active epoch before it */
byte asks_activation;         /* epochs whose REQUEST is under way */

/* ---- failover, per ballot */
byte stage[3];  /* 0 none, 1 fences voters, 2 collects positions, 3 done */
byte fences[3]; /* epoch */
byte voters_fenced[3], replied[3], position[9];

/* ---- ghosts */
byte flushed[3];       /* who has reported the flush of COMMIT(e) to the primary that wrote it */
byte acknowledged = 1; /* records that a client was told of */
hidden byte i, x, e, p, own, of_s, highest;

#define MAY_ACT(n) (primary[EPOCH(known[n])] == (n) && fenced[n] <= EPOCH(known[n]))
#define RUNS(n) (MAY_ACT(n) && role[n] == EPOCH(known[n]) + 1)
#define LEASED(e) (EPOCH(chosen) <= (e))
#ifdef BROKEN_NO_ACTIVATION
#define IN_FORCE(x) true
#else
#define IN_FORCE(x) ACTIVE(x)
#endif
#ifdef BROKEN_ACK_WITHOUT_LEASE
#define GATE(n) (RUNS(n) && IN_FORCE(known[n]))
#else
#define GATE(n) (RUNS(n) && IN_FORCE(known[n]) && LEASED(EPOCH(known[n])))
#endif

/* ---- what a node does */
#define LEARN(n, value) :: d_step { value > known[n] -> known[n] = value }

#define ON_FENCE(n, b) \
  :: d_step { (stage[b] == 1 || stage[b] == 2) && b >= promised[n] && \
              !((stage[b] == 1 -> voters_fenced[b] : replied[b]) & BIT(n)) -> \
       promised[n] = b; stop_receiver(n, fences[b]); \
       if :: stage[b] == 2 -> \
               replied[b] = replied[b] | BIT(n); position[b * 3 + n] = wal[n] \
          :: else -> \
               voters_fenced[b] = voters_fenced[b] | BIT(n); \
               if :: MAJORITY(voters_fenced[b]) -> stage[b] = 2; voters_fenced[b] = 0 \
                  :: else fi \
          fi }
inline stop_receiver(n, epoch) {
#ifndef BROKEN_NO_FENCE
  if :: epoch >= fenced[n] -> fenced[n] = epoch + 1 :: else fi;
#endif
  skip
}
#ifdef BROKEN_FENCE_FORGOTTEN
#define RESTART(n) :: d_step { fenced[n] != 0 -> fenced[n] = 0 }
#else /* everything that matters here is durable */
#define RESTART(n)
#endif

#define UPSTREAM(n) primary[EPOCH(known[n])]
#define STREAMS(n) \
  (UPSTREAM(n) != (n) && EPOCH(known[n]) >= fenced[n] && role[UPSTREAM(n)] == EPOCH(known[n]) + 1)
#define RECEIVE(n) \
  :: d_step { role[n] == 0 && STREAMS(n) && wal[n] != wal[UPSTREAM(n)] && \
              (wal[n] & ~wal[UPSTREAM(n)]) == 0 -> \
       p = UPSTREAM(n); \
       x = wal[p] & ~wal[n]; x = x & ~(x - 1); /* the next record */ \
       wal[n] = wal[n] | x; \
       for (i : 0 .. 2) { \
         if :: x == COMMIT(i) && primary[i] == p -> flushed[i] = flushed[i] | BIT(n) :: else fi \
       }; skip }
#define REWIND(n) /* former primaries, and standbys that have diverged */ \
  :: d_step { STREAMS(n) && (role[n] != 0 || (wal[n] & ~wal[UPSTREAM(n)]) != 0) -> \
       wal[n] = wal[n] & wal[UPSTREAM(n)]; role[n] = 0 }

/* A closed gate does not keep a server from writing WAL, and nobody can tell when it wrote the
 * client's commit before it is streamed: it does so at once. */
#define PROMOTE(n) \
  :: d_step { MAY_ACT(n) && role[n] != EPOCH(known[n]) + 1 -> \
       role[n] = EPOCH(known[n]) + 1; \
       wal[n] = wal[n] | START(EPOCH(known[n])) | COMMIT(EPOCH(known[n])) }
#define HAS(n, m, record) (n != m && (wal[m] & record) -> 1 : 0)
#define ASK_ACTIVATION(n) /* k of S have flushed the end-of-recovery record */ \
  :: d_step { RUNS(n) && !ACTIVE(known[n]) && LEASED(EPOCH(known[n])) && \
              !(asks_activation & BIT(EPOCH(known[n]))) && \
              HAS(n, 0, START(EPOCH(known[n]))) + HAS(n, 1, START(EPOCH(known[n]))) + \
              HAS(n, 2, START(EPOCH(known[n]))) >= K(EPOCH(known[n])) -> \
       asks_activation = asks_activation | BIT(EPOCH(known[n])) }

#define ACKNOWLEDGE(n, c) \
  :: d_step { GATE(n) && primary[c] == n && (wal[n] & COMMIT(c)) && !(acknowledged & COMMIT(c)) && \
              COUNT(flushed[c] & ~BIT(n)) >= K(EPOCH(known[n])) -> \
       acknowledged = acknowledged | COMMIT(c); \
       assert(EPOCH(chosen) <= EPOCH(known[n])) /* nothing after the successor was chosen */ }
#define OPEN_GATE(n) /* a primary that opens its gate has every acknowledged commit */ \
  :: d_step { GATE(n) && (acknowledged & ~wal[n]) != 0 -> assert((acknowledged & ~wal[n]) == 0) }

active [3] proctype Node() {
end:
  do
  LEARN(_pid, chosen)
  LEARN(_pid, past[1])
  LEARN(_pid, past[2])
  ON_FENCE(_pid, 1)
  ON_FENCE(_pid, 2)
  RECEIVE(_pid)
  REWIND(_pid)
  PROMOTE(_pid)
  ASK_ACTIVATION(_pid)
  ACKNOWLEDGE(_pid, 0)
  ACKNOWLEDGE(_pid, 1)
  ACKNOWLEDGE(_pid, 2)
  OPEN_GATE(_pid)
  RESTART(_pid)
  od
}

/* ---- coordinator */
inline obey(b, quorum) {
  for (i : 0 .. 2) { if :: (quorum & BIT(i)) && promised[i] < b -> promised[i] = b :: else fi };
  leader = b;
  asks_activation = asks_activation & BIT(EPOCH(chosen)) /* the others cannot land any more */
}
#define LEAD(b, quorum) /* finds no proposal, or one that then becomes its own */ \
  :: d_step { leader < b && NOBODY_BEYOND(b, quorum) -> proposed = 0; obey(b, quorum) } \
  :: d_step { leader < b && NOBODY_BEYOND(b, quorum) && proposed -> commit(); obey(b, quorum) }
#define NOBODY_BEYOND(b, quorum) \
  (!(quorum & 1 && promised[0] > b) && !(quorum & 2 && promised[1] > b) && \
   !(quorum & 4 && promised[2] > b))

inline commit() {
  if :: EPOCH(proposed) != EPOCH(chosen) -> past[2] = past[1]; past[1] = chosen :: else fi;
  chosen = proposed;
  proposed = 0
}
#define COMMITTED(b) :: d_step { leader == b && proposed -> commit() }

#define FENCE_VOTERS(b) \
  :: d_step { leader == b && !proposed && stage[b] == 0 && EPOCH(chosen) < b -> \
       stage[b] = 1; fences[b] = EPOCH(chosen) }

#define ACTIVATE(b) /* what was counted named an older version: counted again */ \
  :: d_step { leader == b && !proposed && !ACTIVE(chosen) && \
              (asks_activation & BIT(EPOCH(chosen))) -> \
       proposed = VALUE(EPOCH(chosen), 1); asks_activation = 0; count_anew(b) }
inline count_anew(b) {
  replied[b] = 0;
  position[b * 3] = 0; position[b * 3 + 1] = 0; position[b * 3 + 2] = 0
}

/* e: the epoch whose promises to clients are to be kept. A node's position is its WAL on e's line;
 * a node that never was on it, or that left it as the primary of an epoch that nobody else knows,
 * does not count. */
#define VALID(b, n) \
  ((replied[b] & BIT(n)) && (position[b * 3 + n] & START(e)) && \
   (role[n] == 0 || n == primary[e] || n == primary[EPOCH(chosen)]))
#define REACHED(b, n) (position[b * 3 + n] & UP_TO(e))
inline count_node(b, n) {
  if
  :: VALID(b, n) ->
       if :: REACHED(b, n) > highest -> highest = REACHED(b, n) :: else fi;
       if :: n == primary[p] -> own = true :: else -> of_s++ fi
  :: else
  fi
}
#ifdef BROKEN_FEW_REPLIES
#define NEED(e) (2 - K(e))
#else
#define NEED(e) (2 - K(e) + 1)
#endif
#ifdef BROKEN_ANY_TARGET
#define FAR_ENOUGH(b, n) true
#else
#define FAR_ENOUGH(b, n) (REACHED(b, n) == highest)
#endif
#define BASIS (ACTIVE(chosen) -> EPOCH(chosen) : basis[EPOCH(chosen)])
#ifdef BROKEN_NO_BASIS
#define COUNTS_ON EPOCH(chosen)
#else
#define COUNTS_ON BASIS
#endif

#define ELECT(b, n) \
  :: d_step { leader == b && !proposed && stage[b] == 2 && (replied[b] & BIT(n)) -> \
       e = BASIS; p = COUNTS_ON; \
       own = false; of_s = 0; highest = 0; \
       count_node(b, 0); count_node(b, 1); count_node(b, 2); \
       if :: (own || of_s >= NEED(p)) && VALID(b, n) && FAR_ENOUGH(b, n) -> \
               primary[b] = n; basis[b] = e; proposed = VALUE(b, 0); \
               stage[b] = 3; replied[b] = 0; \
               for (i : 0 .. 2) { position[b * 3 + i] = 0 }; skip \
          :: else fi }

#define THIS (_pid - 2)
active [2] proctype Coordinator() {
end:
  do
  LEAD(THIS, 3)
  LEAD(THIS, 5)
  LEAD(THIS, 6)
  LEAD(THIS, 7)
  COMMITTED(THIS)
  FENCE_VOTERS(THIS)
  ACTIVATE(THIS)
  ELECT(THIS, 0)
  ELECT(THIS, 1)
  ELECT(THIS, 2)
#ifdef REACH_TWO_FAILOVERS /* is there anything to prove? Each of these must be found. */
  :: d_step { (acknowledged & COMMIT(2)) && (acknowledged & COMMIT(1)) && \
              (acknowledged & COMMIT(0)) -> assert(false) }
#endif
#ifdef REACH_BASIS /* two in turn, the first one before its activation */
  :: d_step { (acknowledged & COMMIT(2)) && (acknowledged & COMMIT(0)) && basis[2] == 0 && \
              EPOCH(past[1]) == 1 && role[primary[1]] == 2 -> assert(false) }
#endif
  od
}
