/*
 * ipc/barrier.h - the one home of atomics and fences on shared memory.
 *
 * The words in link.h are plain integers; these are the only ways to touch one
 * that the other side may touch too.  Each use names its partner:
 *
 *   store_release(w)  pairs with  load_acquire(w): what was written before the
 *                     store is seen after the load;
 *   fence_full()      pairs with  another fence_full(): of "I wrote the entry,
 *                     do you sleep?" and "I sleep, is there an entry?" at least
 *                     one side sees the other's store;
 *   load_relaxed/store_relaxed: the value only, no order.
 *
 * x86-64: the acquire and release forms are plain moves; only fence_full() and
 * the read-modify-writes cost something.
 */
#ifndef CLEAVE_IPC_BARRIER_H
#define CLEAVE_IPC_BARRIER_H

#include <stdint.h>
#include <string.h>

#define load_relaxed(p)		__atomic_load_n((p), __ATOMIC_RELAXED)
#define load_acquire(p)		__atomic_load_n((p), __ATOMIC_ACQUIRE)
#define store_relaxed(p, v)	__atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define store_release(p, v)	__atomic_store_n((p), (v), __ATOMIC_RELEASE)

/* Full fences by themselves, as every locked instruction is. */
#define fetch_add(p, v)		__atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST)
#define exchange(p, v)		__atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)

/* Store-load order.  A locked add below the stack is faster than MFENCE, and ThreadSanitizer takes it. */
static inline void fence_full(void)
{
	__asm__ volatile("lock addl $0, -4(%%rsp)" ::: "memory", "cc");
}

/* The compiler alone: x86 keeps stores in order, and a killed process loses none that it made. */
static inline void fence_compiler(void)
{
	__asm__ volatile("" ::: "memory");
}

static inline void cpu_relax(void)
{
	__builtin_ia32_pause();
}

/*
 * Copies one 64-byte slot out of memory that the other side can still write:
 * each word is read exactly once, so what is checked is what is used.
 */
static inline void copy_line_once(void *to, const void *from)
{
	const volatile uint64_t *f = from;
	uint64_t w[8];

	for (int i = 0; i < 8; i++)
		w[i] = f[i];
	memcpy(to, w, sizeof(w));
}

/* Any length: the compiler may not read `from` again after this. */
static inline void copy_once(void *to, const void *from, size_t n)
{
	memcpy(to, from, n);
	fence_compiler();
}

#endif
