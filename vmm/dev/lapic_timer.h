/*
 * vmm/dev/lapic_timer.h - the local APIC's timer: one-shot, periodic, TSC deadline.
 *
 *      LAPIC_TIMER_HZ -> divide by 1..128 -> 32-bit down counter -> expired()
 *      guest TSC >= IA32_TSC_DEADLINE ---------------------------> expired()
 *
 * Counts are computed when somebody looks.  A host timer is set only while an
 * expiry could be seen: not while the LVT entry is masked, nor, in periodic
 * mode, while the last one is still unserviced.
 *
 * Thread: any, with vm->dev_lock held.
 */
#ifndef CLEAVE_VMM_DEV_LAPIC_TIMER_H
#define CLEAVE_VMM_DEV_LAPIC_TIMER_H

#include <stdbool.h>
#include <stdint.h>

struct timers;
struct timer;

/*
 * The core crystal clock, which CPUID leaf 15h must name too: Linux takes the
 * timer's rate from there.  A tick is a whole number of nanoseconds.
 */
#define LAPIC_TIMER_HZ		25000000u
#define LAPIC_TIMER_TICK	(1000000000u / LAPIC_TIMER_HZ)

/* As LVT bits 18-17 have them; 3 is reserved and acts as none. */
enum lapic_timer_mode { LAPIC_ONE_SHOT, LAPIC_PERIODIC, LAPIC_TSC_DEADLINE, LAPIC_TIMER_OFF };

struct lapic_timer_wires {
	void (*expired)(void *arg);	/* never while masked */
	bool (*waits)(void *arg);	/* the vector of the last expiry is still requested: another changes nothing */
	void *arg;
};

struct lapic_timer {
	struct timers *timers;
	struct timer *timer;
	struct lapic_timer_wires wires;
	uint64_t (*tsc_hz)(void);

	enum lapic_timer_mode mode;
	bool masked;
	uint8_t divide;			/* the register */
	bool running;
	uint32_t initial;
	uint64_t start, done;		/* at time `start` `done` ticks of this count were over */
	uint64_t shown;			/* when it last expired */
	uint64_t deadline;		/* TSC; 0: disarmed */
	uint64_t deadline_ns;		/* the same on the VM's clock */
};

/* tsc_hz says the guest's TSC rate, once somebody needs it.  False: no memory. */
bool lapic_timer_init(struct lapic_timer *, struct timers *, uint64_t (*tsc_hz)(void), const struct lapic_timer_wires *);
void lapic_timer_fini(struct lapic_timer *);
void lapic_timer_reset(struct lapic_timer *);		/* one-shot, masked, stopped, divide by 2 */

void lapic_timer_set_lvt(struct lapic_timer *, enum lapic_timer_mode, bool masked);
void lapic_timer_set_divide(struct lapic_timer *, uint8_t reg);
void lapic_timer_set_count(struct lapic_timer *, uint32_t count);	/* 0 stops it */
uint32_t lapic_timer_initial(const struct lapic_timer *);
uint32_t lapic_timer_current(const struct lapic_timer *);

/* IA32_TSC_DEADLINE; 0 disarms, ignored in other modes. `now` is the guest's TSC. */
void lapic_timer_set_deadline(struct lapic_timer *, uint64_t tsc, uint64_t now);
uint64_t lapic_timer_deadline(struct lapic_timer *);
void lapic_timer_tsc_moved(struct lapic_timer *, uint64_t now);	/* the guest set its TSC */

/* The vector of the last expiry has been taken. */
void lapic_timer_taken(struct lapic_timer *);

#endif
