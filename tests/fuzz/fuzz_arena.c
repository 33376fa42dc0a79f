/*
 * tests/fuzz/fuzz_arena.c - a successor over an arena that somebody has written
 * to: refused with a reason, or repaired and served; never a crash, nor a
 * transaction left open.
 *
 * Input: a program of changes to the arena of a machine that has been at work,
 * then of accesses that its successor serves.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devmodel/dispatch.h"
#include "devmodel/txn.h"
#include "ipc/link_engine.h"
#include "tests/fuzz/program.h"
#include "tests/unit/devharness.h"
#include "tests/unit/virtiotest.h"

enum { MAX_CHANGES = 24, MAX_ACCESSES = 24, RAM = 2 << 20, DISK = 64 * 512 };

static uint8_t disk[DISK];

struct successor {
	struct link engine, daemon;
	struct machine m;
};

static uint64_t clock_of(void *arg)
{
	(void)arg;
	return 2000000000;
}

static void drain(struct link *engine)
{
	struct link_event ev;
	struct link_comp c;

	while (link_take_event(engine, &ev) > 0)
		;
	link_release_events(engine);
	for (unsigned ring = 0; ring < 2; ring++)
		while (link_take_comp(engine, ring, &c) > 0)
			;
}

static bool wait_events(struct machine *m)
{
	drain(&((struct successor *)((char *)m - offsetof(struct successor, m)))->engine);
	return true;
}

/* ---- the arena */

/* Where a change is worth most: somewhere in [*off, *off + *n). */
static void place(const struct machine *m, struct input *in, uint64_t *off, uint64_t *n)
{
	const struct arena_header *a = m->arena;
	const struct arena_dev *d = arena_dev(m->arena, u8(in) % m->ndevs);

	switch (u8(in) % 6) {
	case 0: *off = 0; *n = sizeof(*a); break;
	case 1: *off = offsetof(struct arena_header, word); *n = offsetof(struct arena_header, out.code) - *off; break;
	case 2: *off = (const uint8_t *)d - (const uint8_t *)a; *n = sizeof(*d); break;
	case 3: *off = d->state_off; *n = d->state_size; break;
	case 4: *off = offsetof(struct arena_header, out); *n = sizeof(a->out); break;
	default: *off = a->off_undo; *n = 512; break;
	}
}

static void change(const struct machine *m, uint8_t *arena, struct input *in)
{
	uint64_t off, n, at;
	unsigned size;

	place(m, in, &off, &n);
	at = off + bytes(in, 2) % n;
	size = 1u << (u8(in) & 3);
	for (unsigned i = 0; i < size && at + i < m->arena_bytes; i++)
		arena[at + i] = u8(in);
}

/* Half of them with a transaction under way: such an arena has the most to say. */
static void change_all(const struct machine *m, uint8_t *arena, struct input *in)
{
	struct arena_header *a = (struct arena_header *)arena;
	uint8_t how = u8(in);

	for (unsigned n = how % MAX_CHANGES; n && in->n; n--)
		change(m, arena, in);
	if (how & 0x80)
		a->word = (a->word & ~3ull) | (how >> 5 & 3);
}

/* ---- the successor */

static void open_link(struct successor *s, const struct conf_machine *c)
{
	struct link_params params = { .nvcpus = 1, .code_pages = machine_ram_end(c->ram_bytes) / LINK_PAGE, .generation = c->generation };
	char err[LINK_ERR];
	int fd[LINK_FDS];

	if (link_create(&s->engine, &params, err))
		abort();
	for (unsigned i = 0; i < LINK_FDS; i++)
		fd[i] = dup(s->engine.fd[i]);
	if (link_open(&s->daemon, fd, LINK_F_ALL, err) || link_accept(&s->engine, err))
		abort();
}

static void serve(struct successor *s, uint64_t seq, struct input *in)
{
	static const uint16_t port[] = { 0x60, 0x64, 0x1f0, 0x1f7, 0x3f8, 0x3fd, 0x402, 0x510, 0x511, 0xcf8, 0xcfc, 0x505, 0xcf9, 0x600 };

	for (unsigned n = 0; n < MAX_ACCESSES && in->n && !s->m.lost; n++) {
		uint8_t how = u8(in);
		struct link_req r = { .kind = how & 1 ? LINK_REQ_PIO_IN : LINK_REQ_PIO_OUT, .size = 1, .count = 1, .seq = ++seq,
				      .region = LINK_NO_REGION, .addr = port[u8(in) % (sizeof(port) / sizeof(port[0]))],
				      .value = how & 1 ? 0 : u8(in) };

		if (link_post_req(&s->engine, 0, &r))
			abort();
		while (dispatch_poll(&s->m) > 0)
			;
		machine_timers(&s->m);
		machine_reap(&s->m);
		machine_doorbells(&s->m, true);
		drain(&s->engine);
		if (txn_state(s->m.arena) != TXN_IDLE && !s->m.lost)
			abort();
	}
}

/* `tried`: the copy that another one died over, or NULL. */
static void succeed(struct harness *h, uint8_t *arena, const uint8_t *tried, uint64_t seq, struct input *in)
{
	struct machine *last = harness_machine(h);
	struct successor s = { .m = { .ram = last->ram, .flash = last->flash, .clock = clock_of, .wait_events = wait_events, .quiet = true,
					.tried = (const struct arena_header *)tried } };
	struct conf_machine conf = last->conf;

	conf.fresh = false;
	conf.generation++;
	conf.at_fault = u8(in) & 1;
	conf.asked[0] = seq;
	open_link(&s, &conf);
	s.m.link = &s.daemon;
	if (!machine_init(&s.m, &conf, arena, last->arena_bytes)) {
		if (txn_state(s.m.arena) != TXN_IDLE)
			abort();
		machine_go(&s.m);
		drain(&s.engine);
		serve(&s, seq, in);
	} else if (!s.m.error[0]) {
		abort();
	}
	machine_fini(&s.m);
	link_close(&s.daemon);
	link_close(&s.engine);
}

/* ---- a machine at work */

static struct harness *predecessor(void)
{
	struct conf_key ide_key = KEY_DISK("hd0", harness_disk(disk, sizeof(disk), false));
	struct conf_key vblk_key = KEY_DISK("path", harness_disk(disk, sizeof(disk), false));
	struct conf_key com_key = KEY_STREAM("com1", 0), chr_key = KEY_STREAM("chr", 1);
	struct conf_dev dev[] = {
		{ .model = "hostbridge", .pci = true }, { .model = "lpc", .pci = true, .slot = 1 },
		{ .model = "ide", .pci = true, .slot = 1, .function = 1, .nkeys = 1, .key = &ide_key },
		{ .model = "piix4pm", .pci = true, .slot = 1, .function = 3 },
		{ .model = "virtio-blk", .pci = true, .slot = 3, .nkeys = 1, .key = &vblk_key },
		{ .model = "virtio-rnd", .pci = true, .slot = 4 },
		{ .model = "fwcfg" }, { .model = "debugcon", .nkeys = 1, .key = &chr_key },
		{ .model = "pvpanic" }, { .model = "uart", .nkeys = 1, .key = &com_key }, { .model = "i8042" },
	};
	struct harness *h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = sizeof(dev) / sizeof(dev[0]), .ram = RAM });
	struct vdrv v = { .h = h, .slot = 3 };

	h_pci_write(h, 1, 1, 0x20, 4, 0xc001);
	h_pci_write(h, 1, 1, 0x04, 2, 5);
	vd_start(&v, 0, 1);
	h_out(h, 0x1f2, 1, 4);
	h_out(h, 0x1f7, 1, 0x20);		/* READ SECTORS, the data is not fetched */
	h_out(h, 0x3f8, 1, 'x');
	h_disk_defer(h, true);
	vd_add(&v, 0, (struct vbuf[]){ VB_OUT(0x180000, 16), VB_IN(0x181000, 512), VB_IN(0x182000, 1) }, 3);
	vd_kick(&v, 0);				/* in flight */
	h_disk_defer(h, false);
	return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct harness *h;
	static uint8_t *arena, *tried;
	struct input in = { data, size };
	struct machine *m;

	if (!h) {
		h = predecessor();
		arena = aligned_alloc(LINK_PAGE, harness_machine(h)->arena_bytes);
		tried = aligned_alloc(LINK_PAGE, harness_machine(h)->arena_bytes);
		if (!arena || !tried)
			abort();
	}
	m = harness_machine(h);
	memcpy(arena, m->arena, m->arena_bytes);
	change_all(m, arena, &in);
	memcpy(tried, arena, m->arena_bytes);
	if (size % 3 == 0)
		change_all(m, tried, &in);
	succeed(h, arena, size % 3 == 2 ? NULL : tried, h_requests(h), &in);
	return 0;
}
