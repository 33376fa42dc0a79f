/*
 * vmm/bus.h - who answers at a port or a guest-physical address.
 *
 * Two kinds of owner: a handler in the engine (an in-engine device) and a
 * region that the device model announced (LINK_EV_REGION).  In-engine handlers
 * win where both claim.  What nobody claims reads all ones and ignores writes.
 *
 * Lookup is lock-free for vCPU threads: ports through a 65536-entry table of
 * owner numbers, MMIO through a sorted array that is replaced, never changed,
 * under vm->dev_lock.  (Readers see either the old or the new one: an old
 * array is kept until every vCPU has passed an instruction boundary.)
 */
#ifndef CLEAVE_VMM_BUS_H
#define CLEAVE_VMM_BUS_H

#include <stdbool.h>
#include <stdint.h>

struct vm;

/* An in-engine device's handler.  Called on the vCPU's thread with vm->dev_lock held.  `off` is from `base`. */
struct bus_handler {
	const char *name;
	uint64_t base;
	uint32_t len;
	bool mmio;
	uint64_t (*read)(void *dev, uint64_t off, unsigned size);
	void (*write)(void *dev, uint64_t off, unsigned size, uint64_t value);
	void *dev;
};

/* A region of the device model. */
struct bus_region {
	uint64_t base, len;
	uint32_t flags;		/* enum link_region_flags */
	uint32_t shadow;	/* first shadow word, or LINK_NO_SHADOW */
	uint16_t id;		/* as in struct link_req */
	uint16_t dev;		/* device id: posted writes are counted by it */
};

struct bus_owner {		/* the answer to a lookup: at most one is set */
	const struct bus_handler *handler;
	const struct bus_region *region;
};

struct bus *bus_new(void);
void bus_free(struct bus *);
int bus_add_handler(struct bus *, const struct bus_handler *);	/* copied; -EEXIST where another handler is */
void bus_remove_handler(struct bus *, const char *name);
int bus_set_region(struct bus *, const struct bus_region *);	/* replaces the region of that id; len 0 removes */
void bus_drop_regions(struct bus *);				/* the device model is gone */

/* An access that only partly lies in an owner's range belongs to nobody; byte lanes are not split here. */
struct bus_owner bus_find_port(const struct bus *, uint16_t port, unsigned size);
struct bus_owner bus_find_mmio(const struct bus *, uint64_t gpa, unsigned size);

#endif
