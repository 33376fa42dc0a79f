/*
 * devmodel/backend/blk.c - raw disk images: what can be done without blocking is
 * done at once, the rest by worker threads.
 *
 * Owns the descriptors, the workers and their queues.  Knows no device, no
 * transaction, no guest memory but the buffers that it is given.
 *
 * How an operation is done:
 *
 *	read	preadv2(RWF_NOWAIT); what the page cache lacks, a worker reads
 *	write	pwritev2(RWF_NOWAIT) where the file system can; else a worker
 *	flush	fdatasync() by a worker, always
 *	discard, zero	fallocate() or an ioctl() by a worker, zeros where neither can be
 *
 * tmpfs has no RWF_NOWAIT on older kernels and does not block either: it is read
 * and written inline.  O_DIRECT and O_SYNC images always go to a worker.
 * O_DIRECT needs alignment of memory, offset and length: where the device's
 * granularity is larger than the operation, the worker goes through a buffer of
 * its own, under the image's lock, because a write of a part is a read and a
 * write of the whole.
 *
 * A file that ends before the bytes that are read has shrunk since it was opened.
 * They are lost, which is an error and not zeros.
 */
#include "devmodel/backend/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

enum {
	SECTOR_BYTES = 512, WORKERS = 4, WORKER_STACK = 256 * 1024, MAX_ALIGN = 65536,
	INLINE_MAX = 1 << 20,	/* bytes that the loop's thread copies at once */
	CALL_PIECES = 256,	/* of one system call */
	END_OF_FILE = -EIO,
};

struct blk {
	int fd;
	uint64_t size;
	bool readonly;
	bool device;			/* a block device, not a file */
	bool try_read, try_write;	/* inline, with RWF_NOWAIT; cleared when the file system says that it cannot */
	bool memory;			/* tmpfs: never blocks */
	uint32_t align;			/* of O_DIRECT, 1 otherwise */
	pthread_mutex_t whole;		/* a write of part of an aligned block excludes others */
	struct blk *next;
};

/* The workers of the process.  `lock` guards the queue, the list of ended operations and the counters. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t work;		/* the queue has something, or `stop` */
	struct blk_io *queue, **queue_tail;
	struct blk_io *ended, **ended_tail;
	unsigned nended;		/* read without the lock by blk_reap() */
	bool reset_due;			/* the loop's own: the eventfd counts what has been reaped */
	bool stop;
	unsigned workers;
	pthread_t thread[WORKERS];
	int eventfd;
	struct blk *images;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .eventfd = -1 };

/* ---- doing an operation */

/* What an operation moves, piece by piece; `one` stands in for a plain buffer. */
struct pieces {
	struct iovec *iov, one;
	unsigned n;
};

static void pieces_of(struct blk_io *io, struct pieces *p)
{
	p->one = (struct iovec){ .iov_base = io->buf, .iov_len = io->n };
	p->iov = io->iov ? io->iov : &p->one;
	p->n = io->iov ? io->niov : 1;
}

/* The pieces without their first `done` bytes, for the call after a short one.  At most CALL_PIECES of them. */
static unsigned rest(const struct pieces *p, size_t done, struct iovec *to)
{
	unsigned i, n = 0;

	for (i = 0; i < p->n && done >= p->iov[i].iov_len; i++)
		done -= p->iov[i].iov_len;
	for (; i < p->n && n < CALL_PIECES; i++, n++) {
		to[n] = (struct iovec){ .iov_base = (uint8_t *)p->iov[i].iov_base + done, .iov_len = p->iov[i].iov_len - done };
		done = 0;
	}
	return n;
}

static void zero_rest(const struct pieces *p, size_t done)
{
	for (unsigned i = 0; i < p->n; i++) {
		size_t skip = done < p->iov[i].iov_len ? done : p->iov[i].iov_len;

		memset((uint8_t *)p->iov[i].iov_base + skip, 0, p->iov[i].iov_len - skip);
		done -= skip;
	}
}

/* Reads or writes all of the n bytes at `off`.  0, -errno, or where the file ends before them END_OF_FILE. */
static int transfer(const struct blk *b, bool write, const struct pieces *p, size_t n, uint64_t off, int flags)
{
	struct iovec iov[CALL_PIECES];

	for (size_t done = 0; done < n;) {
		unsigned left = rest(p, done, iov);
		ssize_t moved = write ? pwritev2(b->fd, iov, left, off + done, flags) : preadv2(b->fd, iov, left, off + done, flags);

		if (moved < 0 && errno == EINTR)
			continue;
		if (moved < 0)
			return -errno;
		if (!moved) {
			zero_rest(p, done);
			return END_OF_FILE;
		}
		done += moved;
	}
	return 0;
}

static bool aligned(const struct blk *b, const struct blk_io *io, const struct pieces *p)
{
	uint64_t bits = io->off | io->n;

	for (unsigned i = 0; b->align > 1 && i < p->n; i++)
		bits |= (uintptr_t)p->iov[i].iov_base | p->iov[i].iov_len;
	return !(bits & (b->align - 1));
}

/* Between the pieces and one buffer. */
static void gather(const struct pieces *p, uint8_t *to, bool back)
{
	for (unsigned i = 0; i < p->n; to += p->iov[i++].iov_len)
		if (back)
			memcpy(p->iov[i].iov_base, to, p->iov[i].iov_len);
		else
			memcpy(to, p->iov[i].iov_base, p->iov[i].iov_len);
}

/* O_DIRECT at a finer grain than the device has: whole blocks through a buffer of our own. */
static int bounce(struct blk *b, struct blk_io *io, const struct pieces *p)
{
	uint64_t first = io->off & ~(uint64_t)(b->align - 1);
	size_t skip = io->off - first, n = (skip + io->n + b->align - 1) & ~(size_t)(b->align - 1);
	uint8_t *buffer = aligned_alloc(b->align, n);
	struct iovec iov = { .iov_base = buffer, .iov_len = n };
	struct pieces whole = { .iov = &iov, .n = 1 };
	int error;

	if (!buffer)
		return -ENOMEM;
	pthread_mutex_lock(&b->whole);
	error = transfer(b, false, &whole, n, first, 0);
	if (error == END_OF_FILE && first + n > b->size)
		error = 0;	/* the last block is only partly the image's */
	if (!error && io->op == BLK_WRITE) {
		gather(p, buffer + skip, false);
		error = transfer(b, true, &whole, n, first, io->sync ? RWF_DSYNC : 0);
	}
	pthread_mutex_unlock(&b->whole);
	if (!error && io->op == BLK_READ)
		gather(p, buffer + skip, true);
	free(buffer);
	return error;
}

static int move(struct blk *b, struct blk_io *io)
{
	struct pieces p;

	pieces_of(io, &p);
	if (!aligned(b, io, &p))
		return bounce(b, io, &p);
	return transfer(b, io->op == BLK_WRITE, &p, io->n, io->off, io->op == BLK_WRITE && io->sync ? RWF_DSYNC : 0);
}

/* Not every file system and device can: then -EOPNOTSUPP. */
static int punch(const struct blk *b, enum blk_op op, uint64_t off, uint64_t n)
{
	uint64_t range[2] = { off, n };
	int error;

	if (b->device)
		error = ioctl(b->fd, op == BLK_DISCARD ? BLKDISCARD : BLKZEROOUT, range);
	else if (op == BLK_ZERO)
		error = fallocate(b->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, off, n);
	else
		error = fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, n);
	if (!error)
		return 0;
	return errno == ENOTTY || errno == EINVAL || errno == ENOSYS ? -EOPNOTSUPP : -errno;
}

static int write_zeros(struct blk *b, struct blk_io *io)
{
	enum { STEP = 1 << 20 };
	uint8_t *zeros = aligned_alloc(MAX_ALIGN, STEP);
	int error = zeros ? 0 : -ENOMEM;

	if (zeros)
		memset(zeros, 0, STEP);
	for (uint64_t done = 0; done < io->n && !error;) {
		struct blk_io part = { .blk = b, .op = BLK_WRITE, .off = io->off + done, .buf = zeros, .n = STEP };

		if (part.n > io->n - done)
			part.n = io->n - done;
		error = move(b, &part);
		done += part.n;
	}
	free(zeros);
	return error;
}

/* A discard that cannot be is none; zeros must be. */
static int discard(struct blk *b, struct blk_io *io)
{
	int error = io->n ? punch(b, io->op, io->off, io->n) : 0;

	if (error == -EOPNOTSUPP)
		error = io->op == BLK_DISCARD ? 0 : write_zeros(b, io);
	if (!error && io->sync && fdatasync(b->fd))
		error = -errno;
	return error;
}

/* On a worker: may block. */
static void perform(struct blk_io *io)
{
	struct blk *b = io->blk;

	switch (io->op) {
	case BLK_READ: case BLK_WRITE:
		io->error = move(b, io);
		break;
	case BLK_FLUSH:
		io->error = fdatasync(b->fd) ? -errno : 0;
		break;
	default:
		io->error = discard(b, io);
	}
}

/*
 * On the loop's thread: true when the operation has ended without blocking.
 * Part of it may be done when this returns false: doing all of it again is
 * harmless.  What copies for long is no less in the way than what blocks.
 */
static bool try_inline(struct blk_io *io)
{
	struct blk *b = io->blk;
	bool write = io->op == BLK_WRITE;
	struct pieces p;
	ssize_t done;

	if (io->op > BLK_WRITE || io->n > INLINE_MAX || (write && io->sync))
		return false;
	pieces_of(io, &p);
	if (b->memory) {
		io->error = transfer(b, write, &p, io->n, io->off, 0);
		return true;
	}
	if (!(write ? b->try_write : b->try_read) || p.n > CALL_PIECES)
		return false;
	done = write ? pwritev2(b->fd, p.iov, p.n, io->off, RWF_NOWAIT) : preadv2(b->fd, p.iov, p.n, io->off, RWF_NOWAIT);
	if (done == (ssize_t)io->n) {
		io->error = 0;
		return true;
	}
	if (done < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS))
		*(write ? &b->try_write : &b->try_read) = false;
	return false;
}

/* ---- workers */

static struct blk_io *pop(struct blk_io **head, struct blk_io ***tail)
{
	struct blk_io *io = *head;

	if (!io)
		return NULL;
	*head = io->next;
	if (!*head)
		*tail = head;
	io->next = NULL;
	return io;
}

static void push(struct blk_io ***tail, struct blk_io *io)
{
	io->next = NULL;
	**tail = io;
	*tail = &io->next;
}

static void tell_loop(void)
{
	uint64_t one = 1;

	while (write(pool.eventfd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void *worker(void *arg)
{
	struct blk_io *io;

	(void)arg;
	pthread_mutex_lock(&pool.lock);
	for (;;) {
		while (!(io = pop(&pool.queue, &pool.queue_tail)) && !pool.stop)
			pthread_cond_wait(&pool.work, &pool.lock);
		if (!io)
			break;
		pthread_mutex_unlock(&pool.lock);
		perform(io);
		pthread_mutex_lock(&pool.lock);
		push(&pool.ended_tail, io);
		__atomic_store_n(&pool.nended, pool.nended + 1, __ATOMIC_RELEASE);
		tell_loop();
	}
	pthread_mutex_unlock(&pool.lock);
	return NULL;
}

/* Workers take no signals, which are the loop's, but the one that says what the sandbox stopped. */
static int start_workers(void)
{
	pthread_attr_t attr;
	sigset_t all, old;

	sigfillset(&all);
	sigdelset(&all, SIGSYS);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	while (pool.workers < WORKERS && !pthread_create(&pool.thread[pool.workers], &attr, worker, NULL))
		pool.workers++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return pool.workers ? 0 : -EAGAIN;
}

static int start_pool(void)
{
	if (pool.workers)
		return 0;
	pool.queue = pool.ended = NULL;
	pool.queue_tail = &pool.queue;
	pool.ended_tail = &pool.ended;
	pool.nended = 0;
	pool.stop = false;
	if (blk_eventfd() < 0)
		return -errno;
	return start_workers();
}

int blk_eventfd(void)
{
	if (pool.eventfd < 0)
		pool.eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return pool.eventfd < 0 ? -errno : pool.eventfd;
}

bool blk_start(struct blk_io *io)
{
	const struct blk *b = io->blk;

	io->error = 0;
	if (io->op != BLK_FLUSH && (io->off > b->size || io->n > b->size - io->off))
		io->error = -EINVAL;
	else if (io->op != BLK_READ && io->op != BLK_FLUSH && b->readonly)
		io->error = -EROFS;
	if (io->error || try_inline(io))
		return true;
	pthread_mutex_lock(&pool.lock);
	push(&pool.queue_tail, io);
	pthread_cond_signal(&pool.work);
	pthread_mutex_unlock(&pool.lock);
	return false;
}

/*
 * The eventfd is reset before the list is found empty: what ends after that sets
 * it again.  It is written under the lock, so it is set for certain once an
 * operation has been taken from the list, and only then; asking while nothing
 * has ended costs no system call.
 */
struct blk_io *blk_reap(void)
{
	struct blk_io *io;
	uint64_t count;

	if (!__atomic_load_n(&pool.nended, __ATOMIC_ACQUIRE)) {
		if (!pool.reset_due)
			return NULL;
		pool.reset_due = false;
		if (read(pool.eventfd, &count, sizeof(count)) < 0)
			return NULL;
	}
	pthread_mutex_lock(&pool.lock);
	io = pop(&pool.ended, &pool.ended_tail);
	if (io) {
		__atomic_store_n(&pool.nended, pool.nended - 1, __ATOMIC_RELEASE);
		pool.reset_due = true;
	}
	pthread_mutex_unlock(&pool.lock);
	return io;
}

void blk_shutdown(void)
{
	pthread_mutex_lock(&pool.lock);
	pool.stop = true;
	pthread_cond_broadcast(&pool.work);
	pthread_mutex_unlock(&pool.lock);
	while (pool.workers)
		pthread_join(pool.thread[--pool.workers], NULL);
	while (pool.images) {
		struct blk *b = pool.images;

		pool.images = b->next;
		close(b->fd);
		pthread_mutex_destroy(&b->whole);
		free(b);
	}
}

/* ---- images */

uint64_t blk_size(const struct blk *b)
{
	return b->size;
}

bool blk_readonly(const struct blk *b)
{
	return b->readonly;
}

/*
 * The lock belongs to the open file, which the engine shares: it outlives this
 * process and is taken again by a successor without a conflict.
 */
static bool lock_image(int fd, bool readonly)
{
	struct flock lock = { .l_type = readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

	return !fcntl(fd, F_OFD_SETLK, &lock) || (errno != EAGAIN && errno != EACCES);
}

static const char *image_size(int fd, uint64_t *size, bool *device)
{
	struct stat st;

	if (fstat(fd, &st))
		return strerror(errno);
	*device = S_ISBLK(st.st_mode);
	if (*device) {
		if (ioctl(fd, BLKGETSIZE64, size))
			return strerror(errno);
	} else if (S_ISREG(st.st_mode)) {
		*size = st.st_size;
	} else {
		return "the image is neither a file nor a block device";
	}
	if (*size % SECTOR_BYTES)
		return "the size is not a multiple of 512 bytes: is this a raw image? (truncate -s %512 FILE pads one)";
	return NULL;
}

const char *blk_resized(struct blk *b)
{
	uint64_t size;
	const char *why = image_size(b->fd, &size, &b->device);

	if (!why)
		b->size = size;
	return why;
}

/* Granularity of O_DIRECT: what the file says, else the block device, else a page. */
static uint32_t direct_align(int fd)
{
	uint32_t align = 4096;
	int sector;
#ifdef STATX_DIOALIGN
	struct statx sx;

	if (!statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) && (sx.stx_mask & STATX_DIOALIGN) && sx.stx_dio_offset_align)
		align = sx.stx_dio_offset_align > sx.stx_dio_mem_align ? sx.stx_dio_offset_align : sx.stx_dio_mem_align;
	else
#endif
	if (!ioctl(fd, BLKSSZGET, &sector) && sector > 0)
		align = sector;
	return align && align <= MAX_ALIGN && !(align & (align - 1)) ? align : 4096;
}

static void choose_ways(struct blk *b, int flags)
{
	bool waits = flags & (O_DIRECT | O_DSYNC | O_SYNC);
	struct statfs fs;

	b->align = flags & O_DIRECT ? direct_align(b->fd) : 1;
	b->memory = !waits && !fstatfs(b->fd, &fs) && fs.f_type == TMPFS_MAGIC;
	b->try_read = !(flags & O_DIRECT);
	b->try_write = !waits;
}

struct blk *blk_new(int fd, const char **error)
{
	int flags = fcntl(fd, F_GETFL);
	struct blk *b;
	uint64_t size;
	bool device;

	if (flags < 0) {
		*error = strerror(errno);
		return NULL;
	}
	*error = image_size(fd, &size, &device);
	if (*error)
		return NULL;
	if (!lock_image(fd, (flags & O_ACCMODE) == O_RDONLY)) {
		*error = "the image is in use by another process: stop that one, or add ro to both";
		return NULL;
	}
	b = calloc(1, sizeof(*b));
	if (!b || start_pool()) {
		*error = "no memory or no threads for disk images";
		free(b);
		return NULL;
	}
	b->fd = fd;
	b->size = size;
	b->device = device;
	b->readonly = (flags & O_ACCMODE) == O_RDONLY;
	pthread_mutex_init(&b->whole, NULL);
	choose_ways(b, flags);
	b->next = pool.images;
	pool.images = b;
	return b;
}
