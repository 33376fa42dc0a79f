/*
 * vectors: computes with AVX2, FMA and F16C while signals interrupt it, and says
 * what came out.  Several at a time, so that the kernel keeps switching vector
 * registers; the same seed gives the same on every processor.  Silent where the
 * processor has not got these instructions.
 */
#include <immintrin.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#define V3 __attribute__((target("avx2,fma,f16c,bmi2")))

enum { N = 1024, ROUNDS = 3000 };

static uint32_t words[N] __attribute__((aligned(32)));
static float floats[N] __attribute__((aligned(32)));

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
	const uint8_t *b = p;

	while (n--)
		h = (h ^ *b++) * 0x100000001b3;
	return h;
}

/* Every register has been something else when this returns. */
static V3 void on_alarm(int sig)
{
	__m256i v[16];

	(void)sig;
	for (unsigned i = 0; i < 16; i++)
		v[i] = _mm256_set1_epi32((int)(i * 0x01010101));
	__asm__ volatile("vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n\tvpcmpeqd %%ymm5, %%ymm5, %%ymm5\n\tvpcmpeqd %%ymm11, %%ymm11, %%ymm11\n\t"
			 "vpxor %%ymm7, %%ymm7, %%ymm7\n\tvpxor %%ymm15, %%ymm15, %%ymm15"
			 :: "m"(v) : "ymm0", "ymm5", "ymm7", "ymm11", "ymm15");
}

static V3 void integers(void)
{
	__m256i a = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0), k = _mm256_set1_epi32(0x9e3779b1);

	for (unsigned i = 0; i < N; i += 8) {
		__m256i v = _mm256_load_si256((const __m256i *)(words + i));
		__m256i idx = _mm256_and_si256(v, _mm256_set1_epi32(N - 1));

		v = _mm256_add_epi32(v, _mm256_i32gather_epi32((const int *)words, idx, 4));
		v = _mm256_xor_si256(_mm256_mullo_epi32(v, k), _mm256_srlv_epi32(v, a));
		v = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(v, _mm256_set_epi64x(0x08090a0b0c0d0e0f, 0x0001020304050607,
												0x0f0e0d0c0b0a0908, 0x0706050403020100)),
						_mm256_add_epi32(a, idx));
		v = _mm256_max_epu32(v, _mm256_abs_epi16(_mm256_madd_epi16(v, k)));
		_mm256_store_si256((__m256i *)(words + i), v);
	}
}

static V3 void reals(void)
{
	__m256 s = _mm256_set1_ps(0.75f);

	for (unsigned i = 0; i < N; i += 8) {
		__m256 v = _mm256_load_ps(floats + i), w = _mm256_cvtepi32_ps(_mm256_load_si256((const __m256i *)(words + i)));

		v = _mm256_fmadd_ps(v, s, _mm256_mul_ps(w, _mm256_set1_ps(0x1p-31f)));
		v = _mm256_div_ps(v, _mm256_sqrt_ps(_mm256_fmadd_ps(v, v, _mm256_set1_ps(1))));
		v = _mm256_blendv_ps(v, _mm256_cvtph_ps(_mm256_cvtps_ph(v, 0)), w);
		s = _mm256_addsub_ps(_mm256_permute2f128_ps(s, v, 0x21), _mm256_hadd_ps(v, s));
		s = _mm256_min_ps(_mm256_max_ps(s, _mm256_set1_ps(-1)), _mm256_set1_ps(1));
		_mm256_store_ps(floats + i, v);
	}
}

/* At the end of a page behind which there is none. */
static V3 uint64_t masked(uint8_t *page_end)
{
	uint64_t h = 0;

	for (int n = 0; n <= 8; n++) {
		__m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0)), v;
		int *at = (int *)(page_end - 4 * n);

		_mm256_maskstore_epi32(at, mask, _mm256_load_si256((const __m256i *)(words + 8 * n)));
		v = _mm256_maskload_epi32(at, mask);
		h = mix(h, &v, sizeof(v));
	}
	return h;
}

int main(int argc, char **argv)
{
	const struct itimerval often = { .it_interval.tv_usec = 3000, .it_value.tv_usec = 3000 };
	unsigned seed = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
	uint8_t *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t h = 0xcbf29ce484222325;

	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c"))
		return 0;
	if (pages == MAP_FAILED || munmap(pages + 4096, 4096))
		return 1;
	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &often, NULL);
	for (unsigned i = 0; i < N; i++)
		words[i] = seed = seed * 1664525 + 1013904223;
	for (unsigned r = 0; r < ROUNDS; r++) {
		integers();
		reals();
		h ^= masked(pages + 4096);
	}
	h = mix(mix(h, words, sizeof(words)), floats, sizeof(floats));
	printf("result: vectors %s %016llx\n", argc > 1 ? argv[1] : "1", (unsigned long long)h);
	return 0;
}
