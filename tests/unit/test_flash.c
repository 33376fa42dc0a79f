/*
 * Flash: what commands do and what reads show, mapping events, programming and
 * erasing, the file behind it, wrong sequences, and its owner's sudden death.
 */
#include "tests/unit/coretest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/stutter.h"

enum { BLOCK = 4096, BYTES = 8 * BLOCK, BUFFER = 64 };
enum { ARRAY = 0xff, STATUS = 0x70, CLEAR = 0x50, ID = 0x90, QUERY = 0x98, PROGRAM = 0x10, PROGRAM2 = 0x40, ERASE = 0x20, CONFIRM = 0xd0,
       TO_BUFFER = 0xe8, LOCK = 0x60 };
enum { READY = 0x80, ERASE_ERROR = 0x20, PROGRAM_ERROR = 0x10, SEQUENCE = 0x30 };
#define BASE 0xffc00000ull

static const struct conf_dev volatile_flash[] = { { .model = "flash" } };

static struct harness *make(const struct conf_dev *dev, bool may_fail)
{
	return harness_new(&(struct harness_conf){ .dev = dev, .ndevs = 1, .flash_base = BASE, .flash_bytes = BYTES, .may_fail = may_fail });
}

static int setup(void **state)
{
	*state = make(volatile_flash, false);
	return 0;
}

/* A file whose byte k is k % 251. */
static int file(size_t n)
{
	int fd = memfd_create("vars", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint8_t *b = malloc(n);

	for (size_t i = 0; i < n; i++)
		b[i] = i % 251;
	assert_int_equal(write(fd, b, n), (ssize_t)n);
	free(b);
	return fd;
}

static struct harness *with_file(int fd, bool may_fail)
{
	const struct conf_key key[] = { KEY_DISK("vars", fd) };
	const struct conf_dev dev[] = { { .model = "flash", .nkeys = 1, .key = key } };
	static struct conf_key k;
	static struct conf_dev d;

	k = key[0];
	d = dev[0];
	d.key = &k;
	return make(&d, may_fail);
}

static uint8_t file_byte(int fd, unsigned off)
{
	uint8_t b = 0;

	assert_int_equal(pread(fd, &b, 1, off), 1);
	return b;
}

static uint8_t *array(struct harness *h)
{
	return harness_machine(h)->flash;
}

static void out(struct harness *h, unsigned off, uint8_t value)
{
	h_write(h, BASE + off, 1, value);
}

static uint8_t in(struct harness *h, unsigned off)
{
	return h_read(h, BASE + off, 1);
}

/* The slot's last state: hidden, or the engine's memory again; false: nothing was said. */
static bool told(struct harness *h, bool *hidden)
{
	struct link_event ev;
	bool any = false;

	while (h_event_of(h, LINK_EV_MEMMAP, &ev)) {
		assert_int_equal(ev.addr, BASE);
		assert_int_equal(ev.a, LINK_MAP_NONE);
		assert_true(ev.value == 0 || ev.value == BYTES);
		*hidden = ev.value;
		any = true;
	}
	return any;
}

static void says(struct harness *h, bool want)
{
	bool hidden = !want;

	assert_true(told(h, &hidden));
	assert_int_equal(hidden, want);
}

/* Nothing, or once more what is known: a successor repeats it. */
static void says_no_more(struct harness *h, bool known)
{
	bool hidden = known;

	told(h, &hidden);
	assert_int_equal(hidden, known);
}

static void program(struct harness *h, unsigned off, uint8_t value)
{
	out(h, off, PROGRAM);
	out(h, off, value);
}

static void erase(struct harness *h, unsigned off)
{
	out(h, off, ERASE);
	out(h, off, CONFIRM);
}

/* OVMF's way to find out what it has to do with. */
static void as_ovmf_probes(void **state)
{
	struct harness *h = *state;
	uint32_t len, flags;

	assert_true(h_region(h, true, BASE, &len, &flags));
	assert_int_equal(len, BYTES);
	assert_false(flags & (LINK_RGN_POSTED | LINK_RGN_BATCH));
	h_drop_events(h);
	array(h)[3] = 0x28;
	assert_int_equal(in(h, 3), 0x28);
	out(h, 3, CLEAR);
	assert_int_equal(in(h, 3), 0x28);	/* not RAM */
	says_no_more(h, false);
	out(h, 3, STATUS);
	says(h, true);
	assert_int_equal(in(h, 3), 0);		/* flash */
	out(h, 3, ARRAY);
	says(h, false);
	assert_int_equal(in(h, 3), 0x28);
	assert_int_equal(array(h)[3], 0x28);
}

static void views(void **state)
{
	struct harness *h = *state;

	h_drop_events(h);
	assert_int_equal(in(h, 0), 0xff);
	out(h, 0, ID);
	says(h, true);
	assert_int_equal(in(h, 0), 0x89);
	assert_int_equal(in(h, 1), 0x18);
	assert_int_equal(in(h, 2), 0);
	assert_int_equal(in(h, BLOCK + 1), 0x18);
	out(h, 0x55, QUERY);
	says_no_more(h, true);
	assert_int_equal(in(h, 0x10), 'Q');
	assert_int_equal(h_read(h, BASE + 0x10, 4), 0x01595251);
	assert_int_equal(in(h, 0x27), 15);		/* 32 KiB */
	assert_int_equal(1u << in(h, 0x2a), BUFFER);
	assert_int_equal(in(h, 0x2c), 1);
	assert_int_equal(h_read(h, BASE + 0x2d, 4), 16 << 16 | (BYTES / BLOCK - 1));
	assert_int_equal(in(h, in(h, 0x15)), 'P');
	assert_int_equal(in(h, 0xff), 0);
	assert_int_equal(in(h, BYTES - 1), 0);
	out(h, 0, STATUS);
	assert_int_equal(in(h, 7), READY);
	assert_int_equal(h_read(h, BASE + 8, 4), 0x80808080);
	out(h, 0, 0x5a);			/* no command of ours */
	says(h, false);
	assert_int_equal(in(h, 0), 0xff);
}

static void programs(void **state)
{
	struct harness *h = *state;

	program(h, 5, 0x3c);
	assert_int_equal(array(h)[5], 0x3c);
	assert_int_equal(in(h, 5), READY);
	out(h, 5, PROGRAM2);
	out(h, 5, 0x0f);
	assert_int_equal(array(h)[5], 0x0c);	/* bits go to 0 only */
	out(h, 0, ARRAY);
	assert_int_equal(in(h, 4), 0xff);
	assert_int_equal(in(h, 5), 0x0c);
	assert_int_equal(in(h, 6), 0xff);
	/* wider: all of its bytes */
	out(h, 0x100, PROGRAM);
	h_write(h, BASE + 0x100, 4, 0x44332211);
	assert_int_equal(array(h)[0x100], 0x11);
	assert_int_equal(array(h)[0x103], 0x44);
	assert_int_equal(array(h)[0x104], 0xff);
	/* a datum that looks like a command */
	program(h, 9, ERASE);
	assert_int_equal(array(h)[9], ERASE);
	out(h, 9, ARRAY);
	assert_int_equal(in(h, 9), ERASE);
}

static void erases(void **state)
{
	struct harness *h = *state;

	memset(array(h), 0x11, BYTES);
	erase(h, 2 * BLOCK + 77);
	assert_int_equal(in(h, 0), READY);
	for (unsigned i = 0; i < BYTES; i++)
		assert_int_equal(array(h)[i], i / BLOCK == 2 ? 0xff : 0x11);
	erase(h, BYTES - 1);
	assert_int_equal(array(h)[BYTES - BLOCK], 0xff);
	/* not confirmed: nothing happens, and the status says so until it is cleared */
	out(h, 0, ERASE);
	out(h, 0, ARRAY);
	assert_int_equal(array(h)[0], 0x11);
	assert_int_equal(in(h, 0), READY | SEQUENCE);
	erase(h, 0);
	assert_int_equal(in(h, 0), READY | SEQUENCE);
	assert_int_equal(array(h)[0], 0xff);
	out(h, 0, CLEAR);
	assert_int_equal(in(h, 0), 0);
}

static void writes_to_buffer(void **state)
{
	struct harness *h = *state;

	out(h, 0x80, TO_BUFFER);
	assert_true(in(h, 0x80) & READY);
	out(h, 0x80, 5);			/* six bytes, in any order */
	out(h, 0x85, 1);
	out(h, 0x81, 2);
	h_write(h, BASE + 0x90, 4, 0x06050403);
	assert_int_equal(array(h)[0x85], 0xff);	/* not before it is confirmed */
	out(h, 0x80, CONFIRM);
	assert_int_equal(array(h)[0x80], 0xff);
	assert_int_equal(array(h)[0x81], 2);
	assert_int_equal(array(h)[0x85], 1);
	assert_int_equal(array(h)[0x93], 6);
	assert_int_equal(in(h, 0), READY);
	/* a whole one */
	out(h, 0xc0, TO_BUFFER);
	out(h, 0xc0, BUFFER - 1);
	for (unsigned i = 0; i < BUFFER; i++)
		out(h, 0xc0 + i, i);
	out(h, 0xc0, CONFIRM);
	assert_int_equal(array(h)[0xff], 63);
	assert_int_equal(in(h, 0), READY);
}

static void wrong_sequences(void **state)
{
	struct harness *h = *state;

	out(h, 0, TO_BUFFER);
	out(h, 0, BUFFER);			/* too many */
	assert_int_equal(in(h, 0), READY | SEQUENCE);
	out(h, 0, CLEAR);
	out(h, 0, TO_BUFFER);
	out(h, 0, 1);
	out(h, 0, 0);
	out(h, BUFFER, 0);			/* beyond the buffer */
	assert_int_equal(in(h, 0), READY | SEQUENCE);
	out(h, 0, CLEAR);
	out(h, 0, TO_BUFFER);
	out(h, 0, 1);
	out(h, BUFFER, 0);
	out(h, 0, 0);				/* before it */
	assert_int_equal(in(h, 0), READY | SEQUENCE);
	out(h, 0, CLEAR);
	out(h, 0, TO_BUFFER);
	out(h, 0, 1);
	h_write(h, BASE, 4, 0);			/* more than was said */
	assert_int_equal(in(h, 0), READY | SEQUENCE);
	out(h, 0, CLEAR);
	out(h, 0, TO_BUFFER);
	out(h, 0, 0);
	out(h, BUFFER - 1, 0);
	out(h, 0, ARRAY);			/* not confirmed */
	assert_int_equal(in(h, 0), READY | SEQUENCE);
	out(h, 0, CLEAR);
	out(h, 0, TO_BUFFER);
	out(h, 0, 3);
	h_write(h, BASE + BUFFER - 2, 4, 0);	/* over its end */
	assert_int_equal(in(h, 0), READY | SEQUENCE);
	out(h, 0, CLEAR);
	out(h, 0, LOCK);
	out(h, 0, 0x33);
	assert_int_equal(in(h, 0), READY | SEQUENCE);
	out(h, 0, CLEAR);
	out(h, 0, LOCK);
	out(h, 0, CONFIRM);
	assert_int_equal(in(h, 0), READY);
	for (unsigned i = 0; i < BYTES; i++)
		assert_int_equal(array(h)[i], 0xff);
}

static void reset_in_the_middle(void **state)
{
	static const uint8_t begun[] = { PROGRAM, ERASE, TO_BUFFER, LOCK, ID, STATUS };
	struct harness *h = *state;

	program(h, 1, 0x42);
	for (unsigned i = 0; i < sizeof(begun); i++) {
		out(h, 0, begun[i]);
		h_drop_events(h);
		h_reset(h);
		says(h, false);
		assert_int_equal(in(h, 1), 0x42);	/* it is no RAM: it keeps its content */
		out(h, 0, CONFIRM);			/* a command, not the end of one */
		assert_int_equal(in(h, 0), READY);
	}
	h_reset(h);
	h_drop_events(h);
	h_reset(h);
	says_no_more(h, false);
}

static void keeps_a_file(void **state)
{
	int fd = file(BYTES);
	struct harness *h = with_file(fd, false);

	(void)state;
	assert_int_equal(in(h, 250), 250);
	assert_int_equal(in(h, BYTES - 1), (BYTES - 1) % 251);
	program(h, 0x77, 0x11);
	assert_int_equal(file_byte(fd, 0x77), 0x77 & 0x11);
	assert_int_equal(file_byte(fd, 0x78), 0x78);
	erase(h, BLOCK);
	assert_int_equal(file_byte(fd, BLOCK), 0xff);
	assert_int_equal(file_byte(fd, 2 * BLOCK - 1), 0xff);
	assert_int_equal(file_byte(fd, 2 * BLOCK), 2 * BLOCK % 251);
	harness_free(h);
	/* the next machine finds it */
	h = with_file(fd, false);
	assert_int_equal(in(h, 0x77), 0x11);
	assert_int_equal(in(h, BLOCK + 9), 0xff);
	harness_free(h);
	close(fd);
}

static void file_only_read(void **state)
{
	char path[40];
	int fd = file(BYTES), ro;
	struct harness *h;

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	h = with_file(ro, false);
	program(h, 0x77, 0);
	assert_int_equal(in(h, 0), READY);
	out(h, 0, ARRAY);
	assert_int_equal(in(h, 0x77), 0);
	assert_int_equal(file_byte(fd, 0x77), 0x77);
	harness_free(h);
	close(ro);
	close(fd);
}

/* What the file does not take the guest does not see either. */
static void file_that_fails(void **state)
{
	int fd = file(BYTES);
	struct harness *h = with_file(fd, false);

	(void)state;
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	program(h, 0x77, 0);
	assert_int_equal(in(h, 0), READY | PROGRAM_ERROR);
	assert_int_equal(array(h)[0x77], 0x77);
	out(h, 0, CLEAR);
	erase(h, 0);
	assert_int_equal(in(h, 0), READY | ERASE_ERROR);
	assert_int_equal(array(h)[0x77], 0x77);
	harness_free(h);
	close(fd);
}

static void refusals(void **state)
{
	int fd = file(BYTES - 1);
	const struct conf_key key = KEY_DISK("vars", fd);
	const struct conf_dev dev = { .model = "flash", .nkeys = 1, .key = &key };
	struct harness *h = with_file(fd, true);

	(void)state;
	assert_non_null(strstr(harness_error(h), "size"));
	harness_free(h);
	h = harness_new(&(struct harness_conf){ .dev = &dev, .ndevs = 1, .may_fail = true });
	assert_non_null(strstr(harness_error(h), "-l bootrom,CODE,VARS"));
	harness_free(h);
	h = harness_new(&(struct harness_conf){ .dev = volatile_flash, .ndevs = 1, .flash_base = BASE, .flash_bytes = BLOCK + 1, .may_fail = true });
	assert_non_null(strstr(harness_error(h), "whole blocks"));
	harness_free(h);
	/* a machine without one has nothing there */
	h = harness_new(WITH(volatile_flash));
	assert_int_equal(h_read(h, BASE, 1), 0xff);
	assert_true(h_unclaimed(h));
	h_reset(h);
	harness_free(h);
	close(fd);
}

static void damaged_state(void **state)
{
	struct harness *h = *state;
	struct dev *d = harness_dev(h, "flash");
	uint8_t s[128] = { 0 };

	assert_true(d->ops->state_size <= sizeof(s));
	memcpy(s, dev_state(d), d->ops->state_size);
	assert_int_equal(d->ops->check(d, s), 0);
	for (unsigned i = 0; i < 8; i++) {
		if (i == 2)
			continue;	/* the status, which may be anything */
		memcpy(s, dev_state(d), d->ops->state_size);
		s[i] = i == 4 ? 1 : 0xff;
		assert_int_equal(d->ops->check(d, s), -EINVAL);
	}
}

/* Undone and run again in every transaction: nobody can tell. */
static void dying_in_every_transaction(void **state)
{
	int fd = file(BYTES);
	struct harness *h = with_file(fd, false);

	(void)state;
	stutter(harness_dev(h, "flash"));
	h_drop_events(h);
	erase(h, 0);
	says(h, true);
	for (unsigned i = 0; i < 40; i++)
		program(h, i, i);
	out(h, 0x80, TO_BUFFER);
	out(h, 0x80, 2);
	for (unsigned i = 0; i < 3; i++)
		out(h, 0x80 + i, 0xa0 + i);
	out(h, 0x80, CONFIRM);
	assert_int_equal(in(h, 0), READY);
	out(h, 0, ARRAY);
	says(h, false);
	for (unsigned i = 0; i < BLOCK; i++) {
		uint8_t want = i < 40 ? i : i >= 0x80 && i < 0x83 ? 0xa0 + i - 0x80 : 0xff;

		assert_int_equal(in(h, i), want);
		assert_int_equal(file_byte(fd, i), want);
	}
	harness_free(h);
	stutter_none();
	close(fd);
}

/* ---- killed at any instant */

enum { ROUNDS = 40, WORD = 16 };

/*
 * A process that programs word after word, each byte by byte, and erases a block
 * when it comes to its start.  It tells by a byte when it has begun.
 */
static void program_for_ever(int fd, int begun)
{
	struct harness *h = with_file(fd, false);

	for (unsigned off = 0;; off = (off + 1) % BYTES) {
		if (off % BLOCK == 0)
			erase(h, off);
		program(h, off, off / WORD);
		if (off == BLOCK && write(begun, "", 1) != 1)
			_exit(1);
	}
}

/*
 * All of the machine dies: the file is as of a chip that lost power.  In each
 * block what is programmed ends at one place, and behind it all is FFh.
 */
static void killed_at_any_instant(void **state)
{
	unsigned inside = 0;

	(void)state;
	if (getenv("HARNESS_DEATHS"))
		skip();		/* it brings its own */
	srandom(1);
	for (unsigned round = 0; round < ROUNDS; round++) {
		int fd = file(BYTES), begun[2], status;
		uint8_t b[BYTES];
		unsigned blocks = 0;
		pid_t pid;

		assert_int_equal(pipe(begun), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (!pid)
			program_for_ever(fd, begun[1]);
		assert_int_equal(read(begun[0], b, 1), 1);
		usleep(random() % 3000);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(pread(fd, b, BYTES, 0), BYTES);
		for (unsigned block = 0; block < BYTES; block += BLOCK) {
			unsigned n = 0;

			if (b[block] == block % 251 && block >= BLOCK)	/* not reached yet */
				continue;
			while (n < BLOCK && b[block + n] == (uint8_t)((block + n) / WORD))
				n++;
			for (unsigned i = n; i < BLOCK; i++)
				assert_int_equal(b[block + i], 0xff);
			blocks += n < BLOCK;
		}
		assert_true(blocks <= 1);
		inside += blocks;
		close(begun[0]);
		close(begun[1]);
		close(fd);
	}
	assert_true(inside > 0);	/* else the rounds prove nothing */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(as_ovmf_probes), TEST(views), TEST(programs), TEST(erases), TEST(writes_to_buffer), TEST(wrong_sequences),
		TEST(reset_in_the_middle), TEST(damaged_state),
		cmocka_unit_test(keeps_a_file), cmocka_unit_test(file_only_read), cmocka_unit_test(file_that_fails),
		cmocka_unit_test(refusals), cmocka_unit_test(dying_in_every_transaction), cmocka_unit_test(killed_at_any_instant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
