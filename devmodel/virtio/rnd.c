/*
 * devmodel/virtio/rnd.c - the entropy device (virtio 1.2, 5.4).
 *
 * One queue; every buffer comes back with bytes of the host's random number
 * generator, getrandom(2).  A buffer may be filled in part: one call asks for no
 * more than a page.
 *
 * A transaction that is undone and run again gives other bytes.  Nobody has seen
 * the first ones: a buffer is the driver's from the used index on.
 */
#include <sys/random.h>

#include "devmodel/virtio/virtio.h"

enum { MOST = 4096 };

/* getrandom() fails when interrupted, or before the host has any entropy: what has come then is what there is. */
static size_t randomness(uint8_t *to, size_t n)
{
	size_t done = 0;
	ssize_t got;

	while (done < n && (got = getrandom(to + done, n - done, GRND_NONBLOCK)) > 0)
		done += got;
	return done;
}

static void rnd_kicked(struct dev *d, unsigned queue)
{
	uint8_t bytes[MOST];
	struct virtq_chain c;

	while (virtq_take(d, queue, &c)) {
		size_t n = randomness(bytes, c.write_len < MOST ? c.write_len : MOST);

		virtq_give(d, queue, c.head, virtq_write(d, &c, 0, bytes, n));
	}
}

static const struct virtio_ops rnd_virtio = {
	.id = 4,
	.queues = 1,
	.queue_size = 64,
	.kicked = rnd_kicked,
};

static const struct pci_ops rnd_pci = VIRTIO_PCI(4, 0x00ff00);

static const struct dev_key rnd_keys[] = {
	{ 0 }
};

const struct dev_ops virtio_rnd_ops = {
	.name = "virtio-rnd",
	.summary = "virtio entropy: the host's random numbers",
	.keys = rnd_keys,
	.state_version = 1,
	VIRTIO_DEVICE(&rnd_virtio, &rnd_pci, 1, 0),
};
