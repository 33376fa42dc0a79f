/*
 * vmm/dev/pic.h - the PC's pair of 8259A interrupt controllers with the ELCR.
 *
 *      IR0-IR7   -> master --> INTR of the boot processor
 *      IR8-IR15  -> slave  --> master's IR2
 *
 * Thread: any, with vm->dev_lock held.
 */
#ifndef CLEAVE_VMM_DEV_PIC_H
#define CLEAVE_VMM_DEV_PIC_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/dev/line.h"

struct pic;

enum { PIC_LINES = 16 };

/* `intr` hears of every change of the INTR output, which starts low. NULL: no memory. */
struct pic *pic_new(void (*intr)(void *arg, bool level), void *arg);
void pic_free(struct pic *);
void pic_reset(struct pic *);		/* power-on state; the lines keep their levels */

/* The level of line 0-15; 2 is the cascade and is ignored. */
void pic_set_line(struct pic *, unsigned line, bool level);
/* The INTA cycles: the vector. Without a request it is the controller's level 7, with no bit in service. */
uint8_t pic_acknowledge(struct pic *);

bool pic_output(const struct pic *);	/* INTR */

/* Ports 20h, 21h, A0h, A1h and 4D0h, 4D1h. */
uint8_t pic_read(struct pic *, uint16_t port);
void pic_write(struct pic *, uint16_t port, uint8_t value);

/*
 * For timers that would raise a line over and over.  pending: the request is
 * latched, another edge changes nothing.  masked: no edge can interrupt now,
 * the cascade included.  The watcher is called after every write that may have
 * changed either (not after an EOI); it may set lines.
 */
bool pic_pending(const struct pic *, unsigned line);
bool pic_masked(const struct pic *, unsigned line);
void pic_watch(struct pic *, void (*changed)(void *arg), void *arg);

/* A line that reaches these controllers and no other. */
struct irq_line pic_line(struct pic *, unsigned line);

#endif
