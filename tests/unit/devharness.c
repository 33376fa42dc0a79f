/*
 * devharness.c - devices without an engine (devharness.h).
 */
#include "tests/unit/devharness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "devmodel/dispatch.h"
#include "devmodel/txn.h"
#include "ipc/check.h"
#include "ipc/link_engine.h"

enum {
	MAX_EVENTS = 4096,
	DEATHS = 16,		/* of one operation */
};

struct seen_region {
	struct link_event ev;	/* value 0: none */
};

struct harness {
	struct link engine, daemon;
	struct machine m;
	void *arena;
	size_t arena_bytes;
	char error[512];
	uint64_t clock;
	struct conf_dev dev[ARENA_MAX_DEVS];	/* the test's may be on a stack that has gone */
	struct conf_key key[ARENA_MAX_DEVS * 8];
	int fd[ARENA_MAX_DEVS * 8];		/* ... and its descriptors are the first device model's */

	uint64_t seq[ARENA_RINGS], event_seq, requests;
	struct link_comp comp;		/* the last */
	struct seen_region region[ARENA_MAX_DEVS * DEV_REGIONS];
	bool out[ARENA_MAX_DEVS];
	bool line[LINK_GSIS];
	unsigned edges[LINK_GSIS];
	bool full[LINK_STREAMS];
	struct link_event event[MAX_EVENTS];
	unsigned first_event, nevents;
	struct link_event bell[LINK_DOORBELLS];
	unsigned bells_rung;
	bool kernel_bells;

	jmp_buf death;
	bool died;
	bool at_fault;		/* by its own doing */
	const char *crashes;	/* the device whose writes do that, or NULL */
	struct dev_ops crash_ops;
	const struct arena_header *tried;
	unsigned deaths;
	unsigned waited;		/* for its events to be taken */
	const struct link_req *waits;	/* has no answer yet */
};

#define CHECK(cond) do { if (!(cond)) fail_msg("harness: %s", #cond); } while (0)

/* ---- disks in memory: the test's back end in place of backend/blk.c */

enum { MAX_DISKS = 16, DISK_FD = 10000 };

struct blk {
	uint8_t *bytes;
	size_t n, file;		/* as known to devices, and as it is */
	bool readonly, used;
};

static struct blk disks[MAX_DISKS];
static bool disk_defer;
static struct blk_io *disk_waiting, *disk_ended;
static unsigned disk_ops[BLK_OPS];

int harness_disk(void *bytes, size_t n, bool readonly)
{
	for (int i = 0; i < MAX_DISKS; i++)
		if (!disks[i].used) {
			disks[i] = (struct blk){ .bytes = bytes, .n = n, .file = n, .readonly = readonly, .used = true };
			return DISK_FD + i;
		}
	fail_msg("harness: too many disks");
	return -1;
}

void harness_disks_free(void)
{
	memset(disks, 0, sizeof(disks));
	memset(disk_ops, 0, sizeof(disk_ops));
	disk_defer = false;
	disk_waiting = disk_ended = NULL;
}

struct blk *blk_new(int fd, const char **error)
{
	if (fd >= DISK_FD && fd < DISK_FD + MAX_DISKS && disks[fd - DISK_FD].used)
		return &disks[fd - DISK_FD];
	*error = "not a disk of the harness";
	return NULL;
}

uint64_t blk_size(const struct blk *b)
{
	return b->n;
}

bool blk_readonly(const struct blk *b)
{
	return b->readonly;
}

int blk_eventfd(void)
{
	return -1;
}

void blk_shutdown(void)
{
}

const char *blk_resized(struct blk *b)
{
	b->n = b->file;
	return NULL;
}

static void disk_move(struct blk_io *io)
{
	struct iovec one = { .iov_base = io->buf, .iov_len = io->n }, *iov = io->iov ? io->iov : &one;
	uint8_t *at = io->blk->bytes + io->off;

	for (unsigned i = 0; i < (io->iov ? io->niov : 1); at += iov[i++].iov_len)
		if (io->op == BLK_READ)
			memcpy(iov[i].iov_base, at, iov[i].iov_len);
		else
			memcpy(at, iov[i].iov_base, iov[i].iov_len);
	CHECK(at == io->blk->bytes + io->off + io->n);
}

static void disk_run(struct blk_io *io)
{
	struct blk *b = io->blk;

	io->error = 0;
	if (io->op == BLK_FLUSH)
		return;
	if (io->off > b->n || io->n > b->n - io->off || io->off % 512 || io->n % 512 || (io->op != BLK_READ && b->readonly))
		fail_msg("harness: disk operation %d at %llu + %zu is outside the contract", io->op, (unsigned long long)io->off, io->n);
	if (io->op == BLK_READ || io->op == BLK_WRITE)
		disk_move(io);
	else
		memset(b->bytes + io->off, 0, io->n);
}

bool blk_start(struct blk_io *io)
{
	struct blk_io **p = &disk_waiting;

	disk_ops[io->op]++;
	if (!disk_defer) {
		disk_run(io);
		return true;
	}
	while (*p)
		p = &(*p)->next;
	io->next = NULL;
	*p = io;
	return false;
}

struct blk_io *blk_reap(void)
{
	struct blk_io *io = disk_ended;

	if (io)
		disk_ended = io->next;
	return io;
}

/* ---- life */

static uint64_t harness_clock(void *arg)
{
	return ((struct harness *)arg)->clock;
}

static void take_event(struct harness *h, const struct link_event *ev)
{
	const char *why = "";

	enum link_verdict verdict = link_event_check(ev, h->event_seq, &why);

	if (verdict == LINK_STALE && h->died)
		return;		/* published again */
	if (verdict != LINK_GOOD)
		fail_msg("harness: event %s: %s", link_event_name(ev->kind), why);
	h->event_seq = ev->seq;
	if (ev->kind == LINK_EV_IRQ) {
		h->edges[ev->a] += ev->b && !h->line[ev->a];
		h->line[ev->a] = ev->b;
		return;
	}
	if (ev->kind == LINK_EV_REGION && ev->b < ARENA_MAX_DEVS * DEV_REGIONS) {
		struct link_event *known = &h->region[ev->b].ev;
		bool same = known->addr == ev->addr && known->value == ev->value && known->a == ev->a && known->c == ev->c;

		*known = *ev;
		if (same)
			return;		/* a successor tells what was known */
	}
	if (ev->kind == LINK_EV_SERVICE && ev->a < ARENA_MAX_DEVS) {
		bool same = h->out[ev->a] == !ev->b;

		h->out[ev->a] = !ev->b;
		if (same)
			return;
	}
	if (ev->kind == LINK_EV_STRIKE && !h->crashes)
		return;			/* of no interest to tests of devices */
	if (ev->kind == LINK_EV_DOORBELL)
		h->bell[ev->b] = *ev;
	CHECK(h->nevents < MAX_EVENTS);
	h->event[(h->first_event + h->nevents++) % MAX_EVENTS] = *ev;
}

static void take_events(struct harness *h)
{
	struct link_event ev;
	int got;

	while ((got = link_take_event(&h->engine, &ev)) > 0)
		take_event(h, &ev);
	CHECK(got == 0);
	link_release_events(&h->engine);
}

static bool wait_events(struct machine *m)
{
	struct harness *h = (struct harness *)((char *)m - offsetof(struct harness, m));

	h->waited++;
	take_events(h);
	return true;
}

unsigned h_waits(const struct harness *h)
{
	return h->waited;
}

static void dup_all(int to[LINK_FDS], const int from[LINK_FDS])
{
	for (unsigned i = 0; i < LINK_FDS; i++)
		to[i] = dup(from[i]);
}

/* ---- death: HARNESS_DEATHS=SEED in the environment */

static const struct harness *living;	/* whose device model may die now */
static uint64_t death_seed;
static unsigned die_in;			/* steps */

static unsigned next_death(void)
{
	death_seed = death_seed * 6364136223846793005ull + 1442695040888963407ull;
	static const unsigned within[] = { 8, 64, 512, 512 };	/* steps; a takeover has some hundred */
	static unsigned deaths;		/* a test of a million steps sees them ever further apart */

	return 1 + (unsigned)(death_seed >> 33) % ((uint64_t)within[death_seed >> 62] << (++deaths / 256 < 16 ? deaths / 256 : 16));
}

static void at_step(const char *label)
{
	static FILE *log;
	struct harness *h = (struct harness *)living;

	if (!h || --die_in)
		return;
	die_in = next_death();
	living = NULL;
	if (!log && getenv("HARNESS_LOG"))
		log = fopen(getenv("HARNESS_LOG"), "a");
	if (log) {
		fprintf(log, "%s\n", label);
		fflush(log);
	}
	longjmp(h->death, 1);
}

/* Do device models die here? */
static bool mortal(void)
{
	const char *seed = getenv("HARNESS_DEATHS");

	if (!txn_step && seed && *seed) {
		txn_step = at_step;
		death_seed = strtoull(seed, NULL, 0) * 2654435761u + 1;
		die_in = next_death();
	}
	return txn_step;
}

static void keep_conf(struct harness *h, struct conf_machine *conf)
{
	unsigned k = 0;

	memset(h->fd, -1, sizeof(h->fd));
	for (unsigned i = 0; i < conf->ndevs && i < ARENA_MAX_DEVS; i++) {
		h->dev[i] = conf->dev[i];
		h->dev[i].key = &h->key[k];
		CHECK(k + h->dev[i].nkeys <= sizeof(h->key) / sizeof(h->key[0]));
		for (unsigned j = 0; j < h->dev[i].nkeys; j++, k++) {
			h->key[k] = conf->dev[i].key[j];
			h->fd[k] = mortal() && h->key[k].fd < DISK_FD ? dup(h->key[k].fd) : -1;
		}
	}
	if (conf->ndevs <= ARENA_MAX_DEVS)
		conf->dev = h->dev;
}

/* A device model owns the descriptors that it gets: each has its own. */
static void pass_files(struct harness *h)
{
	for (unsigned k = 0; k < sizeof(h->key) / sizeof(h->key[0]); k++)
		if (h->fd[k] >= 0)
			h->key[k].fd = dup(h->fd[k]);
}

/* A reader that has stopped: the ring is as full as it can be, without bytes of anybody. */
static void fill_output(struct harness *h, unsigned stream)
{
	const struct arena_header *a = h->arena;

	store_release(&h->daemon.output[stream].shared->cons, a->stream[stream].given - LINK_STREAM_BYTES);
}

static void make_link(struct harness *h, const struct conf_machine *conf)
{
	struct link_params params = { .nvcpus = conf->vcpus, .code_pages = machine_ram_end(conf->ram_bytes) / LINK_PAGE,
				      .generation = conf->generation };
	struct link engine;
	char err[LINK_ERR] = "";
	int fds[LINK_FDS];

	if (link_create(&engine, &params, err))
		fail_msg("harness: link: %s", err);
	if (h->engine.header) {
		link_adopt_streams(&engine, &h->engine, h->m.streams);
		memcpy(engine.code, h->engine.code, engine.code_pages);
	}
	dup_all(fds, engine.fd);
	link_close(&h->engine);
	h->engine = engine;
	if (link_open(&h->daemon, fds, LINK_F_ALL, err) || link_accept(&h->engine, err))
		fail_msg("harness: link: %s", err);
	for (unsigned i = 0; i < LINK_STREAMS; i++)
		if (h->full[i])
			fill_output(h, i);
}

/* Has the request been done?  Once its completion is here, or its commit. */
static void look_for_answer(struct harness *h)
{
	const struct link_req *r = h->waits;
	struct link_comp c;

	if (!r)
		return;
	if (r->flags & LINK_REQ_POSTED) {
		CHECK(!link_take_comp(&h->engine, r->vcpu, &c));
		if (link_committed(&h->engine, r->vcpu) == r->seq)
			h->waits = NULL;
		return;
	}
	while (h->waits && link_take_comp(&h->engine, r->vcpu, &c)) {
		if (c.seq < r->seq)
			continue;
		h->comp = c;
		h->waits = NULL;
	}
}

/* ---- a device that kills its process */

static void crash(struct dev *d, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	struct harness *h = (struct harness *)living;

	(void)region, (void)off, (void)size, (void)value;
	dev_write(d);
	CHECK(h);
	h->at_fault = true;
	living = NULL;
	longjmp(h->death, 1);
}

static void crash_of_timer(struct dev *d, unsigned timer)
{
	crash(d, 0, 0, timer, 0);
}

static void plant_crash(struct harness *h)
{
	struct dev *d = harness_dev(h, h->crashes);

	h->crash_ops = *d->ops;
	h->crash_ops.write = crash;
	h->crash_ops.timer = crash_of_timer;
	d->ops = &h->crash_ops;
}

void h_crashes(struct harness *h, const char *model)
{
	h->crashes = model;
	plant_crash(h);
}

void h_tried(struct harness *h, const struct arena_header *tried)
{
	h->tried = tried;
}

/* What the engine does when the process has gone; the arena is the same memory, which no one writes meanwhile. */
void h_succeed(struct harness *h, bool at_fault)
{
	struct conf_machine conf = h->m.conf;
	struct machine new = { .ram = h->m.ram, .flash = h->m.flash, .link = &h->daemon, .clock = harness_clock, .clock_arg = h,
			       .wait_events = wait_events, .quiet = true, .tried = h->tried };
	uint8_t page[LINK_PAGE];

	/* What was published counts. */
	take_events(h);
	look_for_answer(h);
	memcpy(page, h->engine.chan[0].shared->data[0], sizeof(page));
	machine_fini(&h->m);
	link_close(&h->daemon);
	disk_waiting = disk_ended = NULL;
	conf.fresh = false;
	conf.at_fault = at_fault;
	conf.generation++;
	conf.paused = h->m.paused;
	conf.clock_offset = h->m.clock_offset;
	conf.events = h->event_seq;
	memcpy(conf.asked, h->seq, sizeof(conf.asked));
	make_link(h, &conf);
	pass_files(h);
	link_data_put(&h->engine, 0, 0, page, sizeof(page));	/* a batch that goes out again, or one that came in */
	h->m = new;
	h->m.conf = conf;
	h->tried = NULL;
	if (machine_init(&h->m, &conf, h->arena, h->arena_bytes))
		fail_msg("harness: no successor: %s", h->m.error);
	machine_go(&h->m);
	if (h->crashes)
		plant_crash(h);
	take_events(h);
	if (h->waits)
		CHECK(!link_post_req(&h->engine, h->waits->vcpu, h->waits));
}

/* `fn`, with as many deaths and successors as fate has in store; it is begun again after each. */
static void live(struct harness *h, void (*fn)(struct harness *, void *), void *arg)
{
	if (mortal() || h->crashes) {
		h->deaths = 0;
		if (setjmp(h->death)) {
			h->died = true;
			h->deaths++;
		}
		living = h->deaths < DEATHS ? h : NULL;		/* a long operation must end too */
		if (h->died)
			h_succeed(h, h->at_fault);
		h->died = h->at_fault = false;
	}
	fn(h, arg);
	living = NULL;
}

struct harness *harness_new(const struct harness_conf *c)
{
	struct harness *h = calloc(1, sizeof(*h));
	struct conf_machine conf = { .vm = "test", .ram_bytes = c->ram ? c->ram : 16 << 20, .vcpus = c->vcpus ? c->vcpus : 1,
				     .fresh = true, .generation = 1, .ndevs = c->ndevs, .dev = c->dev };
	struct arena_plan plan[ARENA_MAX_DEVS];

	conf.apic = c->apic;
	conf.hpet = c->hpet;
	conf.direct = c->direct;
	conf.flash_base = c->flash_base;
	conf.flash_bytes = c->flash_bytes;
	if (c->uuid) {
		memcpy(conf.uuid, c->uuid, 16);
		conf.has_uuid = true;
	}
	keep_conf(h, &conf);
	make_link(h, &conf);
	h->clock = 1000000000;
	h->m.link = &h->daemon;
	h->m.clock = harness_clock;
	h->m.clock_arg = h;
	h->m.wait_events = wait_events;
	h->m.quiet = true;
	h->m.ram = mmap(NULL, conf.ram_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(h->m.ram != MAP_FAILED);
	if (conf.flash_bytes)
		h->m.flash = mmap(NULL, conf.flash_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(h->m.flash != MAP_FAILED);
	if (!machine_plan(&conf, plan, h->error, sizeof(h->error))) {
		h->arena_bytes = arena_size(plan, conf.ndevs);
		h->arena = mmap(NULL, h->arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(h->arena != MAP_FAILED);
		if (machine_init(&h->m, &conf, h->arena, h->arena_bytes))
			snprintf(h->error, sizeof(h->error), "%s", h->m.error);
		else
			machine_go(&h->m);
	}
	if (h->error[0] && !c->may_fail)
		fail_msg("harness: %s", h->error);
	take_events(h);
	return h;
}

void harness_free(struct harness *h)
{
	if (!h)
		return;
	machine_fini(&h->m);
	link_close(&h->daemon);
	link_close(&h->engine);
	munmap(h->m.ram, h->m.conf.ram_bytes);
	if (h->m.flash)
		munmap(h->m.flash, h->m.conf.flash_bytes);
	for (unsigned k = 0; k < sizeof(h->fd) / sizeof(h->fd[0]); k++)
		if (h->fd[k] >= 0)
			close(h->fd[k]);
	if (h->arena)
		munmap(h->arena, h->arena_bytes);
	free(h);
}

const char *harness_error(const struct harness *h)
{
	return h->error;
}

struct machine *harness_machine(struct harness *h)
{
	return &h->m;
}

struct link *h_engine(struct harness *h)
{
	return &h->engine;
}

struct dev *harness_dev(struct harness *h, const char *model)
{
	struct dev *d = machine_dev(&h->m, model);

	CHECK(d);
	return d;
}

/* ---- requests */

static uint16_t region_at(const struct harness *h, bool mmio, uint64_t addr, unsigned size)
{
	for (unsigned i = 0; i < ARENA_MAX_DEVS * DEV_REGIONS; i++) {
		const struct link_event *r = &h->region[i].ev;

		if (r->value >= size && !(r->a & LINK_RGN_MMIO) == !mmio && addr >= r->addr && addr - r->addr <= r->value - size)
			return i;
	}
	return LINK_NO_REGION;
}

/* What the loop does when the rings are empty: doorbells, and operations that have ended. */
static void idle(struct harness *h, void *arg)
{
	unsigned rounds = 0;

	(void)arg;
	do {
		CHECK(machine_doorbells(&h->m, true) >= 0);
		CHECK(machine_reap(&h->m) >= 0);
		take_events(h);
		CHECK(++rounds < 10000);
	} while (h->m.bells_due);
}

static void settle(struct harness *h)
{
	live(h, idle, NULL);
	CHECK(txn_state(h->m.arena) == TXN_IDLE);
	CHECK(!h->m.lost);
	CHECK(!h->m.stat_overflows);
}

static void serve(struct harness *h, void *arg)
{
	const struct link_req *r = arg;

	for (unsigned tries = 0; h->waits; tries++) {
		int n = dispatch_poll(&h->m);

		if (n < 0 || tries > 1)
			fail_msg("harness: request %u not served: %s", r->kind, h->m.error);
		look_for_answer(h);
	}
}

static void request(struct harness *h, unsigned ring, struct link_req *r)
{
	const char *why = "";

	r->seq = ++h->seq[ring];
	r->vcpu = ring;
	if (!r->count)
		r->count = 1;
	if (r->kind < LINK_REQ_RESET)
		r->region = region_at(h, r->kind == LINK_REQ_MMIO_READ || r->kind == LINK_REQ_MMIO_WRITE, r->addr, r->size);
	else
		r->region = LINK_NO_REGION;
	h->requests++;
	h->waits = r;
	CHECK(!link_post_req(&h->engine, ring, r));
	live(h, serve, r);
	settle(h);
	if (r->flags & LINK_REQ_POSTED)
		return;
	if (link_comp_check(&h->comp, r, &why) != LINK_GOOD)
		fail_msg("harness: completion: %s", why);
	CHECK(h->comp.event_seq <= h->event_seq);
}

uint64_t h_in(struct harness *h, uint16_t port, unsigned size)
{
	request(h, 0, &(struct link_req){ .kind = LINK_REQ_PIO_IN, .addr = port, .size = size });
	return h->comp.value;
}

void h_out(struct harness *h, uint16_t port, unsigned size, uint64_t value)
{
	request(h, 0, &(struct link_req){ .kind = LINK_REQ_PIO_OUT, .addr = port, .size = size, .value = value });
}

void h_out_posted(struct harness *h, uint16_t port, unsigned size, uint64_t value)
{
	request(h, 0, &(struct link_req){ .kind = LINK_REQ_PIO_OUT, .addr = port, .size = size, .value = value, .flags = LINK_REQ_POSTED });
}

uint64_t h_read(struct harness *h, uint64_t gpa, unsigned size)
{
	request(h, 0, &(struct link_req){ .kind = LINK_REQ_MMIO_READ, .addr = gpa, .size = size });
	return h->comp.value;
}

static bool ring_doorbell(struct harness *h, uint64_t gpa, unsigned size)
{
	for (unsigned i = 0; i < LINK_DOORBELLS; i++) {
		const struct link_event *b = &h->bell[i];

		if (!(b->a & LINK_DB_ENABLE) || b->addr != gpa || b->c != size)
			continue;
		h->bells_rung++;
		if (h->kernel_bells) {
			link_doorbell_by_kernel(&h->engine, i, true);
			machine_kicked(&h->m);
		} else {
			link_doorbell_ring(&h->engine, i);
		}
		settle(h);
		return true;
	}
	return false;
}

void h_kernel_bells(struct harness *h)
{
	h->kernel_bells = true;
}

unsigned h_doorbells(const struct harness *h)
{
	return h->bells_rung;
}

void h_write(struct harness *h, uint64_t gpa, unsigned size, uint64_t value)
{
	if (ring_doorbell(h, gpa, size))
		return;
	request(h, 0, &(struct link_req){ .kind = LINK_REQ_MMIO_WRITE, .addr = gpa, .size = size, .value = value });
}

unsigned h_ins(struct harness *h, uint16_t port, unsigned size, void *to, unsigned n)
{
	struct link_req r = { .kind = LINK_REQ_PIO_IN, .addr = port, .size = size, .count = n, .flags = LINK_REQ_BATCH };

	if (n == 1)
		r.flags = 0;
	request(h, 0, &r);
	if (n == 1)
		memcpy(to, &h->comp.value, size);
	else
		link_data_get(&h->engine, 0, h->comp.data, to, (size_t)h->comp.done * size);
	return h->comp.done;
}

unsigned h_outs(struct harness *h, uint16_t port, unsigned size, const void *from, unsigned n)
{
	struct link_req r = { .kind = LINK_REQ_PIO_OUT, .addr = port, .size = size, .count = n, .flags = LINK_REQ_BATCH };

	if (n == 1) {
		r.flags = 0;
		memcpy(&r.value, from, size);
	} else {
		link_data_put(&h->engine, 0, 0, from, (size_t)n * size);
	}
	request(h, 0, &r);
	return h->comp.done;
}

unsigned h_rep_ins(struct harness *h, uint16_t port, unsigned size, void *to, unsigned n)
{
	unsigned requests = 0;

	for (unsigned done = 0; done < n; requests++) {
		unsigned want = n - done < LINK_PAGE / size ? n - done : LINK_PAGE / size;

		done += h_ins(h, port, size, (uint8_t *)to + (size_t)done * size, want);
	}
	return requests;
}

unsigned h_rep_outs(struct harness *h, uint16_t port, unsigned size, const void *from, unsigned n)
{
	unsigned requests = 0;

	for (unsigned done = 0; done < n; requests++) {
		unsigned want = n - done < LINK_PAGE / size ? n - done : LINK_PAGE / size;

		done += h_outs(h, port, size, (const uint8_t *)from + (size_t)done * size, want);
	}
	return requests;
}

bool h_unclaimed(const struct harness *h)
{
	return h->comp.status == LINK_UNCLAIMED;
}

uint64_t h_requests(const struct harness *h)
{
	return h->requests;
}

static uint32_t config_address(unsigned slot, unsigned function, unsigned off)
{
	return 0x80000000u | slot << 11 | function << 8 | (off & 0xfc);
}

uint32_t h_pci_read(struct harness *h, unsigned slot, unsigned function, unsigned off, unsigned size)
{
	h_out(h, 0xcf8, 4, config_address(slot, function, off));
	return h_in(h, 0xcfc + (off & 3), size);
}

void h_pci_write(struct harness *h, unsigned slot, unsigned function, unsigned off, unsigned size, uint32_t value)
{
	h_out(h, 0xcf8, 4, config_address(slot, function, off));
	h_out(h, 0xcfc + (off & 3), size, value);
}

void h_reset(struct harness *h)
{
	request(h, h->m.nrings - 1, &(struct link_req){ .kind = LINK_REQ_RESET });
}

void h_inject(struct harness *h, unsigned kind, uint64_t value)
{
	request(h, h->m.nrings - 1, &(struct link_req){ .kind = LINK_REQ_INJECT, .addr = kind, .value = value });
}

/* ---- what the engine sees */

bool h_line(const struct harness *h, unsigned gsi)
{
	return h->line[gsi];
}

unsigned h_edges(const struct harness *h, unsigned gsi)
{
	return h->edges[gsi];
}

bool h_event(struct harness *h, struct link_event *ev)
{
	if (!h->nevents)
		return false;
	*ev = h->event[h->first_event];
	h->first_event = (h->first_event + 1) % MAX_EVENTS;
	h->nevents--;
	return true;
}

bool h_event_of(struct harness *h, unsigned kind, struct link_event *ev)
{
	while (h_event(h, ev))
		if (ev->kind == kind)
			return true;
	return false;
}

bool h_raw_event(struct harness *h, struct link_event *ev)
{
	int got = link_take_event(&h->engine, ev);

	link_release_events(&h->engine);
	if (got > 0 && ev->seq > h->event_seq)
		h->event_seq = ev->seq;
	return got > 0;
}

void h_drop_events(struct harness *h)
{
	h->nevents = 0;
}

bool h_region(const struct harness *h, bool mmio, uint64_t base, uint32_t *len, uint32_t *flags)
{
	for (unsigned i = 0; i < ARENA_MAX_DEVS * DEV_REGIONS; i++) {
		const struct link_event *r = &h->region[i].ev;

		if (!r->value || !(r->a & LINK_RGN_MMIO) != !mmio || r->addr != base)
			continue;
		if (len)
			*len = r->value;
		if (flags)
			*flags = r->a;
		return true;
	}
	return false;
}

bool h_shadow(const struct harness *h, uint16_t port, uint32_t *value)
{
	uint16_t id = region_at(h, false, port, 1);
	const struct link_event *r;
	uint64_t word;

	if (id == LINK_NO_REGION)
		return false;
	r = &h->region[id].ev;
	if (!(r->a & LINK_RGN_SHADOW))
		return false;
	word = load_acquire(&h->engine.shadow[r->c + (port - r->addr)]);
	*value = (uint32_t)word;
	return word & LINK_SHADOW_VALID;
}

/* ---- time */

uint64_t h_now(const struct harness *h)
{
	return h->clock;
}

uint64_t h_deadline(struct harness *h)
{
	return machine_next_timer(&h->m);
}

void h_sleep(struct harness *h, uint64_t ns)
{
	h->clock += ns;
}

static void run_timers(struct harness *h, void *arg)
{
	(void)arg;
	CHECK(machine_timers(&h->m) >= 0);
}

void h_advance(struct harness *h, uint64_t ns)
{
	uint64_t end = h->clock + ns, next;

	while ((next = machine_next_timer(&h->m)) && next <= end) {
		h->clock = next > h->clock ? next : h->clock;
		live(h, run_timers, NULL);
		settle(h);
	}
	h->clock = end;
}

/* ---- RAM */

static void run_net(struct harness *h, void *model)
{
	CHECK(machine_net(harness_dev(h, model)) == 0);
}

void h_network(struct harness *h, const char *model)
{
	live(h, run_net, (void *)model);
	settle(h);
}

uint8_t *h_ram(struct harness *h)
{
	return h->m.ram;
}

void h_mark_code(struct harness *h, uint64_t gpa, bool code)
{
	h->engine.code[gpa / LINK_PAGE] = code;
}

/* ---- streams */

static void run_input(struct harness *h, void *arg)
{
	CHECK(machine_input(&h->m, *(unsigned *)arg) >= 0);
}

void h_input(struct harness *h, unsigned stream, const void *bytes, size_t n)
{
	CHECK(link_input_put(&h->engine, stream, bytes, n) == (ssize_t)n);
	live(h, run_input, &stream);
	settle(h);
}

/* There is room: told to a device that has asked for it, as the loop does. */
static void room_came(struct harness *h, unsigned stream)
{
	if (!(h->m.wants_room >> stream & 1))
		return;
	live(h, run_input, &stream);
	settle(h);
}

size_t h_output(struct harness *h, unsigned stream, void *to, size_t n)
{
	ssize_t got = link_output_peek(&h->engine, stream, to, n);

	CHECK(got >= 0);
	if (got) {
		link_output_take(&h->engine, stream, got);
		room_came(h, stream);
	}
	return got;
}

void h_online(struct harness *h, unsigned stream, bool online)
{
	link_stream_online(&h->engine, stream, online);
	live(h, run_input, &stream);
	settle(h);
}

void h_output_full(struct harness *h, unsigned stream, bool full)
{
	h->full[stream] = full;
	if (full) {
		fill_output(h, stream);
		return;
	}
	store_release(&h->daemon.output[stream].shared->cons, h->m.arena->stream[stream].given);
	room_came(h, stream);
}

/* ---- disks */

void h_disk_resize(struct harness *h, int disk, size_t n)
{
	(void)h;
	disks[disk - DISK_FD].file = n;
}

void h_disk_defer(struct harness *h, bool defer)
{
	(void)h;
	disk_defer = defer;
}

unsigned h_disk_pending(const struct harness *h)
{
	unsigned n = 0;

	(void)h;
	for (const struct blk_io *io = disk_waiting; io; io = io->next)
		n++;
	return n;
}

struct ending {
	struct blk_io io;
	int error;
};

static bool same_io(const struct blk_io *a, const struct blk_io *b)
{
	return a->blk == b->blk && a->op == b->op && a->off == b->off && a->n == b->n;
}

/* A successor has begun what was in flight again: the same operation ends again, unless its end was heard. */
static void finish_disk(struct harness *h, void *arg)
{
	struct ending *e = arg;
	struct blk_io **p = &disk_waiting, *io;

	while (*p && !same_io(*p, &e->io))
		p = &(*p)->next;
	io = *p;
	if (io) {
		*p = io->next;
		if (!e->error)
			disk_run(io);
		io->error = e->error;
		io->next = disk_ended;
		disk_ended = io;
	}
	CHECK(machine_reap(&h->m) >= 0);
}

bool h_disk_finish(struct harness *h, int error)
{
	struct ending e = { .error = error };

	if (!disk_waiting)
		return false;
	e.io = *disk_waiting;
	live(h, finish_disk, &e);
	settle(h);
	return true;
}

bool h_disk_did(const struct harness *h, enum blk_op op, unsigned n)
{
	(void)h;
	return mortal() ? disk_ops[op] >= n : disk_ops[op] == n;	/* a successor begins again */
}
