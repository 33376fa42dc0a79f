/*
 * guest.c - workloads that run inside a guest, on any PC emulator.
 *
 * Everything is said on COM1.  `begin NAME` and `end NAME AMOUNT` bracket a
 * workload that the host times by the wall; AMOUNT is instructions or bytes.
 * `samples NAME` is followed by TSC differences, one a line in hexadecimal:
 * they mean something only where the guest's TSC is the host's, so a runner
 * asks for them by the command byte that it sends first.
 *
 * Commands, one byte each: c CPU workloads, d disk, f fw_cfg, s samples, g gaps
 * (`m` asks for the longest one yet, in units of 256 TSC ticks; any other byte
 * ends it), q quit.
 */
#include <stdint.h>

static inline void outb(uint16_t p, uint8_t v) { __asm__ volatile("outb %0, %1" :: "a"(v), "Nd"(p)); }
static inline void outw(uint16_t p, uint16_t v) { __asm__ volatile("outw %0, %1" :: "a"(v), "Nd"(p)); }
static inline uint8_t inb(uint16_t p) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline void insw(uint16_t p, void *to, uint32_t n) { __asm__ volatile("cld; rep insw" : "+D"(to), "+c"(n) : "d"(p) : "memory"); }
static inline void insb(uint16_t p, void *to, uint32_t n) { __asm__ volatile("cld; rep insb" : "+D"(to), "+c"(n) : "d"(p) : "memory"); }
static inline uint32_t tsc(void) { uint32_t lo, hi; __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi)); return lo; }

enum { COM1 = 0x3f8, IDE = 0x1f0, IDE_CONTROL = 0x3f6, FWCFG = 0x510, PIC_MASK = 0x21 };
#define BUFFER ((uint8_t *)0x400000)	/* free RAM above 4 MiB */
#define BUFFER2 ((uint8_t *)0x800000)

static void put(char c) { while (!(inb(COM1 + 5) & 0x20)) ; outb(COM1, c); }
static void puts_(const char *s) { while (*s) put(*s++); }
static void hex(uint32_t v) { for (int i = 28; i >= 0; i -= 4) put("0123456789abcdef"[v >> i & 15]); }
static void begin(const char *name) { puts_("begin "); puts_(name); put('\n'); }
static void end(const char *name, uint32_t amount) { puts_("end "); puts_(name); put(' '); hex(amount); put('\n'); }

/* ---- processor */

static void loop(void)
{
	uint32_t n = 50000000, x = 0;

	begin("loop");
	__asm__ volatile("1: addl %0, %1; xorl $0x55, %1; decl %0; jnz 1b" : "+r"(n), "+r"(x));
	end("loop", 200000000);
}

static void sieve(void)
{
	enum { N = 1000000 };
	uint8_t *composite = BUFFER;

	begin("sieve");
	for (int round = 0; round < 5; round++) {
		for (uint32_t i = 0; i < N; i++)
			((volatile uint8_t *)composite)[i] = 0;
		for (uint32_t i = 2; i * i < N; i++)
			if (!composite[i])
				for (uint32_t j = i * i; j < N; j += i)
					((volatile uint8_t *)composite)[j] = 1;
	}
	end("sieve", 5);
}

static void copy(void)
{
	uint32_t *from = (uint32_t *)BUFFER, *to = (uint32_t *)BUFFER2;

	begin("copy");
	for (int round = 0; round < 40; round++)
		for (uint32_t i = 0; i < 0x100000 / 4; i++)
			((volatile uint32_t *)to)[i] = ((volatile uint32_t *)from)[i];
	end("copy", 40 * 0x100000);
}

static void movs(void)
{
	begin("movs");
	for (int round = 0; round < 400; round++) {
		void *from = BUFFER, *to = BUFFER2;
		uint32_t n = 0x200000 / 4;
		__asm__ volatile("cld; rep movsl" : "+S"(from), "+D"(to), "+c"(n) :: "memory");
	}
	end("movs", 400 * 0x200000);
}

/* ---- disk: READ SECTORS, 256 of them a command, `rep insw` of one sector at a time */

static void ide_read(uint32_t lba, uint32_t sectors, void *to)
{
	while (inb(IDE_CONTROL) & 0x80) ;
	outb(IDE + 6, 0xe0 | (lba >> 24 & 15));
	outb(IDE + 2, sectors);
	outb(IDE + 3, lba);
	outb(IDE + 4, lba >> 8);
	outb(IDE + 5, lba >> 16);
	outb(IDE + 7, 0x20);
	sectors = sectors ? sectors : 256;
	for (uint32_t i = 0; i < sectors; i++) {
		while ((inb(IDE_CONTROL) & 0x88) != 0x08) ;
		(void)inb(IDE + 7);
		insw(IDE, (uint8_t *)to + 512 * i, 256);
	}
}

/* READ MULTIPLE, sixteen sectors a block: what a driver that cares uses. */
static void ide_multiple(uint32_t lba, void *to)
{
	while (inb(IDE_CONTROL) & 0x80) ;
	outb(IDE + 6, 0xe0 | (lba >> 24 & 15));
	outb(IDE + 2, 0);
	outb(IDE + 3, lba);
	outb(IDE + 4, lba >> 8);
	outb(IDE + 5, lba >> 16);
	outb(IDE + 7, 0xc4);
	for (uint32_t i = 0; i < 16; i++) {
		while ((inb(IDE_CONTROL) & 0x88) != 0x08) ;
		(void)inb(IDE + 7);
		insw(IDE, (uint8_t *)to + 8192 * i, 4096);
	}
}

static void disk(void)
{
	const uint32_t commands = 256;		/* of 128 KiB: 32 MiB, from the first 8 MiB again and again */

	outb(IDE_CONTROL, 2);
	ide_read(0, 0, BUFFER);
	begin("insw-ide");
	for (uint32_t i = 0; i < commands; i++)
		ide_read(i % 64 * 256, 0, BUFFER);
	end("insw-ide", commands * 0x20000);

	outb(IDE + 6, 0xe0);
	outb(IDE + 2, 16);
	outb(IDE + 7, 0xc6);
	while (inb(IDE_CONTROL) & 0x80) ;
	if (inb(IDE + 7) & 1)
		return;
	begin("insw-ide-multiple");
	for (uint32_t i = 0; i < 4 * commands; i++)
		ide_multiple(i % 64 * 256, BUFFER);
	end("insw-ide-multiple", 4 * commands * 0x20000);
}

static void fwcfg(void)
{
	const uint32_t rounds = 16384;		/* of 4 KiB: the file directory and the zeroes behind it */

	begin("insb-fwcfg");
	for (uint32_t i = 0; i < rounds; i++) {
		outw(FWCFG, 0x19);
		insb(FWCFG + 1, BUFFER, 4096);
	}
	end("insb-fwcfg", rounds * 4096);
}

/* ---- one access at a time */

enum { SAMPLES = 2000 };
static uint32_t sample[SAMPLES];

static void sampled(const char *name, uint16_t port, uint32_t pause, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t t = tsc(); tsc() - t < pause; ) ;
		uint32_t t = tsc();
		(void)inb(port);
		sample[i] = tsc() - t;
	}
	puts_("samples "); puts_(name); put('\n');
	for (uint32_t i = 0; i < n; i++) {
		hex(sample[i]);
		put('\n');
	}
	puts_("end-samples\n");
}

static void samples(void)
{
	for (uint32_t i = 0; i < SAMPLES; i++) {
		uint32_t t = tsc();
		sample[i] = tsc() - t;
	}
	sampled("in-engine", PIC_MASK, 0, SAMPLES);
	sampled("in-shadow", IDE_CONTROL, 0, SAMPLES);
	sampled("in-daemon", IDE + 2, 0, SAMPLES);
	sampled("in-daemon-asleep", IDE + 2, 20000000, 100);
}

/* ---- how long a device keeps the guest waiting at most */

static uint32_t ticks(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return hi << 24 | lo >> 8;
}

static void gaps(void)
{
	for (;;) {
		uint32_t longest = 0, before = ticks(), now;

		do {
			(void)inb(IDE + 2);
			now = ticks();
			longest = now - before > longest ? now - before : longest;
			before = now;
		} while (!(inb(COM1 + 5) & 1));
		if (inb(COM1) != 'm')
			return;
		hex(longest);
		put('\n');
	}
}

__attribute__((section(".text.main"))) void guest_main(void);
void guest_main(void)
{
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 3);
	outb(COM1 + 2, 7);
	puts_("ready\n");
	for (;;) {
		while (!(inb(COM1 + 5) & 1)) ;
		switch (inb(COM1)) {
		case 'c': loop(); sieve(); copy(); movs(); break;
		case 'd': disk(); break;
		case 'f': fwcfg(); break;
		case 's': samples(); break;
		case 'g': gaps(); break;
		case 'q': puts_("bye\n"); return;
		default: continue;
		}
		puts_("ready\n");
	}
}
