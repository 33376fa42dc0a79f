/*
 * A guest that waits for its disk as firmware does: it polls the used index, and
 * at once calls what it has read.  Both sectors hold a function; each read
 * replaces one that has been executed.  It says on COM1 how often the old one ran.
 *
 * A 64 KiB ROM image: 32-bit code at F0000h, entered from the reset vector.
 * virtio 1.2, sections 2.7 (split virtqueues), 4.1.4 (PCI capabilities), 5.2 (block device).
 */
#include <stdint.h>

__asm__(
".code16\n"
".globl start\n"
"start:	cli; cld\n"
"	xorw %ax, %ax; movw %ax, %ss\n"
"	lgdtl %cs:(gdtr - start)\n"
"	movl %cr0, %eax; orb $1, %al; movl %eax, %cr0\n"
"	ljmpl $8, $1f\n"
".code32\n"
"1:	movw $16, %ax; movw %ax, %ds; movw %ax, %es; movw %ax, %ss\n"
"	movl $0x7000, %esp\n"
"	call guest_main\n"
"2:	cli; hlt; jmp 2b\n"
"	.balign 8\n"
"gdt:	.quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff\n"
"gdtr:	.word . - gdt - 1\n"
"	.long gdt\n"
".pushsection .reset, \"ax\"\n"
".code16\n"
"	ljmp $0xf000, $0\n"
".popsection\n"
".code32\n");

enum { FUNCTION = 0x8000, DESCRIPTORS = 0x10000, AVAIL = 0x11000, USED = 0x12000, HEADER = 0x13000, STATUS = 0x13010, BARS = 0xe0000000, TURNS = 1000 };
enum { DEVICE_STATUS = 20, QUEUE_SELECT = 22, QUEUE_SIZE = 24, QUEUE_ENABLE = 28, QUEUE_NOTIFY_OFF = 30 };	/* of the common configuration */

static inline void outb(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" :: "a"(v), "Nd"(port)); }
static inline void outl(uint16_t port, uint32_t v) { __asm__ volatile("outl %0, %1" :: "a"(v), "Nd"(port)); }
static inline uint32_t inl(uint16_t port) { uint32_t v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); return v; }

#define AT8(at)		(*(volatile uint8_t *)(at))
#define AT16(at)	(*(volatile uint16_t *)(at))
#define AT32(at)	(*(volatile uint32_t *)(at))

static void say(const char *text)
{
	while (*text)
		outb(0x3f8, *text++);
}

static void say_number(unsigned n)
{
	char digits[11] = { 0 }, *at = digits + 10;

	do
		*--at = '0' + n % 10;
	while (n /= 10);
	say(at);
}

static uint32_t config(uint32_t fn, unsigned at)
{
	outl(0xcf8, fn | (at & ~3u));
	return inl(0xcfc) >> (at & 3) * 8;
}

static void set_config(uint32_t fn, unsigned at, uint32_t v)
{
	outl(0xcf8, fn | at);
	outl(0xcfc, v);
}

static void place_bars(uint32_t fn)
{
	for (unsigned i = 0; i < 6; i++) {
		uint32_t bar = config(fn, 16 + i * 4);

		if (bar & 1)
			continue;
		set_config(fn, 16 + i * 4, BARS + (i << 24));
		if ((bar & 6) == 4)
			set_config(fn, 16 + ++i * 4, 0);
	}
	set_config(fn, 4, 6);
}

/* Of the virtio structure of this type, and where its capability stands. */
static uint32_t structure(uint32_t fn, unsigned type, unsigned *cap)
{
	for (*cap = config(fn, 0x34) & 0xff; *cap; *cap = config(fn, *cap + 1) & 0xff)
		if ((config(fn, *cap) & 0xff) == 9 && (config(fn, *cap + 3) & 0xff) == type)
			return BARS + ((config(fn, *cap + 4) & 0xff) << 24) + config(fn, *cap + 8);
	return 0;
}

/* Returns where to ring. */
static uint32_t start_queue(uint32_t common, uint32_t notify, uint32_t multiplier)
{
	AT8(common + DEVICE_STATUS) = 0;
	AT8(common + DEVICE_STATUS) = 1 | 2;
	AT32(common + 8) = 1;			/* VERSION_1, and nothing else */
	AT32(common + 12) = 1;
	AT8(common + DEVICE_STATUS) = 1 | 2 | 8;
	AT16(common + QUEUE_SELECT) = 0;
	AT16(common + QUEUE_SIZE) = 4;
	for (unsigned i = 0; i < 3; i++) {
		AT32(common + 32 + i * 8) = DESCRIPTORS + i * 0x1000;
		AT32(common + 36 + i * 8) = 0;
	}
	AT16(common + QUEUE_ENABLE) = 1;
	AT8(common + DEVICE_STATUS) = 1 | 2 | 8 | 4;
	return notify + AT16(common + QUEUE_NOTIFY_OFF) * multiplier;
}

static void describe(unsigned i, uint32_t to, uint32_t bytes, unsigned flags)
{
	AT32(DESCRIPTORS + i * 16) = to;
	AT32(DESCRIPTORS + i * 16 + 4) = 0;
	AT32(DESCRIPTORS + i * 16 + 8) = bytes;
	AT16(DESCRIPTORS + i * 16 + 12) = flags;	/* 1: another follows; 2: the device writes */
	AT16(DESCRIPTORS + i * 16 + 14) = i + 1;
}

static unsigned call_function(void)
{
	unsigned got;

	__asm__ volatile("call *%1" : "=a"(got) : "r"(FUNCTION) : "memory");
	return got & 0xff;
}

__attribute__((used)) static void guest_main(void)
{
	uint32_t fn = 0x80000000 | 3 << 11, common, notify, bell;
	unsigned cap, stale = 0;

	place_bars(fn);
	common = structure(fn, 1, &cap);
	notify = structure(fn, 2, &cap);
	if (!common || !notify) {
		say("no device");
		return;
	}
	bell = start_queue(common, notify, config(fn, cap + 16));
	describe(0, HEADER, 16, 1);
	describe(1, FUNCTION, 512, 1 | 2);
	describe(2, STATUS, 1, 2);
	AT16(AVAIL) = 1;				/* no interrupts */
	for (unsigned i = 1; i <= TURNS; i++) {
		unsigned sector = 1 + (i & 1);

		AT32(HEADER + 8) = sector;
		AT16(AVAIL + 4 + 2 * ((i - 1) & 3)) = 0;
		AT16(AVAIL + 2) = i;
		AT16(bell) = 0;
		while (AT16(USED + 2) != (uint16_t)i)
			;
		stale += call_function() != '@' + sector;
	}
	say_number(stale);
	say(" of ");
	say_number(TURNS);
}
