/*
 * vmm/bus.h - who answers at a port or a guest-physical address.
 *
 * Two kinds of owner: a handler in the engine (an in-engine device) and a
 * region that the device model announced (LINK_EV_REGION).  In-engine handlers
 * win where both claim; of two regions the shorter one wins, so that CF9h can
 * stand inside CF8h-CFFh (of equal ones the lower id).  What nobody claims
 * reads all ones and ignores writes.
 *
 * Lookup takes no lock: ports through a 65536-entry table of owner numbers,
 * MMIO through a sorted array of ranges that do not overlap.  Changes are made
 * with vm->dev_lock held and bracketed by a sequence count; a lookup that met
 * a change is made again.  An owner is handed out as a copy (region) or as a
 * pointer that lives as long as the bus (handler), so nothing dangles.  Before
 * a handler is called dev_lock is taken, and bus_gen() compared: a handler that
 * was removed meanwhile is not called.
 */
#ifndef CLEAVE_VMM_BUS_H
#define CLEAVE_VMM_BUS_H

#include <stdbool.h>
#include <stdint.h>

struct vm;

enum { BUS_HANDLERS = 64, BUS_REGIONS = 1024 };

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
	uint16_t id;		/* as in struct link_req; < BUS_REGIONS */
	uint16_t dev;		/* device id: posted writes are counted by it */
};

struct bus_owner {		/* the answer to a lookup: a handler, or a region of len > 0, or neither */
	const struct bus_handler *handler;
	struct bus_region region;
};

struct bus *bus_new(void);	/* NULL: no memory */
void bus_free(struct bus *);

/* Changes: vm->dev_lock held. */
/* Copied; the name is kept by reference.  -EEXIST where another handler is, -EINVAL for no range, -ENOSPC. */
int bus_add_handler(struct bus *, const struct bus_handler *);
void bus_remove_handler(struct bus *, const char *name);	/* every handler of that name */
/* Replaces the region of that id; len 0 removes it.  -EINVAL: a range, id or shadow word that cannot be. */
int bus_set_region(struct bus *, const struct bus_region *);
void bus_drop_regions(struct bus *);				/* the device model is gone */

/*
 * Any thread.  An access that only partly lies in an owner's range belongs to
 * nobody; byte lanes are not split here.
 */
struct bus_owner bus_find_port(const struct bus *, uint16_t port, unsigned size);
struct bus_owner bus_find_mmio(const struct bus *, uint64_t gpa, unsigned size);
uint32_t bus_gen(const struct bus *);	/* moves with every change; stands still under dev_lock */

/* Invariants, for tests: tables agree with the owners, ranges are sorted and disjoint. */
bool bus_check(struct bus *);

#endif
