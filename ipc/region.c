/*
 * ipc/region.c - makes, seals, maps and checks the link's memory (region.h).
 *
 * Owns the shape of the memfd.  Knows no ring traffic and no waiting, save the
 * question whether spinning is allowed at all.
 * memfd_create(2), fcntl(2) F_ADD_SEALS, eventfd(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/region.h"
#include "ipc/wait.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u	/* Linux 6.3 */
#endif

enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

static int fail(char err[LINK_ERR], int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int fail(char err[LINK_ERR], int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, LINK_ERR, fmt, ap);
	va_end(ap);
	return code;
}

static uint64_t take(uint64_t *at, uint64_t bytes)
{
	uint64_t here = *at;

	*at = (here + bytes + LINK_PAGE - 1) & ~(uint64_t)(LINK_PAGE - 1);
	return here;
}

int link_layout(uint32_t nvcpus, uint64_t code_pages, struct link_layout *at)
{
	uint64_t end = 0;

	if (!nvcpus || nvcpus > LINK_MAX_VCPUS || !code_pages || code_pages > LINK_MAX_CODE_PAGES)
		return -EINVAL;
	take(&end, sizeof(struct link_header));
	at->vcpus = take(&end, (nvcpus + 1ull) * sizeof(struct link_vcpu));
	at->events = take(&end, sizeof(struct link_events));
	at->streams = take(&end, 2ull * LINK_STREAMS * sizeof(struct link_stream));
	at->shadows = take(&end, LINK_SHADOWS * sizeof(uint64_t));
	at->doorbells = take(&end, LINK_DOORBELLS * sizeof(struct link_doorbell));
	at->code = take(&end, code_pages);
	at->size = end;
	return 0;
}

/* Typed pointers and fresh private indices for a mapping whose layout is `at`. */
static int attach(struct link *l, uint8_t *base, const struct link_layout *at)
{
	struct link_vcpu *v = (void *)(base + at->vcpus);
	struct link_events *e = (void *)(base + at->events);
	struct link_stream *s = (void *)(base + at->streams);

	l->chan = aligned_alloc(LINK_LINE, (l->nvcpus + 1) * sizeof(*l->chan));
	if (!l->chan)
		return -ENOMEM;
	memset(l->chan, 0, (l->nvcpus + 1) * sizeof(*l->chan));
	l->header = (void *)base;
	l->size = at->size;
	l->shadow = (void *)(base + at->shadows);
	l->doorbell = (void *)(base + at->doorbells);
	l->code = base + at->code;
	for (unsigned n = 0; n <= l->nvcpus; n++) {
		l->chan[n].shared = &v[n];
		ring_init(&l->chan[n].req, &v[n].req, v[n].req_slot, LINK_REQ_SLOTS, 0);
		ring_init(&l->chan[n].comp, &v[n].comp, v[n].comp_slot, LINK_COMP_SLOTS, 0);
		learn_init(&l->chan[n].learn);
	}
	ring_init(&l->events, &e->ring, e->slot, LINK_EVENT_SLOTS, 0);
	for (unsigned n = 0; n < LINK_STREAMS; n++) {
		stream_init(&l->input[n], &s[2 * n].ring, s[2 * n].bytes, LINK_STREAM_BYTES, 0);
		stream_init(&l->output[n], &s[2 * n + 1].ring, s[2 * n + 1].bytes, LINK_STREAM_BYTES, 0);
		l->online[n] = &s[2 * n].online;
	}
	learn_init(&l->idle);
	l->may_spin = wait_cpus() > 1;
	return 0;
}

static int map(struct link *l, const struct link_layout *at, char err[LINK_ERR])
{
	uint8_t *base = mmap(NULL, at->size, PROT_READ | PROT_WRITE, MAP_SHARED, l->fd[LINK_FD_MEMORY], 0);

	if (base == MAP_FAILED)
		return fail(err, -errno, "cannot map %llu bytes of link memory: %s",
			    (unsigned long long)at->size, strerror(errno));
	if (attach(l, base, at)) {
		munmap(base, at->size);
		return fail(err, -ENOMEM, "no memory for %u vCPU channels", l->nvcpus);
	}
	return 0;
}

static void write_header(struct link *l, const struct link_layout *at)
{
	struct link_header *h = l->header;

	h->abi = LINK_ABI;
	h->features = l->features;
	h->generation = l->generation;
	h->nvcpus = l->nvcpus;
	h->code_pages = l->code_pages;
	h->size = at->size;
	h->off_vcpus = at->vcpus;
	h->off_events = at->events;
	h->off_streams = at->streams;
	h->off_shadows = at->shadows;
	h->off_doorbells = at->doorbells;
	h->off_code = at->code;
	store_release(&h->magic, LINK_MAGIC);	/* pairs with copy_header(); the descriptor travels after it anyway */
}

static int make_memory(uint64_t size, char err[LINK_ERR])
{
	int fd = memfd_create("cleave-link", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)	/* a kernel before 6.3 */
		fd = memfd_create("cleave-link", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return fail(err, -errno, "cannot make link memory: memfd_create: %s", strerror(errno));
	if (ftruncate(fd, (off_t)size) || fcntl(fd, F_ADD_SEALS, SEALS)) {
		int e = errno;

		close(fd);
		return fail(err, -e, "cannot size and seal %llu bytes of link memory: %s",
			    (unsigned long long)size, strerror(e));
	}
	return fd;
}

static int make_fds(struct link *l, uint64_t size, char err[LINK_ERR])
{
	int fd = make_memory(size, err);

	if (fd < 0)
		return fd;
	l->fd[LINK_FD_MEMORY] = fd;
	for (int i = LINK_FD_WAKE; i < LINK_FDS; i++) {
		l->fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (l->fd[i] < 0)
			return fail(err, -errno, "cannot make a wake-up descriptor: eventfd: %s", strerror(errno));
	}
	return 0;
}

static void close_fds(const int fd[LINK_FDS])
{
	for (int i = 0; i < LINK_FDS; i++)
		if (fd[i] >= 0)
			close(fd[i]);
}

int link_create(struct link *out, const struct link_params *p, char err[LINK_ERR])
{
	struct link l = { .side = LINK_ENGINE, .nvcpus = p->nvcpus, .code_pages = p->code_pages,
			  .features = p->features ? p->features : LINK_F_ALL, .generation = p->generation,
			  .fd = { -1, -1, -1, -1 } };
	struct link_layout at;
	int e;

	memset(out, 0, sizeof(*out));
	if (link_layout(p->nvcpus, p->code_pages, &at))
		return fail(err, -EINVAL, "a link for %u vCPUs and %llu pages of RAM is out of range (1-%u, 1-%u)",
			    p->nvcpus, (unsigned long long)p->code_pages, LINK_MAX_VCPUS, LINK_MAX_CODE_PAGES);
	if (l.features & ~LINK_F_ALL)
		return fail(err, -EINVAL, "unknown link features %#x", l.features & ~LINK_F_ALL);
	e = make_fds(&l, at.size, err);
	if (!e)
		e = map(&l, &at, err);
	if (e) {
		close_fds(l.fd);
		return e;
	}
	write_header(&l, &at);
	*out = l;
	return 0;
}

/* The header, read once from a memfd that may change under our hands. */
static int copy_header(int fd, struct link_header *h, uint64_t *size, char err[LINK_ERR])
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	ssize_t n;

	if (seals < 0)
		return fail(err, -EPERM, "link memory is no memfd: %s", strerror(errno));
	if ((seals & SEALS) != SEALS)
		return fail(err, -EPERM, "link memory lacks seals: has %#x, needs %#x", (unsigned)seals, (unsigned)SEALS);
	if (fstat(fd, &st))
		return fail(err, -errno, "link memory: fstat: %s", strerror(errno));
	n = pread(fd, h, sizeof(*h), 0);
	if (n != (ssize_t)sizeof(*h))
		return fail(err, -EINVAL, "link memory of %lld bytes is shorter than its header", (long long)st.st_size);
	*size = (uint64_t)st.st_size;
	return 0;
}

static int check_header(const struct link_header *h, uint64_t size, struct link_layout *at, char err[LINK_ERR])
{
	if (h->magic != LINK_MAGIC)
		return fail(err, -EPROTONOSUPPORT, "link magic is %#llx, not %#llx",
			    (unsigned long long)h->magic, LINK_MAGIC);
	if (h->abi != LINK_ABI)
		return fail(err, -EPROTONOSUPPORT, "link ABI is %u, this program speaks %u: "
			    "install cleave and cleaved of one version", h->abi, LINK_ABI);
	if (h->features & ~LINK_F_ALL)
		return fail(err, -EOPNOTSUPP, "link offers unknown features %#x", h->features & ~LINK_F_ALL);
	if (link_layout(h->nvcpus, h->code_pages, at))
		return fail(err, -EINVAL, "link for %u vCPUs and %llu pages of RAM is out of range",
			    h->nvcpus, (unsigned long long)h->code_pages);
	if (size != at->size || h->size != at->size)
		return fail(err, -EINVAL, "link memory has %llu bytes and says %llu; %u vCPUs and %llu pages need %llu",
			    (unsigned long long)size, (unsigned long long)h->size, h->nvcpus,
			    (unsigned long long)h->code_pages, (unsigned long long)at->size);
	if (h->off_vcpus != at->vcpus || h->off_events != at->events || h->off_streams != at->streams ||
	    h->off_shadows != at->shadows || h->off_doorbells != at->doorbells || h->off_code != at->code)
		return fail(err, -EINVAL, "link header places its parts elsewhere than ABI %u does", LINK_ABI);
	return 0;
}

int link_open(struct link *out, const int fd[LINK_FDS], uint32_t supported, char err[LINK_ERR])
{
	struct link_header h = { 0 };
	struct link_layout at;
	struct link l = { .side = LINK_DAEMON };
	uint64_t size = 0;
	int e;

	memset(out, 0, sizeof(*out));
	e = copy_header(fd[LINK_FD_MEMORY], &h, &size, err);
	if (!e)
		e = check_header(&h, size, &at, err);
	if (!e) {
		memcpy(l.fd, fd, sizeof(l.fd));
		l.nvcpus = h.nvcpus;
		l.code_pages = h.code_pages;
		l.generation = h.generation;
		l.features = h.features & supported;
		e = map(&l, &at, err);
	}
	if (e) {
		close_fds(fd);
		return e;
	}
	store_release(&l.header->answer, l.features);	/* pairs with link_accept() */
	*out = l;
	return 0;
}

int link_accept(struct link *l, char err[LINK_ERR])
{
	uint32_t answer = load_acquire(&l->header->answer);	/* pairs with link_open() */

	if (answer & ~l->features)
		return fail(err, -EPROTO, "the device model answers features %#x, of which %#x were not offered",
			    answer, answer & ~l->features);
	l->features = answer;
	return 0;
}

/* `prod` bytes were written, `cons` taken: ours is whichever is private to us, and is to be believed. */
static void adopt(struct stream *s, const struct stream *last, uint32_t prod, uint32_t cons, bool ours_is_prod)
{
	if (prod - cons > s->size) {
		prod = ours_is_prod ? prod : cons;
		cons = ours_is_prod ? prod : cons;
	}
	memcpy(s->bytes, last->bytes, s->size);
	s->pos = last->pos;
	store_relaxed(&s->shared->prod, prod);
	store_relaxed(&s->shared->cons, cons);
}

void link_adopt_streams(struct link *l, const struct link *last, uint32_t which)
{
	for (; which; which &= which - 1) {
		unsigned n = __builtin_ctz(which);
		const struct stream *in = &last->input[n], *out = &last->output[n];

		adopt(&l->input[n], in, in->pos, load_relaxed(&in->shared->cons), true);
		adopt(&l->output[n], out, load_relaxed(&out->shared->prod), out->pos, false);
		store_relaxed(l->online[n], load_relaxed(last->online[n]));
	}
}

void link_close(struct link *l)
{
	if (!l->header)
		return;
	munmap(l->header, l->size);
	free(l->chan);
	close_fds(l->fd);
	memset(l, 0, sizeof(*l));
}
