/*
 * recovery.pml - the recovery protocol of doc/recovery.md, for spin to walk through.
 *
 * One vCPU; one device with a register, a shadow of it, an interrupt line and a
 * file behind it; the daemon, which may be killed before each of its steps,
 * those of its takeover too; the engine's drainer of events and its supervisor.
 * spin tries every order in which their steps can follow each other, with up to
 * KILLS deaths and an upgrade, for which the daemon holds and another takes
 * over.  A step is a store that another process, or a successor, reads.
 *
 * The vCPU judges: a register's side effect happens once (its value counts
 * them), a completion comes after its events, a shadow is no older than the
 * vCPU's own writes, the file holds what was written last.  What is lost shows
 * as a vCPU that waits for ever: an invalid end state.
 *
 * Each inline and proctype names the functions that it stands for.  One of
 * these macros spoils one step, and spin must find out (recovery.sh):
 *
 *	PUBLISH_FIRST	the outbox is published before the commit
 *	CHANGE_FIRST	an object is changed before its undo entry is there
 *	SIZE_FIRST	the undo log grows before the entry is written
 *	ACK_LATE	the acknowledgement after the transaction, not in it
 *	EVENTS_LATE	a completion before the events that it names
 *	SHADOW_LATE	a posted write is acknowledged before its shadow word
 *	SHADOW_TRUSTED	a shadow is read while a posted write is on its way
 *	NO_SALVAGE	answers in the dead daemon's ring are left there
 *	RING_INDEX	what is posted again is told from ring indices
 *	NO_ACK_CHECK	a successor serves what is posted again unseen
 *	NO_DRAIN	events in the dead daemon's ring are left there
 *	ANSWER_DROPPED	a vCPU that meets the loss forgets the answer in its hands
 *	ONE_ARENA	the successor works on the arena, not on a copy
 *	ARENA_LATE	the link is exchanged before the successor hears, the arena after
 *	IO_FORGOTTEN	operations in flight are not started again
 *	EARLY_START	a worker of the dead daemon is not waited for
 *	BUSY_LEFT	a worker of one that holds, and is replaced, is not waited for
 *
 * It leaves out what has no order of its own: contents of batches, the room in
 * rings, waiting and waking, byte streams, virtqueues; and what decides whether
 * a step is taken, not how: back-off, outage policies, quarantine.
 */
#ifndef KILLS
#define KILLS 2
#endif
#ifndef UPGRADES
#define UPGRADES 1
#endif

mtype = { IDLE, ACTIVE, COMMITTED }			/* enum txn_state */
mtype = { WRITE, READ, START, ACK }			/* requests; WRITE is a posted one */

typedef device {					/* its state, in the arena */
	byte reg, data;
	bit busy, line
}
typedef header {					/* struct arena_header */
	mtype word = IDLE;
	bit request;					/* the source: a request, else an operation that ended */
	byte seq;					/* ... its number */
	bit undo_used;
	device undo;
	device dev;
	byte acked, event_seq;
	byte base, value, shadow;			/* the outbox */
	bit nevents, level, completes, shadows, ios
}
typedef memory {					/* struct link, but for its two channels */
	byte first, last;				/* the request ring: numbers in a row */
	byte committed, shadow
}

/* Of the daemon that serves or has died, and of its successor.  `arena_at` is `at` but in ARENA_LATE. */
header arena[2], nobodys;
memory link[2];
chan comps[2] = [3] of { byte, byte, byte };		/* number, value, its events */
chan events[2] = [4] of { byte, bit };			/* number, level of the line */
bit at, arena_at;

/* Processes; `hold` is asked of one, `held` and `busy` its answer. */
bit alive[2], killed[2], ready[2], go[2], hold, held, busy;
byte kills, upgrades;

/* The engine: struct link_client, the vCPU's channel, what the guest sees. */
bit lost = 1, drain_lock, park, parked;
bit level;
byte applied, last, committed, posted;
bit has_saved;
byte saved_seq, saved_value;

byte file;						/* what the back end has written */
bit program;						/* which of two the vCPU runs */
#if defined(EARLY_START) || defined(BUSY_LEFT)
byte late;						/* a dead daemon's worker has not yet written this */
#endif

/* Private copies by number: what the vCPU asks for is fixed. */
#define KIND(seq) (program == 0 -> (seq < 3 -> WRITE : READ) : (seq % 2 -> START : ACK))

/* ---- the daemon: `me` is its place in arena[] and link[] */

#define me _pid		/* of two, which are the first */

#ifdef ONE_ARENA
#define A arena[arena_at]
#else
#define A arena[me]
#endif

/* txn_begin() */
inline begin(is_request, nr) {
	len(events[me]) < 3;				/* reserve() */
	d_step { A.undo_used = 0; A.request = is_request; A.seq = nr };
	d_step {
		A.base = A.event_seq; A.nevents = 0; A.completes = 0; A.shadows = 0; A.ios = 0; A.value = 0;
		A.level = 0; A.shadow = 0
	};
	A.word = ACTIVE
}

inline copy_device(to, from) {
	to.reg = from.reg; to.data = from.data; to.busy = from.busy; to.line = from.line
}

/* txn_save(), and what dev_write() is called for */
inline save() {
#ifdef SIZE_FIRST
	A.undo_used = 1;
	d_step { copy_device(A.undo, A.dev) }
#else
	d_step { copy_device(A.undo, A.dev) };
	A.undo_used = 1
#endif
}
#ifdef CHANGE_FIRST
#define BEFORE_CHANGE skip
#define AFTER_CHANGE save()
#else
#define BEFORE_CHANGE save()
#define AFTER_CHANGE skip
#endif

/* A handler: dispatch_serve() */
inline serve(nr) {
	begin(1, nr);
	if
	:: KIND(nr) == WRITE ->
		BEFORE_CHANGE; A.dev.reg++; AFTER_CHANGE;
		d_step { A.shadow = A.dev.reg; A.shadows = 1 }
	:: KIND(nr) == READ ->
		BEFORE_CHANGE; A.dev.reg++; AFTER_CHANGE;
		d_step { A.value = A.dev.reg; A.completes = 1 }
	:: KIND(nr) == START ->
		BEFORE_CHANGE; A.dev.busy = 1; AFTER_CHANGE; A.dev.data = nr;
		d_step { A.value = nr; A.ios = 1; A.completes = 1 }
	:: KIND(nr) == ACK ->
		BEFORE_CHANGE; A.dev.line = 0; AFTER_CHANGE;
		d_step { A.value = nr; A.nevents = 1; A.level = 0; A.completes = 1 }
	fi;
	end()
}

/* machine_reap(): the operation has ended */
inline io_ended() {
	begin(0, 0);
	d_step { started = 0; ended = 0 };		/* of the process, not of the arena */
	BEFORE_CHANGE; A.dev.busy = 0; AFTER_CHANGE; A.dev.line = 1;
	d_step { A.nevents = 1; A.level = 1 };
	end()
}

/* publish_request(), without the acknowledgement */
inline answer() {
	if
	:: A.request && A.completes ->
		assert(nfull(comps[me]));		/* completions never outnumber requests */
		comps[me]!A.seq, A.value, A.base + A.nevents
	:: A.request && !A.completes -> link[me].committed = A.seq	/* link_commit() */
	:: else
	fi
}

/* publish_events() */
inline publish_event() {
	if
	:: A.nevents -> assert(nfull(events[me])); events[me]!A.base + 1, A.level
	:: else
	fi
}

/* link_shadow_write() for each */
inline publish_shadow() {
	if
	:: A.shadows -> link[me].shadow = A.shadow
	:: else
	fi
}

inline acknowledge() {
	if
	:: A.request -> A.acked = A.seq
	:: else
	fi
}

/* txn_publish() as far as IDLE */
inline reveal() {
#ifdef EVENTS_LATE
	publish_shadow(); acknowledge(); answer(); publish_event(); A.event_seq = A.base + A.nevents;
#else
#ifdef SHADOW_LATE
	publish_event(); A.event_seq = A.base + A.nevents; acknowledge(); answer(); publish_shadow();
#else
	publish_shadow();
	publish_event();
	A.event_seq = A.base + A.nevents;
#ifndef ACK_LATE
	acknowledge();
#endif
	answer();
#endif
#endif
	if						/* machine_start_io() */
	:: A.ios && live -> started = 1
	:: else
	fi
}

/* txn_end() */
inline end() {
#ifdef PUBLISH_FIRST
	reveal(); A.word = COMMITTED;
#else
	A.word = COMMITTED;				/* txn_commit() */
	reveal();
#endif
	A.word = IDLE;
#ifdef ACK_LATE
	acknowledge()
#endif
}

inline txn_undo() {
	if
	:: A.undo_used -> d_step { copy_device(A.dev, A.undo) }
	:: else
	fi;
	A.word = IDLE
}

/* recover_transaction(), recover_announce() */
inline take_over() {
	if
	:: A.word == ACTIVE -> txn_undo()
	:: A.word == COMMITTED -> reveal(); A.word = IDLE
	:: else
	fi;
	link[me].committed = A.acked;
	assert(A.event_seq >= applied);			/* check_progress() would refuse the machine */
	assert(A.acked <= last);
	link[me].shadow = A.dev.reg;			/* the devices are made: init() */
	A.event_seq++;
	events[me]!A.event_seq, A.dev.line;		/* announce_lines() */
}

/* machine_go() */
inline machine_go() {
	live = 1;
#ifndef IO_FORGOTTEN
	started = A.dev.busy
#endif
}

/* A worker of this process, which dies with it. */
#define WORKER started && !ended -> d_step { file = A.dev.data; ended = 1 }

active [2] proctype daemon() {
	bit live, started, ended;
end_unborn:
	do
	:: alive[me] ->
		{
			take_over();
			ready[me] = 1;
end_ready:		go[me];				/* may_go() */
			machine_go();
end_loop:		do				/* loop_run() */
			:: link[me].first <= link[me].last ->	/* fill() */
				if
#ifndef NO_ACK_CHECK
				:: link[me].first <= A.acked ->		/* done_before() */
					if
					:: KIND(link[me].first) != WRITE -> comps[me]!link[me].first, 0, A.event_seq	/* answer_again(); nobody is to need it */
					:: else
					fi;
					link[me].first++
#endif
				:: else ->
#ifdef RING_INDEX
					link[me].first++;
					serve(link[me].first - 1)
#else
					serve(link[me].first);
					link[me].first++	/* link_release_req() */
#endif
				fi
			:: WORKER
			:: ended -> io_ended()
			:: hold && !held && me == at ->		/* hold() */
				d_step { held = 1; busy = started && !ended };
end_held:			do
				:: !hold -> break
				:: WORKER
				od
			od
		} unless { killed[me] };
		/* its pidfd is readable */
		d_step {
#ifdef EARLY_START
			if
			:: started && !ended -> late = A.dev.data
			:: else
			fi;
#endif
			killed[me] = 0; ready[me] = 0; go[me] = 0; alive[me] = 0; live = 0; started = 0; ended = 0
		}
	od
}

#if defined(EARLY_START) || defined(BUSY_LEFT)
active proctype late_worker() {
end_worker:
	do
	:: late -> d_step { file = late; late = 0 }
	od
}
#endif

/* kill -9; and the engine's own, of one that it has given up before (link_client_lost()). */
active proctype killer() {
end_killer:
	do
	:: d_step { alive[0] && !killed[0] && kills < KILLS -> killed[0] = 1; kills++ }
	:: d_step { alive[1] && !killed[1] && kills < KILLS -> killed[1] = 1; kills++ }
	:: atomic { alive[at] && !killed[at] && !lost && !held && kills < KILLS -> lost = 1; kills++ };
		killed[at] = 1
	od
}

/* ---- the engine */

/* take_event(), under drain_lock: `applied` last, for vCPUs read it without the lock */
inline take_event(l) {
	d_step {
		events[l]?number, value;
		if
		:: number <= applied -> number = 0
		:: else -> assert(number == applied + 1); level = value
		fi;
		value = 0
	};
	d_step {
		if
		:: number -> applied = number; number = 0
		:: else
		fi
	}
}

/* drain() */
inline drain() {
	d_step { !drain_lock -> drain_lock = 1 };
	do
	:: nempty(events[at]) -> take_event(at)
	:: empty(events[at]) -> break
	od;
	drain_lock = 0
}

/* link_client_on_event() in its thread */
active proctype drainer() {
	byte number, value;
end_drainer:
	do
	:: d_step { !drain_lock && !lost && nempty(events[at]) -> drain_lock = 1 };
		take_event(at);
		drain_lock = 0
	od
}

inline clear_link(l) {
	link[l].first = 1; link[l].last = 0; link[l].committed = 0; link[l].shadow = 0
}

/* link_client_open_beside(): a link for the successor; what the last one published has happened */
inline open_link() {
	!alive[1 - at];				/* this place is used again, links and arenas are not */
	d_step {
		do
		:: nempty(comps[1 - at]) -> comps[1 - at]?number, value, names
		:: nempty(events[1 - at]) -> events[1 - at]?number, value
		:: empty(comps[1 - at]) && empty(events[1 - at]) -> break
		od;
		clear_link(1 - at);
		number = 0; value = 0; names = 0
	};
#ifndef NO_DRAIN
	drain()
#endif
}

/* copy_arena() */
inline copy_arena(to, from) {
	to.word = from.word; to.request = from.request; to.seq = from.seq; to.undo_used = from.undo_used;
	copy_device(to.undo, from.undo); copy_device(to.dev, from.dev);
	to.acked = from.acked; to.event_seq = from.event_seq;
	to.base = from.base; to.value = from.value; to.shadow = from.shadow; to.nevents = from.nevents;
	to.level = from.level; to.completes = from.completes; to.shadows = from.shadows; to.ios = from.ios
}

/* salvage() and pass_posted(): the vCPU is parked, the daemon has been reaped */
inline salvage() {
	do
	:: nempty(comps[at]) ->
		comps[at]?number, value, names;
		if
		:: number > committed && number <= last && names <= applied ->
			committed = number;
			saved_seq = number; saved_value = value; has_saved = number == last
		:: else
		fi
	:: empty(comps[at]) -> break
	od;
	do
	:: committed < last && committed < link[at].committed && KIND(committed + 1) == WRITE -> committed++
	:: else -> break
	od;
	number = 0; value = 0; names = 0
}

/* replace_link() and post_again(); the successor waits for `go` */
inline accept_link() {
	d_step {
		!drain_lock ->
#ifdef NO_SALVAGE
		do
		:: nempty(comps[at]) -> comps[at]?number, value, names
		:: empty(comps[at]) -> break
		od;
		number = 0; value = 0; names = 0;
#else
		salvage();
#endif
		do
		:: nempty(events[at]) -> events[at]?number, value
		:: empty(events[at]) -> break
		od;
		number = 0; value = 0;
#ifdef RING_INDEX
		committed = (link[at].first - 1 > committed -> link[at].first - 1 : committed);
#endif
		at = 1 - at
	};
	lost = 0;
	drain();
	d_step { link[at].first = committed + 1; link[at].last = last }
}

inline start() {
	d_step {
#ifndef ONE_ARENA
		copy_arena(arena[1 - at], arena[arena_at]);
#endif
		alive[1 - at] = 1
	}
}

/* take_over(), accept_it(): the arena with the link, whether the successor is still there to hear of it or not */
inline accept() {
	park = 1;					/* vm_hold() */
	parked;
	accept_link();
#ifdef ARENA_LATE
	d_step {
		if
		:: alive[at] && !killed[at] -> arena_at = at; go[at] = 1
		:: else
		fi
	};
#elif defined(ONE_ARENA)
	d_step { go[at] = alive[at] };
#else
	d_step {
		arena_at = at; go[at] = alive[at];
		copy_arena(arena[1 - at], nobodys); clear_link(1 - at)	/* spares spin states that differ in nothing else */
	};
#endif
	park = 0					/* vm_release() */
}

/* hand_over(): from one that holds, and goes on if it comes to nothing */
inline hand_over() {
	hold = 1;
	if
	:: !alive[at] -> hold = 0			/* on_ended() */
	:: held ->
		open_link();
		start();
		if
		:: !alive[1 - at]			/* stay() */
		:: ready[1 - at] ->
			/* replace(): dismissed; it has to be gone if it was busy */
			d_step {
				killed[at] = alive[at]; hold = 0; held = 0;
#ifdef BUSY_LEFT
				late = (busy -> arena[at].dev.data : 0)
#endif
			};
#ifndef BUSY_LEFT
			!busy || !alive[at];
#endif
			accept()
		fi;
		d_step { hold = 0; held = 0; busy = 0 }
	fi
}

/* supervise.c: start_successor(), on_ready() */
active proctype supervisor() {
	byte number, value, names;
end_supervisor:
	do
	:: !alive[at] ->
		lost = 1;
		open_link();
		start();
		if
		:: !alive[1 - at]			/* on_ended() while it starts: the next from the same arena */
		:: ready[1 - at] -> accept()
		fi
	:: alive[at] && go[at] && upgrades < UPGRADES -> upgrades++; hand_over()
	od
}

/* ---- the vCPU */

/* at_gate() */
inline stand() {
	parked = 1;
	d_step { !park -> parked = 0 }
}

/* link_client_send(): the account of posted writes before the post */
inline send() {
	do
	:: park -> stand()
	:: !lost -> break
	od;
	last++;
	if
	:: KIND(last) == WRITE -> posted = last
	:: else
	fi;
	link[at].last = last
}

/* link_client_receive(), in inout_wait() */
inline receive() {
	do
	:: park -> stand()
	:: !lost && has_saved -> d_step { assert(saved_seq == last && saved_value); has_saved = 0; value = saved_value; saved_value = 0; saved_seq = 0 }; break
	:: !lost && !has_saved && nempty(comps[at]) ->
		comps[at]?number, value, names;
		if
		:: number < last -> number = 0; value = 0; names = 0	/* LINK_STALE */
		:: else ->
			assert(number == last && value);
			number = 0;
			/* finish() */
			if
			:: names > applied ->
#ifdef ANSWER_DROPPED
				if
				:: lost -> value = 0; names = 0; goto again
				:: !lost
				fi;
#endif
				drain()
			:: else
			fi;
			d_step { assert(names <= applied); names = 0; committed = last };
			break
		fi;
#ifdef ANSWER_DROPPED
again:		skip
#endif
	od
}

/* link_client_shadow(): not while a posted write is on its way */
inline read_shadow(expected) {
	if
#ifdef SHADOW_TRUSTED
	:: d_step { !lost -> assert(link[at].shadow == expected) }
#else
	:: d_step { !lost && posted <= link[at].committed -> assert(link[at].shadow == expected) }
#endif
	:: skip						/* lost, or on its way: a request like any other */
	fi
}

inline wait_line() {
	do
	:: park -> stand()
	:: level -> break
	od
}

active proctype vcpu() {
	byte number, value, names;
	if
	:: program = 0;
		send(); read_shadow(1);
		send(); read_shadow(2);
		send(); receive();
		assert(value == 3); value = 0;
		send(); receive();
		assert(value == 4)
	:: program = 1;
		send(); receive();
		wait_line();
		assert(file == 1);
		send(); receive();
		assert(!level);
		send(); receive();
		wait_line();
		assert(file == 3)
	fi;
	value = 0;
end_vcpu:
	do
	:: park -> stand()
	od
}
