/*
 * vmm/inout.c - one vCPU's accesses to ports and device memory.
 *
 * Owns struct inout: the request, the slot that its completion fills, and the
 * log of what the instruction has done so far.  Knows the bus and the link;
 * must not know an engine, nor touch a guest register: values travel in the
 * caller's buffer and in the slot, nowhere else.
 *
 *   access()    log? -> pending? -> answer() : handler, shadow, nobody,
 *               doorbell, posted; else request()
 *   inout_wait  send if that is still to do, wait, receive into the slot
 *
 * The request in flight is log[n], n counting the finished accesses; its
 * completion makes it the newest finished one, and the re-run finds it there.
 */
#include "vmm/inout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/bus.h"
#include "vmm/link.h"
#include "vmm/stats.h"
#include "vmm/vm.h"

struct access {
	uint64_t addr;			/* port or guest-physical address */
	uint64_t linear;		/* the memory operand of string I/O, or INOUT_NO_MEM */
	uint64_t value;			/* a single element */
	uint32_t count, done;
	uint8_t kind;			/* enum link_req_kind */
	uint8_t size;
};

struct inout {
	enum io_state state;
	bool sent;			/* PENDING: the request is in the ring */
	bool behind;			/* ... is not, for a discarded one must be answered first */
	uint32_t n;			/* finished accesses of this instruction */
	uint32_t next;			/* the access that this run of it makes next */
	uint64_t posted_at;		/* ticks */
	uint16_t dev;			/* PENDING: whose it is */
	struct link_req req;		/* PENDING: what was asked */
	struct access log[INOUT_LOG];
	_Alignas(64) uint8_t held[INOUT_HELD];
	uint8_t batch[LINK_PAGE];	/* the slot of a batch */
	struct vcpu_stats stats;
};

_Static_assert(LINK_PAGE >= 4096, "a batch is at most a page");

int inout_new(struct vcpu *vcpu)
{
	vcpu->inout = aligned_alloc(64, (sizeof(struct inout) + 63) & ~(size_t)63);
	if (!vcpu->inout)
		return -ENOMEM;
	memset(vcpu->inout, 0, sizeof(struct inout));
	stats_clock_start();
	return 0;
}

void inout_free(struct vcpu *vcpu)
{
	free(vcpu->inout);
	vcpu->inout = NULL;
}

struct vcpu_stats *inout_stats(struct vcpu *vcpu)
{
	return &vcpu->inout->stats;
}

void *inout_held(struct vcpu *vcpu)
{
	return vcpu->inout->held;
}

enum io_state inout_state(const struct vcpu *vcpu)
{
	return vcpu->inout->state;
}

bool inout_active(const struct vcpu *vcpu)
{
	const struct inout *io = vcpu->inout;

	return io->n || io->state != IO_NONE;
}

static bool is_read(unsigned kind)
{
	return kind == LINK_REQ_PIO_IN || kind == LINK_REQ_MMIO_READ;
}

static bool is_mmio(unsigned kind)
{
	return kind == LINK_REQ_MMIO_READ || kind == LINK_REQ_MMIO_WRITE;
}

static uint64_t ones(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (1ull << size * 8) - 1;
}

/* ---- forgetting */

static void drop_request(struct vcpu *vcpu)
{
	struct inout *io = vcpu->inout;

	if (io->state != IO_PENDING)
		return;
	io->sent = false;
	stat_add(&io->stats, STAT_DISCARDED, 1);
}

void inout_rerun(struct vcpu *vcpu)
{
	vcpu->inout->next = 0;
}

void inout_retire(struct vcpu *vcpu)
{
	struct inout *io = vcpu->inout;

	drop_request(vcpu);	/* an instruction that faults after it asked */
	io->state = IO_NONE;
	io->n = io->next = 0;
}

void inout_discard(struct vcpu *vcpu)
{
	inout_retire(vcpu);
	memset(vcpu->inout->held, 0, sizeof(vcpu->inout->held));
}

/* ---- finding the answer */

static void count_string(struct vcpu_stats *s, const struct access *a, bool daemon)
{
	if (a->linear == INOUT_NO_MEM)
		return;
	if (!daemon) {
		stat_add(s, STAT_STR_ENGINE, a->done);
		return;
	}
	stat_add(s, STAT_STR_REQUESTS, 1);
	stat_add(s, STAT_STR_ELEMENTS, a->done);
	if (a->done < a->count)
		stat_add(s, STAT_STR_SHORT, 1);
}

/* The access is over, one element of it. */
static enum io_result answered(struct inout *io, struct access *a, enum vcpu_stat how)
{
	a->done = 1;
	if (is_read(a->kind)) {
		a->value &= ones(a->size);
		memcpy(io->batch, &a->value, sizeof(a->value));	/* where the first element of a batch is */
	}
	stat_add(&io->stats, how, 1);
	count_string(&io->stats, a, false);
	return IO_OK;
}

/* A processor's own registers never reach the bus. */
static bool in_apic_page(const struct vcpu *vcpu, const struct access *a)
{
	const struct bus_handler *h = vcpu->apic_page;

	return h && is_mmio(a->kind) && a->addr - h->base < h->len;
}

static struct bus_owner find(const struct vcpu *vcpu, const struct access *a)
{
	const struct vm *vm = vcpu->vm;

	if (in_apic_page(vcpu, a))
		return (struct bus_owner){ .handler = vcpu->apic_page };
	return is_mmio(a->kind) ? bus_find_mmio(vm->bus, a->addr, a->size) : bus_find_port(vm->bus, (uint16_t)a->addr, a->size);
}

/* Calls the handler under dev_lock, unless it has been removed since it was found. */
static bool call_handler(struct vcpu *vcpu, struct access *a)
{
	struct vm *vm = vcpu->vm;
	const struct bus_handler *h;

	pthread_mutex_lock(&vm->dev_lock);
	h = find(vcpu, a).handler;
	if (h && is_read(a->kind))
		a->value = h->read(h->dev, a->addr - h->base, a->size);
	else if (h)
		h->write(h->dev, a->addr - h->base, a->size, a->value);
	pthread_mutex_unlock(&vm->dev_lock);
	return h;
}

/* Bytes only: one word stands for one byte of the region. */
static bool read_shadow(struct vm *vm, const struct bus_region *g, struct access *a)
{
	uint32_t value;

	if (!(g->flags & LINK_RGN_SHADOW) || a->size != 1 || !is_read(a->kind))
		return false;
	if (!link_client_shadow(vm->link, g->dev, g->shadow + (uint32_t)(a->addr - g->base), &value))
		return false;
	a->value = value;
	return true;
}

static struct link_req make_request(const struct access *a, const struct bus_region *g)
{
	struct link_req r = {
		.addr = a->addr, .count = a->count, .region = g->id, .kind = a->kind, .size = a->size,
		.flags = a->count > 1 ? LINK_REQ_BATCH : 0,
	};

	if (!is_read(a->kind) && a->count == 1)
		r.value = a->value;
	return r;
}

static bool post_write(struct vcpu *vcpu, const struct bus_region *g, const struct access *a)
{
	struct vm *vm = vcpu->vm;
	struct link_req r;

	if (!(g->flags & LINK_RGN_POSTED) || is_read(a->kind) || a->count > 1)
		return false;
	if (!(link_client_features(vm->link) & LINK_F_POSTED))
		return false;
	r = make_request(a, g);
	r.flags |= LINK_REQ_POSTED;
	return !link_client_send(vm->link, vcpu->id, g->dev, &r, NULL);
}

/* True when the request is in the ring; false: no room or no daemon, inout_wait() tries again. */
static bool send(struct vcpu *vcpu)
{
	struct inout *io = vcpu->inout;
	int err;

	io->posted_at = stats_ticks();
	err = link_client_send(vcpu->vm->link, vcpu->id, 0, &io->req, io->batch);
	io->sent = !err;
	io->behind = err == -EBUSY;
	if (err)
		stat_add(&io->stats, STAT_FULL, 1);
	return io->sent;
}

static enum io_result request(struct vcpu *vcpu, const struct bus_region *g, const struct access *a, const void *batch)
{
	struct inout *io = vcpu->inout;

	io->log[io->n] = *a;
	io->req = make_request(a, g);
	io->dev = g->dev;
	if (a->count > 1 && !is_read(a->kind))
		memcpy(io->batch, batch, (size_t)a->count * a->size);
	io->state = IO_PENDING;
	io->next = 0;
	send(vcpu);
	return IO_WAIT;
}

/* An access that is made for the first time. */
static enum io_result answer(struct vcpu *vcpu, struct access *a, const void *batch)
{
	struct inout *io = vcpu->inout;
	struct vm *vm = vcpu->vm;
	struct bus_owner o = find(vcpu, a);

	if (o.handler && call_handler(vcpu, a))
		return answered(io, a, STAT_IO_ENGINE);
	if (o.handler)
		o = find(vcpu, a);	/* it went away; a region may lie beneath */
	if (o.region.len && read_shadow(vm, &o.region, a))
		return answered(io, a, STAT_IO_SHADOW);
	if (!is_read(a->kind) && vm->link && link_client_doorbell(vm->link, is_mmio(a->kind), a->addr, a->size, a->value))
		return answered(io, a, STAT_IO_DOORBELL);
	if (!o.region.len || !vm->link) {
		a->value = UINT64_MAX;
		return answered(io, a, STAT_IO_UNCLAIMED);
	}
	if (post_write(vcpu, &o.region, a))
		return answered(io, a, STAT_IO_POSTED);
	return request(vcpu, &o.region, a, batch);
}

/* ---- the log */

static bool same_access(const struct access *a, const struct access *b)
{
	return a->kind == b->kind && a->size == b->size && a->addr == b->addr && a->count == b->count && a->linear == b->linear;
}

/* What this run asks for is not what the last one did: another vCPU or DMA changed the instruction. */
static void forget_rest(struct vcpu *vcpu)
{
	drop_request(vcpu);
	vcpu->inout->state = IO_NONE;
	vcpu->inout->n = vcpu->inout->next;
}

static enum io_result replay(struct inout *io, struct access *a)
{
	*a = io->log[io->next++];
	if (io->next == io->n && io->state == IO_DONE)
		io->state = IO_NONE;
	return IO_OK;
}

static enum io_result access(struct vcpu *vcpu, struct access *a, const void *batch)
{
	struct inout *io = vcpu->inout;
	enum io_result r;

	if (io->next < io->n) {
		if (same_access(&io->log[io->next], a))
			return replay(io, a);
		forget_rest(vcpu);
	} else if (io->state == IO_PENDING) {
		if (same_access(&io->log[io->n], a)) {
			io->next = 0;
			return IO_WAIT;
		}
		forget_rest(vcpu);
	}
	if (io->n == INOUT_LOG) {
		a->value = UINT64_MAX;
		return answered(io, a, STAT_LOG_FULL);
	}
	r = answer(vcpu, a, batch);
	if (r == IO_OK) {
		io->log[io->n++] = *a;
		io->next = io->n;
	}
	return r;
}

/* ---- what engines call */

enum io_result inout_in(struct vcpu *vcpu, uint16_t port, unsigned size, unsigned count, uint64_t linear, void *data, unsigned *done)
{
	struct access a = { .kind = LINK_REQ_PIO_IN, .addr = port, .size = (uint8_t)size, .count = count, .linear = linear };
	enum io_result r = access(vcpu, &a, NULL);

	if (r != IO_OK)
		return r;
	*done = a.done;
	if (count > 1)
		memcpy(data, vcpu->inout->batch, (size_t)a.done * size);
	else
		memcpy(data, &a.value, size);
	return IO_OK;
}

enum io_result inout_out(struct vcpu *vcpu, uint16_t port, unsigned size, unsigned count, uint64_t linear, const void *data,
			 unsigned *done)
{
	struct access a = { .kind = LINK_REQ_PIO_OUT, .addr = port, .size = (uint8_t)size, .count = count, .linear = linear };
	enum io_result r;

	memcpy(&a.value, data, size);
	r = access(vcpu, &a, data);
	if (r == IO_OK)
		*done = a.done;
	return r;
}

enum io_result inout_mmio_read(struct vcpu *vcpu, uint64_t gpa, unsigned size, uint64_t *value)
{
	struct access a = { .kind = LINK_REQ_MMIO_READ, .addr = gpa, .size = (uint8_t)size, .count = 1, .linear = INOUT_NO_MEM };
	enum io_result r = access(vcpu, &a, NULL);

	if (r == IO_OK)
		*value = a.value;
	return r;
}

enum io_result inout_mmio_write(struct vcpu *vcpu, uint64_t gpa, unsigned size, uint64_t value)
{
	struct access a = {
		.kind = LINK_REQ_MMIO_WRITE, .addr = gpa, .size = (uint8_t)size, .count = 1, .linear = INOUT_NO_MEM,
		.value = value & ones(size),
	};

	return access(vcpu, &a, NULL);
}

unsigned inout_batch_limit(struct vcpu *vcpu, uint16_t port, unsigned size, bool in)
{
	struct vm *vm = vcpu->vm;
	struct bus_owner o = bus_find_port(vm->bus, port, size);

	(void)in;
	if (o.handler || !(o.region.flags & LINK_RGN_BATCH) || !vm->link)
		return 1;
	return link_client_features(vm->link) & LINK_F_BATCH ? LINK_PAGE / size : 1;
}

/* ---- waiting */

static void fill_slot(struct inout *io, const struct link_comp *c)
{
	struct access *a = &io->log[io->n];

	a->done = c->done;
	a->value = c->status == LINK_OK ? c->value & ones(a->size) : ones(a->size);
	if (c->status != LINK_OK) {
		a->done = a->count;
		memset(io->batch, 0xff, sizeof(io->batch));
	}
	io->n++;
	io->sent = false;
	io->state = IO_DONE;
}

static void accept_completion(struct inout *io, const struct link_comp *c)
{
	const struct access *a = &io->log[io->n];

	fill_slot(io, c);
	io->stats.last = stats_ticks() - io->posted_at;
	hist_add(a->count > 1 ? &io->stats.batch : &io->stats.single, io->stats.last);
	stat_add(&io->stats, c->status != LINK_OK ? STAT_IO_UNCLAIMED : a->count > 1 ? STAT_IO_BATCH : STAT_IO_DAEMON, 1);
	count_string(&io->stats, a, true);
}

/* INOUT_WAITS: nothing yet. */
static enum inout_wait receive(struct vcpu *vcpu)
{
	struct inout *io = vcpu->inout;
	struct link_comp c;
	int r = link_client_receive(vcpu->vm->link, vcpu->id, &io->req, &c, io->batch);

	if (r < 0)
		return INOUT_LOST;
	if (!r)
		return INOUT_WAITS;
	accept_completion(io, &c);
	return INOUT_READY;
}

/* Without a device model, and this device is not waited for: as if nobody were there, unless the answer has come after all. */
static enum inout_wait go_without(struct vcpu *vcpu)
{
	struct inout *io = vcpu->inout;
	const struct access *a = &io->log[io->n];
	struct link_comp c = { .status = LINK_UNCLAIMED };

	if (!link_client_forsaken(vcpu->vm->link, io->dev))
		return INOUT_LOST;
	if (io->sent && link_client_withdraw(vcpu->vm->link, vcpu->id, &io->req, &c, io->batch)) {
		accept_completion(io, &c);
		return INOUT_READY;
	}
	stat_add(&io->stats, is_read(a->kind) ? STAT_IO_ONES : STAT_IO_DROPPED, 1);
	fill_slot(io, &c);
	return INOUT_READY;
}

static const uint32_t *kick_word(struct vcpu *vcpu)
{
	return (const uint32_t *)(const void *)&vcpu->kick;
}

/* INOUT_WAITS: there is something to do. */
static enum inout_wait wait_more(struct vcpu *vcpu, bool for_comp)
{
	struct link_client *lc = vcpu->vm->link;
	enum wait_result w;

	w = for_comp ? link_client_wait_comp(lc, vcpu->id, kick_word(vcpu), vcpu->kick_seen)
		     : link_client_wait_room(lc, vcpu->id, kick_word(vcpu), vcpu->kick_seen);
	return w == WAIT_KICKED ? INOUT_KICKED : w == WAIT_BROKEN ? INOUT_LOST : INOUT_WAITS;
}

enum inout_wait inout_wait(struct vcpu *vcpu)
{
	struct inout *io = vcpu->inout;
	enum inout_wait r = INOUT_WAITS;

	while (io->state == IO_PENDING && r == INOUT_WAITS) {
		if (!io->sent && !send(vcpu)) {
			r = wait_more(vcpu, io->behind);
			continue;
		}
		r = receive(vcpu);
		if (r == INOUT_WAITS)
			r = wait_more(vcpu, true);
	}
	if (r == INOUT_LOST)
		r = go_without(vcpu);
	return io->state == IO_PENDING ? r : INOUT_READY;
}
