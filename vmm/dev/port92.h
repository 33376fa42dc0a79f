/*
 * vmm/dev/port92.h - system control port A: the A20 gate and fast reset; and
 * what it shares with the keyboard controller, the A20 line itself.
 *
 *      port 92h bit 1 ---\
 *                         OR --> A20 of the processor
 *      8042 output P21 --/
 *
 * Thread: any, with vm->dev_lock held.
 */
#ifndef CLEAVE_VMM_DEV_PORT92_H
#define CLEAVE_VMM_DEV_PORT92_H

#include <stdbool.h>
#include <stdint.h>

struct port92_wires {		/* closures */
	void (*a20)(void *arg, bool on);	/* the line changed; it starts high */
	void (*reset)(void *arg);
	void *arg;
};

struct port92 *port92_new(const struct port92_wires *);	/* NULL: no memory */
void port92_free(struct port92 *);
/* Power-on: port bits 0 and the 8042's output high, as before its firmware has run: the line is high. */
void port92_reset(struct port92 *);
uint8_t port92_read(const struct port92 *);
void port92_write(struct port92 *, uint8_t value);
void port92_kbc_a20(struct port92 *, bool on);		/* LINK_EV_A20 */

#endif
