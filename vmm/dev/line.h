/*
 * vmm/dev/line.h - an interrupt line, as a timer at its end sees it.
 *
 * A line may reach several controllers; the timer need not know which.  A timer
 * that would raise its line over and over asks what another edge would change,
 * so that a guest that does not look costs no wake-ups.
 *
 * Thread: any, with vm->dev_lock held.
 */
#ifndef CLEAVE_VMM_DEV_LINE_H
#define CLEAVE_VMM_DEV_LINE_H

#include <stdbool.h>

struct line_ops {
	void (*set)(void *arg, unsigned number, bool level);
	/* Another edge changes nothing in any controller that could now interrupt for it; if none could: in any at all. */
	bool (*pending)(void *arg, unsigned number);
	/* No edge can interrupt now. */
	bool (*masked)(void *arg, unsigned number);
};

struct irq_line {
	const struct line_ops *ops;
	void *arg;
	unsigned number;
};

static inline void line_set(const struct irq_line *l, bool level)
{
	l->ops->set(l->arg, l->number, level);
}

static inline bool line_pending(const struct irq_line *l)
{
	return l->ops->pending(l->arg, l->number);
}

static inline bool line_masked(const struct irq_line *l)
{
	return l->ops->masked(l->arg, l->number);
}

#endif
