/*
 * kernels.c - what processors do all day, in pieces that can be timed.
 *
 * The same static program runs natively and in a guest, for plain x86-64, so
 * that one against the other is the machine's slow-down and nothing else.  A
 * unit of a kernel is a fixed piece of work whose checksum is known only to
 * the program: a runner compares the guest's with the native one.
 *
 *	kernels			list the kernels, one a line
 *	kernels NAME UNITS	run one
 *	kernels -		commands `NAME UNITS` from standard input, `quit` ends
 *
 * A run is a unit of warm-up, then a line `begin NAME` and, when UNITS are done,
 * `end NAME UNITS CHECKSUM NANOSECONDS CPU-NANOSECONDS`, by the guest's own clock:
 * who does not trust that one takes the time between the two lines.
 */
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <emmintrin.h>

static uint64_t fnv(uint64_t hash, uint64_t v)
{
	return (hash ^ v) * 0x100000001b3;
}

static uint64_t random64(void)
{
	static uint64_t s = 88172645463325252u;

	s ^= s << 13;
	s ^= s >> 7;
	return s ^= s << 17;
}

/* ---- integer */

static uint64_t sieve(void)
{
	enum { N = 1000000 };
	static uint8_t composite[N];
	uint64_t primes = 0;

	memset(composite, 0, N);
	for (uint32_t i = 2; i < N; i++) {
		if (composite[i])
			continue;
		primes = fnv(primes, i);
		for (uint64_t j = (uint64_t)i * i; j < N; j += i)
			composite[j] = 1;
	}
	return primes;
}

static uint32_t ror(uint32_t v, unsigned n)
{
	return v >> n | v << (32 - n);
}

/* The first 32 bits of the fraction of a root of the n-th prime: FIPS 180-4 wants them, and nobody wants to read them. */
static void roots(uint32_t *out, unsigned count, bool cube)
{
	unsigned n = 0;

	for (unsigned p = 2; n < count; p++) {
		bool prime = true;
		long double root;

		for (unsigned d = 2; d * d <= p; d++)
			prime &= p % d != 0;
		if (!prime)
			continue;
		root = cube ? cbrtl(p) : sqrtl(p);
		out[n++] = (uint32_t)((root - (uint64_t)root) * 4294967296.0L);
	}
}

static void sha256_block(uint32_t h[8], const uint32_t k[64], const uint8_t *data)
{
	uint32_t w[64], v[8];

	for (unsigned i = 0; i < 16; i++)
		w[i] = (uint32_t)data[4 * i] << 24 | data[4 * i + 1] << 16 | data[4 * i + 2] << 8 | data[4 * i + 3];
	for (unsigned i = 16; i < 64; i++)
		w[i] = w[i - 16] + (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3)
			+ w[i - 7] + (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(v, h, sizeof(v));
	for (unsigned i = 0; i < 64; i++) {
		uint32_t t = v[7] + (ror(v[4], 6) ^ ror(v[4], 11) ^ ror(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
		uint32_t u = (ror(v[0], 2) ^ ror(v[0], 13) ^ ror(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));

		memmove(v + 1, v, 7 * sizeof(v[0]));
		v[4] += t;
		v[0] = t + u;
	}
	for (unsigned i = 0; i < 8; i++)
		h[i] += v[i];
}

static uint64_t sha256(void)
{
	static uint8_t data[256 << 10];
	static uint32_t k[64], start[8];
	uint32_t h[8];
	uint64_t sum = 0;

	if (!k[0]) {
		roots(start, 8, false);
		roots(k, 64, true);
		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = i * 7;
	}
	memcpy(h, start, sizeof(h));
	for (size_t at = 0; at < sizeof(data); at += 64)
		sha256_block(h, k, data + at);
	for (unsigned i = 0; i < 8; i++)
		sum = fnv(sum, h[i]);
	return sum;
}

/* Calls, returns and the stack; the barrier keeps the compiler from unrolling the recursion. */
static __attribute__((noinline, noclone)) unsigned fibonacci(unsigned n)
{
	__asm__ volatile("" : "+r"(n));
	if (n < 2)
		return n;
	return fibonacci(n - 1) + fibonacci(n - 2);
}

static uint64_t calls(void)
{
	return fibonacci(30);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Branches that nobody foresees, calls by pointer. */
static uint64_t sort(void)
{
	enum { N = 20000 };
	static uint32_t v[N];
	uint32_t x = 1;
	uint64_t sum = 0;

	for (unsigned i = 0; i < N; i++)
		v[i] = x = x * 1664525 + 1013904223;
	qsort(v, N, sizeof(v[0]), compare);
	for (unsigned i = 0; i < N; i += 100)
		sum = fnv(sum, v[i]);
	return sum;
}

/* ---- memory */

enum { COPY_BYTES = 256 << 10, ROUNDS = 600 };
static uint8_t from_[COPY_BYTES] __attribute__((aligned(64))), to_[COPY_BYTES] __attribute__((aligned(64)));

static uint64_t copied(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < COPY_BYTES; i += 4093)
		sum = fnv(sum, to_[i]);
	return sum;
}

static void fill_source(void)
{
	if (!from_[1])
		for (unsigned i = 0; i < COPY_BYTES; i++)
			from_[i] = i * 13 + 1;
}

/* By 16 bytes, as a C library's does on a processor of this level. */
static uint64_t copy(void)
{
	fill_source();
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < COPY_BYTES; i += 64) {
			const __m128i *s = (const __m128i *)(from_ + i);
			__m128i *d = (__m128i *)(to_ + i);
			__m128i a = _mm_load_si128(s), b = _mm_load_si128(s + 1), c = _mm_load_si128(s + 2), e = _mm_load_si128(s + 3);

			_mm_store_si128(d, a);
			_mm_store_si128(d + 1, b);
			_mm_store_si128(d + 2, c);
			_mm_store_si128(d + 3, e);
			__asm__ volatile("" ::: "memory");
		}
	return copied();
}

static uint64_t movsb(void)
{
	fill_source();
	for (unsigned round = 0; round < ROUNDS; round++) {
		void *s = from_, *d = to_;
		size_t n = COPY_BYTES;

		__asm__ volatile("rep movsb" : "+S"(s), "+D"(d), "+c"(n) :: "memory");
	}
	return copied();
}

/* 16 MiB, of which each step touches another page. */
static uint64_t chase(void)
{
	enum { SLOTS = 1 << 18 };
	static struct { uint32_t next, pad[15]; } *slot;
	uint32_t at = 0;

	if (!slot) {
		slot = mmap(NULL, SLOTS * sizeof(*slot), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (slot == MAP_FAILED)
			abort();
		for (uint32_t i = 0; i < SLOTS; i++)
			slot[i].next = i;
		for (uint32_t i = SLOTS - 1; i; i--) {		/* one cycle: Sattolo's */
			uint32_t j = random64() % i, was = slot[i].next;

			slot[i].next = slot[j].next;
			slot[j].next = was;
		}
	}
	for (unsigned i = 0; i < 60000; i++)
		at = slot[at].next;
	return at;
}

/* ---- floating point: the same five bodies in both */

#define BODIES(real, name, root, steps)							\
struct body_##name { real p[3], v[3], mass; };							\
static uint64_t name(void)									\
{												\
	struct body_##name b[5];								\
	uint64_t sum = 0;									\
												\
	for (int i = 0; i < 5; i++)								\
		b[i] = (struct body_##name){ { i * 3 - 4, i * i - 5, 2 - i }, { i - 2, 1 - i, i * i / 4 }, 5 - i };	\
	for (unsigned step = 0; step < steps; step++) {						\
		for (int i = 0; i < 5; i++)							\
			for (int j = i + 1; j < 5; j++) {					\
				real d[3], square = (real)0.01, pull;				\
												\
				for (int k = 0; k < 3; k++) {					\
					d[k] = b[i].p[k] - b[j].p[k];				\
					square += d[k] * d[k];					\
				}								\
				pull = (real)0.001 / (square * root(square));			\
				for (int k = 0; k < 3; k++) {					\
					b[i].v[k] -= d[k] * b[j].mass * pull;			\
					b[j].v[k] += d[k] * b[i].mass * pull;			\
				}								\
			}									\
		for (int i = 0; i < 5; i++)							\
			for (int k = 0; k < 3; k++)						\
				b[i].p[k] += (real)0.001 * b[i].v[k];				\
	}											\
	for (int i = 0; i < 5; i++)								\
		for (int k = 0; k < 3; k++)							\
			sum = fnv(sum, (int64_t)(b[i].p[k] * (real)1e12));			\
	return sum;										\
}

static double sqrt_sse(double v)
{
	__m128d x = _mm_set_sd(v);

	return _mm_cvtsd_f64(_mm_sqrt_sd(x, x));
}

static long double sqrt_x87(long double v)
{
	__asm__("fsqrt" : "+t"(v));
	return v;
}
BODIES(double, nbody, sqrt_sse, 40000)
BODIES(long double, x87, sqrt_x87, 6000)

/* ---- the kernel's part */

static uint64_t syscalls(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < 20000; i++)
		n += syscall(SYS_getppid) >= 0;
	return n;
}

/* A new address space each, with pages copied on write. */
static uint64_t forks(void)
{
	uint64_t sum = 0;

	fill_source();
	for (unsigned i = 0; i < 10; i++) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0) {
			for (unsigned at = 0; at < COPY_BYTES; at += 4096)
				from_[at]++;
			_exit(i);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			abort();
		sum = fnv(sum, WEXITSTATUS(status));
	}
	return sum;
}

/* Two processes take turns: a change of address space for each byte. */
static uint64_t switches(void)
{
	int ping[2], pong[2], status;
	uint64_t sum = 0;
	pid_t pid;

	if (pipe(ping) || pipe(pong))
		abort();
	pid = fork();
	if (pid == 0) {
		uint8_t c;

		close(ping[1]);
		while (read(ping[0], &c, 1) == 1 && (c++, write(pong[1], &c, 1)) == 1)
			;
		_exit(0);
	}
	for (unsigned i = 0; i < 500; i++) {
		uint8_t c = i;

		if (pid < 0 || write(ping[1], &c, 1) != 1 || read(pong[0], &c, 1) != 1)
			abort();
		sum = fnv(sum, c);
	}
	close(ping[0]), close(ping[1]), close(pong[0]), close(pong[1]);
	waitpid(pid, &status, 0);
	return sum;
}

static const struct kernel {
	const char *name;
	uint64_t (*unit)(void);
} kernels[] = {
	{ "sieve", sieve }, { "sha256", sha256 }, { "calls", calls }, { "sort", sort },
	{ "memcpy", copy }, { "rep-movsb", movsb }, { "chase", chase },
	{ "n-body-sse2", nbody }, { "n-body-x87", x87 },
	{ "syscall", syscalls }, { "fork", forks }, { "switch", switches },
};

/* ---- running them */

static void say(const char *line)
{
	if (write(1, line, strlen(line)) < 0)
		exit(1);
	tcdrain(1);		/* the line is out, where it is a serial one */
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t cpu_time(void)
{
	uint64_t us = 0;
	struct rusage r;

	for (int who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
		getrusage(who, &r);
		us += (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000ull + r.ru_utime.tv_usec + r.ru_stime.tv_usec;
	}
	return us * 1000;
}

static bool run(const char *name, unsigned units)
{
	const struct kernel *k = kernels, *end = kernels + sizeof(kernels) / sizeof(kernels[0]);
	uint64_t sum, was, began, cpu;
	char line[120];

	while (k < end && strcmp(k->name, name) != 0)
		k++;
	if (k == end)
		return false;
	sum = k->unit();
	snprintf(line, sizeof(line), "begin %s\n", name);
	say(line);
	cpu = cpu_time();
	began = now();
	for (unsigned i = 0; i < units; i++) {
		was = sum;
		sum = k->unit();
		if (sum != was) {
			snprintf(line, sizeof(line), "wrong %s %llx\n", name, (unsigned long long)sum);
			say(line);
		}
	}
	began = now() - began;
	cpu = cpu_time() - cpu;
	snprintf(line, sizeof(line), "end %s %u %llx %llu %llu\n", name, units, (unsigned long long)sum,
		 (unsigned long long)began, (unsigned long long)cpu);
	say(line);
	return true;
}

static void commands(void)
{
	struct termios t;
	char line[80], name[40];
	unsigned units;

	if (tcgetattr(0, &t) == 0) {
		t.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(0, TCSANOW, &t);
	}
	say("ready\n");
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "quit\n") != 0) {
		if (sscanf(line, "%39s %u", name, &units) != 2 || !run(name, units))
			say("what?\n");
		say("ready\n");
	}
}

int main(int argc, char **argv)
{
	if (argc == 1)
		for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++)
			puts(kernels[i].name);
	else if (argc == 2 && strcmp(argv[1], "-") == 0)
		commands();
	else if (argc != 3 || !run(argv[1], atoi(argv[2])))
		return 2;
	return 0;
}
