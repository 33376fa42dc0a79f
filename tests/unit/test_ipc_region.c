/* tests/unit/test_ipc_region.c - the link's memory: what a daemon must refuse, and that nothing leaks when it does. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "ipc/region.h"

static const struct link_params params = { .nvcpus = 2, .code_pages = 100, .generation = 7 };

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void dup_fds(const struct link *l, int fd[LINK_FDS])
{
	for (int i = 0; i < LINK_FDS; i++)
		assert_true((fd[i] = dup(l->fd[i])) >= 0);
}

/* Opens what the engine made, expects `want`, and that a refusal names `word` and keeps no descriptor. */
static void expect_open(const struct link *e, int want, const char *word)
{
	unsigned before = open_fds();
	char err[LINK_ERR] = "";
	int fd[LINK_FDS];
	struct link d;

	dup_fds(e, fd);
	assert_int_equal(link_open(&d, fd, LINK_F_ALL, err), want);
	if (want) {
		assert_non_null(strstr(err, word));
		assert_null(d.header);
	}
	link_close(&d);
	assert_int_equal(open_fds(), before);
}

static struct link make(void)
{
	char err[LINK_ERR];
	struct link e;

	assert_int_equal(link_create(&e, &params, err), 0);
	return e;
}

static void test_round_trip(void **state)
{
	unsigned before = open_fds();
	char err[LINK_ERR];
	struct link e = make(), d;
	struct link_req r = { .seq = 1, .addr = 0x1f0, .count = 1 }, got;
	int fd[LINK_FDS];

	(void)state;
	dup_fds(&e, fd);
	assert_int_equal(link_open(&d, fd, LINK_F_BATCH | LINK_F_SHADOW, err), 0);
	assert_int_equal(d.nvcpus, 2);
	assert_int_equal(d.code_pages, 100);
	assert_int_equal(d.generation, 7);
	assert_int_equal(d.features, LINK_F_BATCH | LINK_F_SHADOW);
	assert_int_equal(link_accept(&e, err), 0);
	assert_int_equal(e.features, LINK_F_BATCH | LINK_F_SHADOW);
	assert_ptr_not_equal(e.header, d.header);
	for (unsigned n = 0; n <= 2; n++) {
		assert_int_equal(ring_push(&e.chan[n].req, &r), 0);
		assert_int_equal(ring_take(&d.chan[n].req, &got), 1);
		assert_memory_equal(&got, &r, offsetof(struct link_req, turn));
	}
	e.code[99] = 5;
	assert_int_equal(d.code[99], 5);
	link_close(&d);
	link_close(&e);
	link_close(&e);
	assert_int_equal(open_fds(), before);
}

/* The parts do not overlap, start where they must, and end with the file. */
static void test_layout(void **state)
{
	struct link_layout a;

	(void)state;
	for (uint32_t n = 1; n <= LINK_MAX_VCPUS; n++) {
		assert_int_equal(link_layout(n, 12345, &a), 0);
		assert_true(a.vcpus >= sizeof(struct link_header));
		assert_true(a.events >= a.vcpus + (n + 1) * sizeof(struct link_vcpu));
		assert_true(a.streams >= a.events + sizeof(struct link_events));
		assert_true(a.shadows >= a.streams + 2 * LINK_STREAMS * sizeof(struct link_stream));
		assert_true(a.doorbells >= a.shadows + LINK_SHADOWS * 8);
		assert_true(a.code >= a.doorbells + LINK_DOORBELLS * sizeof(struct link_doorbell));
		assert_true(a.size >= a.code + 12345);
		assert_int_equal((a.vcpus | a.events | a.streams | a.shadows | a.doorbells | a.code | a.size) % LINK_PAGE, 0);
	}
	assert_int_equal(link_layout(0, 1, &a), -EINVAL);
	assert_int_equal(link_layout(LINK_MAX_VCPUS + 1, 1, &a), -EINVAL);
	assert_int_equal(link_layout(1, 0, &a), -EINVAL);
	assert_int_equal(link_layout(1, LINK_MAX_CODE_PAGES + 1ull, &a), -EINVAL);
	assert_int_equal(link_layout(UINT32_MAX, UINT64_MAX, &a), -EINVAL);
}

static void test_bad_parameters(void **state)
{
	struct link_params p = params;
	char err[LINK_ERR];
	struct link e;

	(void)state;
	p.nvcpus = 65;
	assert_int_equal(link_create(&e, &p, err), -EINVAL);
	assert_non_null(strstr(err, "65"));
	p = params;
	p.features = 0x100;
	assert_int_equal(link_create(&e, &p, err), -EINVAL);
	assert_null(e.header);
}

static void test_header_lies(void **state)
{
	struct link e = make();
	struct link_header good;

	(void)state;
	memcpy(&good, e.header, sizeof(good));
	expect_open(&e, 0, "");
#define LIE(field, value, code, word) do { \
		memcpy(e.header, &good, sizeof(good)); \
		e.header->field = value; \
		expect_open(&e, code, word); \
	} while (0)
	LIE(magic, 0, -EPROTONOSUPPORT, "magic");
	LIE(abi, LINK_ABI + 1, -EPROTONOSUPPORT, "ABI");
	LIE(features, LINK_F_ALL | 0x80, -EOPNOTSUPP, "0x80");
	LIE(nvcpus, 0, -EINVAL, "vCPUs");
	LIE(nvcpus, 3, -EINVAL, "3 vCPUs");
	LIE(nvcpus, UINT32_MAX, -EINVAL, "vCPUs");
	LIE(code_pages, 0, -EINVAL, "pages");
	LIE(code_pages, 100000, -EINVAL, "100000");
	LIE(code_pages, UINT64_MAX, -EINVAL, "pages");
	LIE(size, good.size + LINK_PAGE, -EINVAL, "bytes");
	LIE(off_vcpus, good.off_vcpus + LINK_PAGE, -EINVAL, "places");
	LIE(off_events, 0, -EINVAL, "places");
	LIE(off_streams, UINT64_MAX, -EINVAL, "places");
	LIE(off_shadows, good.off_code, -EINVAL, "places");
	LIE(off_doorbells, 1, -EINVAL, "places");
	LIE(off_code, good.size, -EINVAL, "places");
#undef LIE
	link_close(&e);
}

/* The same bytes in a file of another kind, size or seal. */
static int copy_of(const struct link *e, unsigned flags, off_t size, int seals)
{
	int fd = memfd_create("copy", MFD_CLOEXEC | flags);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(pwrite(fd, e->header, sizeof(*e->header), 0), sizeof(*e->header));
	if (seals)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void with_memory(struct link *e, int fd, int want, const char *word)
{
	int own = e->fd[LINK_FD_MEMORY];

	e->fd[LINK_FD_MEMORY] = fd;
	expect_open(e, want, word);
	e->fd[LINK_FD_MEMORY] = own;
	close(fd);
}

static void test_seals(void **state)
{
	const int all = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	struct link e = make();
	off_t size = (off_t)e.size;

	(void)state;
	assert_int_equal(ftruncate(e.fd[LINK_FD_MEMORY], size / 2), -1);
	assert_int_equal(ftruncate(e.fd[LINK_FD_MEMORY], size * 2), -1);
	assert_int_equal(fcntl(e.fd[LINK_FD_MEMORY], F_ADD_SEALS, F_SEAL_WRITE), -1);
	with_memory(&e, copy_of(&e, MFD_ALLOW_SEALING, size, all), 0, "");
	with_memory(&e, copy_of(&e, MFD_ALLOW_SEALING, size, 0), -EPERM, "seals");
	with_memory(&e, copy_of(&e, MFD_ALLOW_SEALING, size, F_SEAL_SHRINK), -EPERM, "seals");
	with_memory(&e, copy_of(&e, MFD_ALLOW_SEALING, size, F_SEAL_GROW | F_SEAL_SEAL), -EPERM, "seals");
	with_memory(&e, copy_of(&e, 0, size, 0), -EPERM, "seals");	/* sealed against sealing only */
	with_memory(&e, copy_of(&e, MFD_ALLOW_SEALING, size - LINK_PAGE, all), -EINVAL, "bytes");
	with_memory(&e, copy_of(&e, MFD_ALLOW_SEALING, size + LINK_PAGE, all), -EINVAL, "bytes");
	link_close(&e);
}

static void test_no_memfd(void **state)
{
	struct link e = make();
	int fd = memfd_create("short", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)state;
	with_memory(&e, eventfd(0, EFD_CLOEXEC), -EPERM, "memfd");
	with_memory(&e, open("/dev/null", O_RDWR | O_CLOEXEC), -EPERM, "memfd");
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
	with_memory(&e, fd, -EINVAL, "shorter");
	link_close(&e);
}

static void test_hostile_answer(void **state)
{
	struct link_params p = params;
	char err[LINK_ERR];
	struct link e;

	(void)state;
	p.features = LINK_F_BATCH;
	assert_int_equal(link_create(&e, &p, err), 0);
	e.header->answer = LINK_F_BATCH | LINK_F_POSTED;
	assert_int_equal(link_accept(&e, err), -EPROTO);
	assert_non_null(strstr(err, "0x2"));
	assert_int_equal(e.features, LINK_F_BATCH);
	e.header->features = LINK_F_ALL;	/* the offer cannot be widened afterwards */
	assert_int_equal(link_accept(&e, err), -EPROTO);
	link_close(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_bad_parameters),
		cmocka_unit_test(test_header_lies),
		cmocka_unit_test(test_seals),
		cmocka_unit_test(test_no_memfd),
		cmocka_unit_test(test_hostile_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
