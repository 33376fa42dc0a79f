/*
 * tests/unit/fakedaemon.c - see fakedaemon.h.
 */
#include "tests/unit/fakedaemon.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/check.h"
#include "vmm/link.h"

#define CHECK(x) do { if (!(x)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); abort(); } } while (0)

uint8_t fake_byte(uint64_t i)
{
	i = (i + 1) * 0x9e3779b97f4a7c15ull;
	return (uint8_t)(i >> 56 ^ i >> 29);
}

uint64_t fake_get(const uint64_t *counter)
{
	return load_acquire(counter);
}

static void add(uint64_t *counter, uint64_t by)
{
	store_release(counter, *counter + by);
}

void fake_event(struct fake *f, struct link_event e)
{
	e.seq = ++f->events;
	CHECK(!link_post_event(&f->link, &e));
}

static void region(struct fake *f, unsigned id, uint64_t base, uint64_t len, uint32_t flags, uint32_t shadow, uint32_t dev)
{
	fake_event(f, (struct link_event){ .kind = LINK_EV_REGION, .addr = base, .value = len, .a = flags, .b = id, .c = shadow, .d = dev });
}

static uint64_t next_read(struct fake *f, unsigned addr, unsigned size)
{
	uint64_t *seq = addr == FAKE_PLAIN ? &f->plain_reads : &f->reads, v = 0;

	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)fake_byte(*seq * size + i) << 8 * i;
	if (addr == FAKE_FWCFG)
		v = (uint8_t)"QEMU"[*seq % 4];
	add(seq, 1);
	return v;
}

/* Has the element that was just done raised the line? */
static bool raised(struct fake *f)
{
	uint64_t at = load_acquire(&f->raise_at);

	if (!at || f->reads + f->plain_reads + f->writes != at)
		return false;
	fake_event(f, (struct link_event){ .kind = LINK_EV_IRQ, .a = 5, .b = 1 });
	return true;
}

static void take_write(struct fake *f, const void *data, unsigned size)
{
	CHECK(f->nlog + size <= FAKE_LOG);
	memcpy(f->log + f->nlog, data, size);
	f->nlog += size;
	add(&f->writes, 1);
}

static void serve_batch(struct fake *f, unsigned n, const struct link_req *r, struct link_comp *c)
{
	uint32_t most = load_acquire(&f->most);
	uint8_t data[LINK_PAGE];

	c->done = most && most < r->count ? most : r->count;
	if (r->kind == LINK_REQ_PIO_OUT) {
		link_batch_get(&f->link, n, r->data, data, (size_t)r->count * r->size);
		for (unsigned i = 0; i < c->done; i++) {
			take_write(f, data + i * r->size, r->size);
			if (raised(f))
				c->done = i + 1;
		}
		return;
	}
	for (unsigned i = 0; i < c->done; i++) {
		uint64_t v = next_read(f, (unsigned)r->addr, r->size);

		memcpy(data + i * r->size, &v, r->size);
		if (raised(f))
			c->done = i + 1;
	}
	link_batch_put(&f->link, n, r->data, data, (size_t)c->done * r->size);
}

static void serve(struct fake *f, unsigned n, const struct link_req *r, struct link_comp *c)
{
	*c = (struct link_comp){ .seq = r->seq, .addr = r->addr, .count = r->count, .done = 1, .kind = r->kind, .size = r->size,
				 .data = r->data };
	add(&f->requests, 1);
	switch (r->kind) {
	case LINK_REQ_RESET:
		add(&f->resets, 1);
		break;
	case LINK_REQ_PIO_IN:
	case LINK_REQ_MMIO_READ:
		if (r->flags & LINK_REQ_BATCH) {
			serve_batch(f, n, r, c);
			break;
		}
		c->value = next_read(f, (unsigned)r->addr, r->size);
		raised(f);
		break;
	case LINK_REQ_PIO_OUT:
	case LINK_REQ_MMIO_WRITE:
		if (r->flags & LINK_REQ_BATCH) {
			serve_batch(f, n, r, c);
			break;
		}
		take_write(f, &r->value, r->size);
		raised(f);
		if (r->addr == FAKE_POSTED)
			link_shadow_write(&f->link, 3, (uint32_t)r->value, true);
		break;
	}
	c->event_seq = f->events;
}

static bool one_request(struct fake *f, unsigned n, uint64_t *last)
{
	struct link_req_rule rule = { .nvcpus = f->link.nvcpus, .channel = n, .features = f->link.features, .last_seq = last[n] };
	fake_twist *twist;
	struct link_req r;
	struct link_comp c;
	const char *why = "";

	/* In this order: whoever holds it and then asks is held. */
	if (!link_req_ready(&f->link, n) || load_acquire(&f->hold) || !link_take_req(&f->link, n, &r))
		return false;
	if (link_req_check(&r, &rule, &why) != LINK_GOOD)
		fprintf(stderr, "the engine's request is refused: %s\n", why);
	CHECK(!*why);
	last[n] = r.seq;
	serve(f, n, &r, &c);
	twist = load_acquire(&f->twist);
	link_commit(&f->link, n, r.seq + load_acquire(&f->lie));
	link_release_req(&f->link, n);
	if (!(r.flags & LINK_REQ_POSTED) && (!twist || twist(f, &r, &c)))
		CHECK(!link_post_comp(&f->link, n, &c));
	link_flush(&f->link, n);
	return true;
}

static bool work(struct fake *f, uint64_t *last)
{
	bool control = link_req_ready(&f->link, f->link.nvcpus), any = false;

	/* What was posted before a control request is served before it. */
	for (unsigned n = 0; n < f->link.nvcpus; n++)
		while (one_request(f, n, last))
			any = true;
	return (control && one_request(f, f->link.nvcpus, last)) || any;
}

static void *loop(void *arg)
{
	uint64_t last[LINK_MAX_VCPUS + 1] = { 0 };
	struct fake *f = arg;
	int err;

	while (!load_acquire(&f->stop)) {
		struct pollfd p = { .fd = f->link.fd[LINK_FD_WAKE], .events = POLLIN };

		if (work(f, last) || link_daemon_spin(&f->link, 20000) || !link_daemon_prepare_sleep(&f->link, &err))
			continue;
		poll(&p, 1, 10);	/* held requests and `stop` are looked for */
		link_daemon_finish_sleep(&f->link);
	}
	return NULL;
}

void fake_start(struct fake *f, struct vm *vm)
{
	char err[LINK_ERR] = "";
	int fd[LINK_FDS];

	CHECK(!link_client_open(vm->link, 0, err));
	link_client_fds(vm->link, fd);
	for (unsigned i = 0; i < LINK_FDS; i++)
		CHECK((fd[i] = dup(fd[i])) >= 0);
	CHECK(!link_open(&f->link, fd, LINK_F_ALL, err));
	f->stop = 0;
	f->events = link_client_events(vm->link);
	region(f, 1, FAKE_FIFO, 4, LINK_RGN_BATCH, LINK_NO_SHADOW, 1);
	region(f, 2, FAKE_PLAIN, 8, 0, LINK_NO_SHADOW, 2);
	region(f, 3, FAKE_POSTED, 4, LINK_RGN_POSTED, LINK_NO_SHADOW, 3);
	region(f, 4, FAKE_SHADOW, 1, LINK_RGN_SHADOW, 3, 3);
	region(f, 6, FAKE_FWCFG, 1, LINK_RGN_BATCH, LINK_NO_SHADOW, 5);
	region(f, 5, FAKE_MMIO, 4096, LINK_RGN_MMIO, LINK_NO_SHADOW, 4);
	CHECK(!link_client_accept(vm->link, err));
	CHECK(!pthread_create(&f->thread, NULL, loop, f));
}

void fake_forget(struct fake *f)
{
	store_release(&f->reads, 0);
	store_release(&f->plain_reads, 0);
	store_release(&f->writes, 0);
	store_release(&f->requests, 0);
	store_release(&f->raise_at, 0);
	store_release(&f->most, 0);
	f->nlog = 0;
}

void fake_kill(struct fake *f)
{
	store_release(&f->stop, 1);
	pthread_join(f->thread, NULL);
}

void fake_stop(struct fake *f)
{
	fake_kill(f);
	link_close(&f->link);
}

int fake_control(struct vm *vm, unsigned kind, uint64_t addr, uint64_t value, int64_t timeout_ns)
{
	uint64_t start = wait_now();
	struct link_req r;
	int err;

	while ((err = link_client_ask(vm->link, kind, addr, value, &r)) == -EAGAIN && wait_now() - start < (uint64_t)timeout_ns)
		usleep(100);
	while (!err && (err = link_client_answer(vm->link, &r, start, 100000)) == -EAGAIN && wait_now() - start < (uint64_t)timeout_ns)
		err = 0;
	return err == -EAGAIN ? -ETIMEDOUT : err;
}
