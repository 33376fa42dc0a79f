/*
 * tests/fuzz/driver.c - a main() for fuzz targets where libFuzzer is not used.
 *
 * Owns the loop; knows of the target only LLVMFuzzerTestOneInput().  Runs, in
 * this order: every file named on the command line (a crash becomes a seed), the
 * target's own seeds where it has some, then a pseudo-random corpus: fresh
 * bytes, and mutations of what came before.
 *
 *	fuzz_x [-n iterations] [-s seed] [file ...]
 *	FUZZ_ITERATIONS, FUZZ_SEED do the same.
 *
 * The same seed makes the same run.  When the target crashes, the driver has
 * written the input to fuzz-crash-PID in the current directory.  `make fuzz`
 * defines CLEAVE_LIBFUZZER, and libFuzzer's main() takes the place of this one.
 */
#ifdef CLEAVE_LIBFUZZER
extern int fuzz_driver_is_left_out;	/* ISO C wants a declaration */
#else
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* A target may offer seeds: fills `buf`, returns the length, 0 after the last. */
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap) __attribute__((weak));

enum { MAX_INPUT = 4096, CORPUS = 64 };

struct input {
	size_t len;
	uint8_t bytes[MAX_INPUT];
};

static struct input corpus[CORPUS];
static unsigned ncorpus;
static struct input now;
static uint64_t rng_state;

static uint64_t rng(void)
{
	/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators" */
	rng_state ^= rng_state >> 12;
	rng_state ^= rng_state << 25;
	rng_state ^= rng_state >> 27;
	return rng_state * 0x2545f4914f6cdd1dull;
}

static void save(void)
{
	char name[32] = "fuzz-crash-";
	char digits[12];
	int n = 0, fd;
	size_t at = strlen(name);

	for (unsigned pid = (unsigned)getpid(); pid || !n; pid /= 10)
		digits[n++] = (char)('0' + pid % 10);
	while (n)
		name[at++] = digits[--n];
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd >= 0) {
		ssize_t w = write(fd, now.bytes, now.len);
		(void)w;
		close(fd);
	}
}

static void on_crash(int sig)
{
	save();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* A sanitizer reports by itself and then calls this; its own signal handlers stay. */
void __sanitizer_set_death_callback(void (*)(void)) __attribute__((weak));

static void on_report(void)
{
	save();
}

static void run(void)
{
	LLVMFuzzerTestOneInput(now.bytes, now.len);
}

static void keep(unsigned at)
{
	corpus[at] = now;
	if (at == ncorpus && ncorpus < CORPUS)
		ncorpus++;
}

/* Values at which arithmetic breaks. */
static uint64_t odd_value(void)
{
	static const uint64_t v[] = { 0, 1, 2, 4, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000,
				      0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000,
				      0xffffffffffffffff };

	return v[rng() % (sizeof(v) / sizeof(v[0]))];
}

static void mutate(void)
{
	for (unsigned n = 1 + rng() % 4; n; n--) {
		size_t at = now.len ? rng() % now.len : 0;
		size_t width = (size_t)1 << rng() % 4;
		uint64_t v = odd_value();

		switch (now.len ? rng() % 6 : 4) {
		case 0:
			now.bytes[at] ^= (uint8_t)(1u << rng() % 8);
			break;
		case 1:
			now.bytes[at] = (uint8_t)rng();
			break;
		case 2:
			at -= at % width;	/* a field, most likely */
			if (at + width <= now.len)
				memcpy(now.bytes + at, &v, width);
			break;
		case 3:
			now.bytes[at] = (uint8_t)(now.bytes[at] + (rng() & 1 ? 1 : -1));
			break;
		case 4:
			width = rng() % 64;
			if (now.len + width <= MAX_INPUT)
				while (width--)
					now.bytes[now.len++] = (uint8_t)rng();
			break;
		case 5:
			now.len = at;
			break;
		}
	}
}

static void fresh(void)
{
	now.len = rng() % (rng() % 8 ? 128 : MAX_INPUT);
	for (size_t i = 0; i < now.len; i++)
		now.bytes[i] = (uint8_t)rng();
}

static int run_file(const char *path)
{
	FILE *f = fopen(path, "rb");

	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	now.len = fread(now.bytes, 1, MAX_INPUT, f);
	fclose(f);
	run();
	keep(ncorpus < CORPUS ? ncorpus : 0);
	return 0;
}

static uint64_t setting(const char *env, uint64_t otherwise)
{
	const char *s = getenv(env);

	return s && *s ? strtoull(s, NULL, 0) : otherwise;
}

int main(int argc, char **argv)
{
	uint64_t iterations = setting("FUZZ_ITERATIONS", 20000), seed = setting("FUZZ_SEED", 1);
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM };
	const struct sigaction sa = { .sa_handler = on_crash, .sa_flags = SA_ONSTACK };
	int opt;

	while ((opt = getopt(argc, argv, "n:s:")) != -1) {
		if (opt == 'n')
			iterations = strtoull(optarg, NULL, 0);
		else if (opt == 's')
			seed = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	rng_state = seed * 0x9e3779b97f4a7c15ull | 1;
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(on_report);
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		if (!__sanitizer_set_death_callback || fatal[i] == SIGABRT || fatal[i] == SIGALRM)
			sigaction(fatal[i], &sa, NULL);

	for (int i = optind; i < argc; i++)
		if (run_file(argv[i]))
			return 1;
	for (unsigned i = 0; fuzz_seed && (now.len = fuzz_seed(i, now.bytes, MAX_INPUT)); i++) {
		run();
		keep(ncorpus < CORPUS ? ncorpus : i % CORPUS);
	}
	now.len = 0;
	run();

	for (uint64_t i = 0; i < iterations; i++) {
		if (!ncorpus || rng() % 4 == 0)
			fresh();
		else
			now = corpus[rng() % ncorpus];
		mutate();
		alarm(20);	/* one input may not hang */
		run();
		if (rng() % 16 == 0 && ncorpus < CORPUS)
			keep(ncorpus);
	}
	printf("%s: %llu inputs, seed %llu\n", argv[0], (unsigned long long)iterations, (unsigned long long)seed);
	return 0;
}
#endif
