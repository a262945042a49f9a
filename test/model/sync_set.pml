/* Rule 6: S and k change while commits, a restart of the primary and a failover may come at any
 * moment. Node 0 is the primary, 1 to 3 are standbys. The register is one compare-and-set cell
 * (register_lease.pml); what is sent to it stays receivable for ever, so it may land late.
 *
 * WAL positions are numbers: positions 1 to COMMITS, each of them a commit. */
#define COMMITS 3
#ifndef CHANGES
#define CHANGES 3 /* of S or k that the primary begins */
#endif
#define BIT(n) (1 << (n))
#define COUNT(s) ((((s) >> 1) & 1) + (((s) >> 2) & 1) + (((s) >> 3) & 1))

/* ---- the register */
byte version, reg_s = 6, reg_k = 1; /* {1, 2} */

/* ---- the primary: what it enforces, what processes may still enforce that have not reloaded yet,
 * what it knows of the register, and the change that it is making */
byte set_s = 6, set_k = 1;
byte old_s = 6, old_k = 1;
bool effective = true;
byte known;
byte step;             /* 0 none, 1 setting changed, 2 barrier taken, 3 REQUEST sent */
byte want_s, want_k;   /* step > 0 */
byte barrier;
bool gate = true;
byte written;          /* insert and flush position */
byte flush[4];           /* of each standby's flushed WAL */

/* ---- REQUESTs under way: of the present start, and of the one before (lost to its sender) */
bool sent[2];
byte sent_base[2], sent_s[2], sent_k[2];

byte changes, restarts, acknowledged;
bool over; /* failover has counted: the register has moved on, nothing is acknowledged any more */
hidden byte i, x;

inline flushed_by(set, position) { /* -> x */
  x = 0;
  for (i : 1 .. 3) { if :: (set & BIT(i)) && flush[i] >= position -> x++ :: else fi };
  skip
}

#define RECEIVE(n) :: d_step { flush[n] < written && !over -> flush[n]++ }
#define WRITE :: d_step { written < COMMITS && !over -> written++ }

/* A process that has not reloaded decides by what it enforces. */
#define ACKNOWLEDGE(s, k) \
  :: d_step { gate && !over && acknowledged < written -> \
       flushed_by(s, acknowledged + 1); \
       if :: x >= k -> acknowledged++ :: else fi }
#define RELOADED \
  :: d_step { !effective -> effective = true; old_s = set_s; old_k = set_k }

/* ---- changes. SETTING_FIRST: remove from S, raise k; and all that leaves k = 0, with which no
 * failover counts. Else: add to S, lower k. */
#define VALID(s, k) (COUNT(s) >= (k))
#define SETTING_FIRST (((want_s & ~set_s) == 0 || (set_k == 0 && want_k > 0)) && want_k >= set_k)
#ifdef BROKEN_REMOVES_REGISTER_FIRST
#define BY_SETTING false
#elif defined(BROKEN_ADDS_SETTING_FIRST)
#define BY_SETTING true
#else
#define BY_SETTING SETTING_FIRST
#endif
#define BEGIN(s, k) \
  :: d_step { step == 0 && gate && changes < CHANGES && effective && known == version && \
              ((s) != set_s || (k) != set_k) && VALID(s, k) -> \
       want_s = s; want_k = k; changes++; \
       if :: BY_SETTING -> \
               set_s = want_s; set_k = want_k; effective = false; step = 1 \
          :: else -> send() fi }
inline send() {
  step = 3;
  sent[0] = true; sent_base[0] = known; sent_s[0] = want_s; sent_k[0] = want_k
}

/* As long as no REQUEST was sent the primary may think better of it. */
#define TAKE_BACK \
  :: d_step { (step == 1 || step == 2) && (effective || (old_s == reg_s && old_k == reg_k)) && \
              known == version -> \
       step = 0; barrier = 0; old_s = set_s; old_k = set_k; \
       set_s = reg_s; set_k = reg_k; effective = false }

#ifdef BROKEN_NOT_EFFECTIVE
#define IN_FORCE true
#else
#define IN_FORCE effective
#endif
#define TAKE_BARRIER :: d_step { step == 1 && IN_FORCE -> barrier = written; step = 2 }
#ifdef BROKEN_NO_BARRIER
#define PASSED true
#else
#define PASSED (x >= want_k)
#endif
#define ASK \
  :: d_step { step == 2 -> \
       flushed_by(want_s, barrier); \
       if :: PASSED -> barrier = 0; send() :: else fi }

#ifdef BROKEN_NO_COMPARE
#define APPLIES(r) (sent[r] && !over && version < 6 && (reg_s != sent_s[r] || reg_k != sent_k[r]))
#else
#define APPLIES(r) (sent[r] && !over && sent_base[r] == version)
#endif
#define LANDS(r) \
  :: d_step { APPLIES(r) -> reg_s = sent_s[r]; reg_k = sent_k[r]; version++; forget(r) }
#ifdef BROKEN_NO_COMPARE
inline forget(r) { skip }
#else
inline forget(r) { /* it cannot land twice */
  if :: sent[0] && sent_base[0] < version -> sent[0] = false :: else fi;
  if :: sent[1] && sent_base[1] < version -> sent[1] = false :: else fi
}
#endif

/* The primary learns that its REQUEST has landed; what was added is enforced from then on. */
#define LEARN \
  :: d_step { step == 3 && known != version -> \
       known = version; step = 0; \
       if :: set_s != reg_s || set_k != reg_k -> \
               set_s = reg_s; set_k = reg_k; effective = false \
          :: else fi }

#ifdef BROKEN_ABANDONS /* no answer: it takes the change back */
#define GIVE_UP \
  :: d_step { step == 3 && known == version && effective -> \
       step = 0; set_s = reg_s; set_k = reg_k; effective = false }
#else
#define GIVE_UP
#endif

/* ---- restart: settings survive; a write with the new boot_count precedes the gate, so that an old
 * REQUEST finds another version. What the register says then is enforced from the start. */
#define RESTART \
  :: d_step { restarts == 0 && !over -> \
       restarts++; gate = false; step = 0; want_s = 0; want_k = 0; barrier = 0; \
       effective = true; old_s = set_s; old_k = set_k; \
       sent[1] = sent[0]; sent_base[1] = sent_base[0]; sent_s[1] = sent_s[0]; \
       sent_k[1] = sent_k[0]; sent[0] = false }
#ifdef BROKEN_NO_BOOT_WRITE
#define BOOT_WRITE skip
#else
#define BOOT_WRITE version++; forget(1)
#endif
#define REOPEN \
  :: d_step { !gate && !over -> \
       BOOT_WRITE; known = version; gate = true; \
       set_s = reg_s; set_k = reg_k; old_s = set_s; old_k = set_k }

/* ---- failover: fences and counts any |S| - k + 1 of S as the register has it; with k = 0 there
 * are not so many. The highest end among them becomes the new line. */
#ifdef BROKEN_FEW_REPLIES
#define NEED (COUNT(reg_s) - reg_k)
#else
#define NEED (COUNT(reg_s) - reg_k + 1)
#endif
#define FAILOVER(counted) \
  :: d_step { !over && ((counted) & ~reg_s) == 0 && COUNT(counted) == NEED -> \
       over = true; \
       flushed_by((counted), acknowledged); \
       assert(x >= 1); /* somebody counted has every acknowledged commit */ \
       reached() }
inline reached() { /* is there anything to prove? Each of these must be found. */
#ifdef REACH_AFTER_REMOVAL
  assert(!(reg_s == 2 && acknowledged == COMMITS));
#endif
#ifdef REACH_AFTER_ADDITION
  assert(!(reg_s == 14 && reg_k == 2 && acknowledged == COMMITS));
#endif
#ifdef REACH_AFTER_RESTART
  assert(!(restarts && changes == CHANGES && acknowledged == COMMITS && flush[1] < flush[2]));
#endif
  skip
}

active proctype Cluster() {
end:
  do
  WRITE
  RECEIVE(1)
  RECEIVE(2)
  RECEIVE(3)
  ACKNOWLEDGE(set_s, set_k)
  ACKNOWLEDGE(old_s, old_k)
  RELOADED
  BEGIN((set_s | 2), set_k)
  BEGIN((set_s | 4), set_k)
  BEGIN((set_s | 8), set_k)
  BEGIN((set_s & ~2), set_k)
  BEGIN((set_s & ~4), set_k)
  BEGIN((set_s & ~8), set_k)
  BEGIN(set_s, (set_k + 1))
  BEGIN(set_s, (set_k > 0 -> set_k - 1 : 0))
  BEGIN((set_s | 8), (set_k == 0 -> 1 : set_k))
  TAKE_BACK
  TAKE_BARRIER
  ASK
  LANDS(0)
  LANDS(1)
  LEARN
  GIVE_UP
  RESTART
  REOPEN
  FAILOVER(2)
  FAILOVER(4)
  FAILOVER(6)
  FAILOVER(8)
  FAILOVER(10)
  FAILOVER(12)
  FAILOVER(14)
  od
}
