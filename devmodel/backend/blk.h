/*
 * devmodel/backend/blk.h - raw disk images: files, threads, and nothing of
 * devices or the arena.
 *
 * device.h holds the devices' side.  blk_submit() and blk_busy() belong to the
 * transaction layer (they record the operation in the arena); once the
 * transaction has committed it hands the operation to blk_start() here, and
 * runs io_done() as a transaction of its own when the operation has ended.
 *
 *      blk_submit ── commit ──► blk_start ──┬── true: ended at once (page cache)
 *                                           └── false: a worker has it ──► eventfd ──► blk_reap
 *
 * A wake-up of another thread costs 60 to 100 us on a virtual host, so what
 * the page cache can serve without blocking is done on the caller's thread
 * (RWF_NOWAIT).  The rest goes to workers, which see a descriptor and a piece
 * of memory and nothing else.
 *
 * Writes end when the page cache has them (O_SYNC and O_DIRECT images: the
 * device); BLK_FLUSH is fdatasync() and covers every write that had ended when
 * it was started.  Operations in flight together run in any order.  A discard
 * where the file system has none does nothing; zeros are then written.
 *
 * After a crash of this process the successor starts again what the arena
 * lists as in flight: every operation is idempotent.
 */
#ifndef CLEAVE_DEVMODEL_BACKEND_BLK_H
#define CLEAVE_DEVMODEL_BACKEND_BLK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "devmodel/device.h"

/* One operation.  The caller owns it and the memory at `buf`, and leaves both alone until it has ended. */
struct blk_io {
	struct blk *blk;
	enum blk_op op;
	uint64_t off;		/* bytes, a multiple of 512 */
	void *buf;		/* NULL: `iov` has the pieces */
	size_t n;		/* likewise; ignored by BLK_FLUSH */
	struct iovec *iov;	/* niov of them, n bytes together */
	unsigned niov;
	bool sync;		/* a write, discard or zeroing is on stable storage when it ends */
	int error;		/* when ended: 0 or -errno */
	struct blk_io *next;	/* blk.c's own */
};

/*
 * The workers of this process, shared by all images: started with the first
 * image, so before a sandbox that forbids threads.  The eventfd is readable
 * while blk_reap() has something; -errno.
 */
int blk_eventfd(void);

/* Loop thread.  True: ended already, io->error is set.  False: blk_reap() will return it. */
bool blk_start(struct blk_io *io);

/* The next operation that has ended, or NULL; resets the eventfd. */
struct blk_io *blk_reap(void);

/* Waits for every operation to end (they are still to be reaped), stops the workers, closes the images. */
void blk_shutdown(void);

/*
 * An image over a descriptor, which it then owns.  NULL and *error (a sentence
 * naming cause and cure) where it is no file or block device, or not a whole
 * number of 512-byte sectors, or in use by another process.
 */
struct blk *blk_new(int fd, const char **error);

/* The file has another size now: looks, and blk_size() says so.  NULL, or why it stays as it was. */
const char *blk_resized(struct blk *);

#endif
