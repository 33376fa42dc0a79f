/*
 * vmm/bus.c - the tables of who answers where.
 *
 * Owns the owners and the two lookup tables made from them.  Knows neither
 * devices nor the link; must not call a handler.
 *
 * An owner's number: 0 nobody, 1..BUS_HANDLERS a handler, above that a region.
 * A change edits the owners, cuts the address space at every owner's ends,
 * gives each piece to the best owner that covers it, and stores the pieces:
 * MMIO as they are, ports painted into the table.
 */
#include "vmm/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/link.h"

enum {
	PORTS = 0x10000,
	OWNERS = 1 + BUS_HANDLERS + BUS_REGIONS,
	PIECES = 2 * OWNERS,
};

struct piece {
	uint64_t first, last;
	uint32_t owner;
};

struct bus {
	uint32_t gen;				/* odd while a change is made */
	uint32_t npieces;
	struct bus_handler handler[BUS_HANDLERS];	/* len 0: free */
	struct bus_region region[BUS_REGIONS];		/* len 0: free */
	struct piece piece[PIECES];		/* MMIO */
	uint16_t port[PORTS];
	/* the writer's own */
	unsigned nactive;
	uint32_t active[OWNERS];		/* owners in the space being rebuilt, by number */
	struct piece scratch[PIECES];
	uint64_t cut[PIECES];
};

_Static_assert(OWNERS <= UINT16_MAX, "an owner's number fits the port table");

/*
 * Everything that a lookup reads while it may be changed.  A lookup that saw a
 * STORE of a change sees (LOAD acquires what STORE released) that change's
 * change_begin() too, so read_retry() notices.
 */
#define LOAD(x) __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define STORE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELEASE)

struct bus *bus_new(void)
{
	return calloc(1, sizeof(struct bus));
}

void bus_free(struct bus *bus)
{
	free(bus);
}

/* The writer's half of the sequence count; its partners are read_begin() and read_retry(). */
static void change_begin(struct bus *bus)
{
	STORE(bus->gen, bus->gen + 1);
}

static void change_end(struct bus *bus)
{
	STORE(bus->gen, bus->gen + 1);
}

static uint32_t read_begin(const struct bus *bus)
{
	uint32_t gen;

	while ((gen = LOAD(bus->gen)) & 1)
		__builtin_ia32_pause();
	return gen;
}

static bool read_retry(const struct bus *bus, uint32_t gen)
{
	return LOAD(bus->gen) != gen;
}

uint32_t bus_gen(const struct bus *bus)
{
	return LOAD(bus->gen);
}

/* ---- owners */

struct range {
	uint64_t first, last;
};

static bool owner_range(const struct bus *bus, uint32_t owner, bool mmio, struct range *r)
{
	uint64_t base, len;
	bool is_mmio;

	if (owner == 0 || owner >= OWNERS)
		return false;
	if (owner <= BUS_HANDLERS) {
		const struct bus_handler *h = &bus->handler[owner - 1];

		base = h->base, len = h->len, is_mmio = h->mmio;
	} else {
		const struct bus_region *g = &bus->region[owner - 1 - BUS_HANDLERS];

		base = g->base, len = g->len, is_mmio = g->flags & LINK_RGN_MMIO;
	}
	if (!len || is_mmio != mmio)
		return false;
	*r = (struct range){ base, base + len - 1 };
	return true;
}

static bool range_valid(uint64_t base, uint64_t len, bool mmio)
{
	return len && base + (len - 1) >= base && (mmio || base + (len - 1) < PORTS);
}

static void list_active(struct bus *bus, bool mmio)
{
	struct range r;

	bus->nactive = 0;
	for (uint32_t o = 1; o < OWNERS; o++)
		if (owner_range(bus, o, mmio, &r))
			bus->active[bus->nactive++] = o;
}

/* The best owner of an address: a handler, else the shortest region, else the lowest number. */
static uint32_t best_owner(const struct bus *bus, uint64_t addr, bool mmio)
{
	uint64_t best_span = 0;
	uint32_t best = 0;

	for (unsigned i = 0; i < bus->nactive; i++) {
		uint32_t o = bus->active[i];
		struct range r;

		if (!owner_range(bus, o, mmio, &r) || addr < r.first || addr > r.last)
			continue;
		if (o <= BUS_HANDLERS)
			return o;
		if (!best || r.last - r.first < best_span) {
			best = o;
			best_span = r.last - r.first;
		}
	}
	return best;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Cuts the space at every owner's ends: the first address of each piece, sorted, each once. */
static unsigned cut_space(struct bus *bus, bool mmio)
{
	unsigned n = 0, m = 0;

	for (unsigned i = 0; i < bus->nactive; i++) {
		struct range r;

		if (!owner_range(bus, bus->active[i], mmio, &r))
			continue;
		bus->cut[n++] = r.first;
		if (r.last != UINT64_MAX)
			bus->cut[n++] = r.last + 1;
	}
	qsort(bus->cut, n, sizeof(bus->cut[0]), by_value);
	for (unsigned i = 0; i < n; i++)
		if (!m || bus->cut[m - 1] != bus->cut[i])
			bus->cut[m++] = bus->cut[i];
	return m;
}

/* The owned pieces of the space, in scratch, neighbours of one owner joined. */
static unsigned make_pieces(struct bus *bus, bool mmio)
{
	unsigned ncuts = cut_space(bus, mmio), n = 0;

	for (unsigned i = 0; i < ncuts; i++) {
		uint64_t first = bus->cut[i];
		uint64_t last = i + 1 < ncuts ? bus->cut[i + 1] - 1 : UINT64_MAX;
		uint32_t owner = best_owner(bus, first, mmio);

		if (!owner)
			continue;
		if (n && bus->scratch[n - 1].owner == owner && bus->scratch[n - 1].last + 1 == first)
			bus->scratch[n - 1].last = last;
		else
			bus->scratch[n++] = (struct piece){ first, last, owner };
	}
	return n;
}

static void store_mmio(struct bus *bus, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		STORE(bus->piece[i].first, bus->scratch[i].first);
		STORE(bus->piece[i].last, bus->scratch[i].last);
		STORE(bus->piece[i].owner, bus->scratch[i].owner);
	}
	STORE(bus->npieces, n);
}

/* Only ports inside `r` may have changed hands. */
static void store_ports(struct bus *bus, unsigned n, struct range r)
{
	uint64_t port = r.first;

	for (unsigned i = 0; i < n && port <= r.last; i++) {
		const struct piece *p = &bus->scratch[i];

		for (; port < p->first && port <= r.last; port++)
			STORE(bus->port[port], 0);
		for (; port <= p->last && port <= r.last; port++)
			STORE(bus->port[port], (uint16_t)p->owner);
	}
	for (; port <= r.last; port++)
		STORE(bus->port[port], 0);
}

static void rebuild(struct bus *bus, bool mmio, struct range r)
{
	unsigned n;

	list_active(bus, mmio);
	n = make_pieces(bus, mmio);
	if (mmio)
		store_mmio(bus, n);
	else
		store_ports(bus, n, r);
}

/* ---- changes */

/* Lookups read base and len alone; the rest is read under dev_lock. */
static void handler_store(struct bus_handler *to, const struct bus_handler *from)
{
	STORE(to->base, from->base);
	STORE(to->len, from->len);
	to->name = from->name;
	to->mmio = from->mmio;
	to->read = from->read;
	to->write = from->write;
	to->dev = from->dev;
}

int bus_add_handler(struct bus *bus, const struct bus_handler *h)
{
	unsigned slot = BUS_HANDLERS;

	if (!range_valid(h->base, h->len, h->mmio))
		return -EINVAL;
	for (unsigned i = BUS_HANDLERS; i-- > 0;) {
		const struct bus_handler *o = &bus->handler[i];

		if (!o->len)
			slot = i;
		else if (o->mmio == h->mmio && h->base <= o->base + (o->len - 1) && o->base <= h->base + (h->len - 1))
			return -EEXIST;
	}
	if (slot == BUS_HANDLERS)
		return -ENOSPC;
	change_begin(bus);
	handler_store(&bus->handler[slot], h);
	rebuild(bus, h->mmio, (struct range){ h->base, h->base + (h->len - 1) });
	change_end(bus);
	return 0;
}

void bus_remove_handler(struct bus *bus, const char *name)
{
	for (unsigned i = 0; i < BUS_HANDLERS; i++) {
		struct bus_handler *h = &bus->handler[i];
		struct range r = { h->base, h->base + (h->len - 1) };

		if (!h->len || strcmp(h->name, name))
			continue;
		change_begin(bus);
		STORE(h->len, 0);
		rebuild(bus, h->mmio, r);
		change_end(bus);
	}
}

static void region_store(struct bus_region *to, const struct bus_region *from)
{
	STORE(to->base, from->base);
	STORE(to->len, from->len);
	STORE(to->flags, from->flags);
	STORE(to->shadow, from->shadow);
	STORE(to->id, from->id);
	STORE(to->dev, from->dev);
}

static struct bus_region region_load(const struct bus_region *g)
{
	return (struct bus_region){
		.base = LOAD(g->base), .len = LOAD(g->len), .flags = LOAD(g->flags),
		.shadow = LOAD(g->shadow), .id = LOAD(g->id), .dev = LOAD(g->dev),
	};
}

static bool region_valid(const struct bus_region *g)
{
	if (!range_valid(g->base, g->len, g->flags & LINK_RGN_MMIO))
		return false;
	if (!(g->flags & LINK_RGN_SHADOW))
		return true;
	return g->len <= LINK_SHADOWS && g->shadow <= LINK_SHADOWS - g->len;
}

int bus_set_region(struct bus *bus, const struct bus_region *g)
{
	struct bus_region *slot, old;

	if (g->id >= BUS_REGIONS || (g->len && !region_valid(g)))
		return -EINVAL;
	slot = &bus->region[g->id];
	old = *slot;
	change_begin(bus);
	region_store(slot, g);
	if (old.len)
		rebuild(bus, old.flags & LINK_RGN_MMIO, (struct range){ old.base, old.base + (old.len - 1) });
	if (g->len)
		rebuild(bus, g->flags & LINK_RGN_MMIO, (struct range){ g->base, g->base + (g->len - 1) });
	change_end(bus);
	return 0;
}

void bus_drop_regions(struct bus *bus)
{
	static const struct bus_region none;

	change_begin(bus);
	for (unsigned i = 0; i < BUS_REGIONS; i++)
		if (bus->region[i].len)
			region_store(&bus->region[i], &none);
	rebuild(bus, false, (struct range){ 0, PORTS - 1 });
	rebuild(bus, true, (struct range){ 0, UINT64_MAX });
	change_end(bus);
}

/* ---- lookup */

static bool covers(uint64_t base, uint64_t len, uint64_t addr, unsigned size)
{
	return addr >= base && addr - base < len && len - (addr - base) >= size;
}

/* The owner by its number, if it covers all of the access. */
static struct bus_owner owner_of(const struct bus *bus, uint32_t owner, uint64_t addr, unsigned size)
{
	struct bus_owner o = { 0 };

	if (owner == 0 || owner >= OWNERS)
		return o;
	if (owner <= BUS_HANDLERS) {
		const struct bus_handler *h = &bus->handler[owner - 1];

		if (covers(LOAD(h->base), LOAD(h->len), addr, size))
			o.handler = h;
	} else {
		o.region = region_load(&bus->region[owner - 1 - BUS_HANDLERS]);
		if (!covers(o.region.base, o.region.len, addr, size))
			o.region = (struct bus_region){ 0 };
	}
	return o;
}

struct bus_owner bus_find_port(const struct bus *bus, uint16_t port, unsigned size)
{
	struct bus_owner o;
	uint32_t gen;

	do {
		gen = read_begin(bus);
		o = owner_of(bus, LOAD(bus->port[port]), port, size);
	} while (read_retry(bus, gen));
	return o;
}

/* The piece that holds `gpa`, or 0.  Bounded whatever a concurrent change does. */
static uint32_t piece_owner(const struct bus *bus, uint64_t gpa)
{
	uint32_t lo = 0, hi = LOAD(bus->npieces);

	if (hi > PIECES)
		return 0;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (gpa > LOAD(bus->piece[mid].last))
			lo = mid + 1;
		else if (gpa < LOAD(bus->piece[mid].first))
			hi = mid;
		else
			return LOAD(bus->piece[mid].owner);
	}
	return 0;
}

struct bus_owner bus_find_mmio(const struct bus *bus, uint64_t gpa, unsigned size)
{
	struct bus_owner o;
	uint32_t gen;

	do {
		gen = read_begin(bus);
		o = owner_of(bus, piece_owner(bus, gpa), gpa, size);
	} while (read_retry(bus, gen));
	return o;
}

bool bus_check(struct bus *bus)
{
	list_active(bus, true);
	for (unsigned i = 0; i < bus->npieces; i++) {
		const struct piece *p = &bus->piece[i];

		if (p->first > p->last || (i && p->first <= p[-1].last))
			return false;
		if (best_owner(bus, p->first, true) != p->owner || best_owner(bus, p->last, true) != p->owner)
			return false;
	}
	list_active(bus, false);
	for (uint32_t port = 0; port < PORTS; port++)
		if (best_owner(bus, port, false) != bus->port[port])
			return false;
	return !(bus->gen & 1);
}
