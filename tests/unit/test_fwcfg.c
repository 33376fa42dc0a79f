/*
 * fw_cfg: items, the directory, files from the configuration, strings, DMA.
 */
#include "tests/unit/coretest.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SELECT = 0x510, DATA = 0x511, DMA_HIGH = 0x514, DMA_LOW = 0x518 };
enum { ERROR = 1, READ = 2, SKIP = 4, SEL = 8, WRITE = 16 };

static const uint8_t uuid[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

static const struct conf_key ide_keys[] = {
	KEY_STREAM("hd0", -1), KEY("hd0.bootindex", "2"), KEY_STREAM("cd3", -1), KEY("cd3.bootindex", "1"),
};
static const struct conf_key com_keys[] = { KEY_STREAM("com2", 1) };
static const struct conf_dev machine[] = {
	{ .model = "fwcfg" },
	{ .model = "ide", .pci = true, .slot = 1, .function = 1, .nkeys = 4, .key = ide_keys },
	{ .model = "uart", .nkeys = 1, .key = com_keys },
};

/* Only their configuration matters here. */
static const struct dev_key some_ide_keys[] = { { .name = "hd0" }, { .name = "hd0.bootindex" }, { .name = "cd3" }, { .name = "cd3.bootindex" }, { 0 } };
static const struct dev_key some_com_keys[] = { { .name = "com2" }, { 0 } };
static const struct dev_ops ide = { .name = "ide", .keys = some_ide_keys, .state_size = 8 };
static const struct dev_ops uart = { .name = "uart", .keys = some_com_keys, .state_size = 8 };
extern const struct dev_ops fwcfg_ops;
const struct dev_ops *const devices[] = { &fwcfg_ops, &ide, &uart, NULL };

static struct harness *make(const struct conf_dev *dev, unsigned n, uint64_t ram, bool may_fail)
{
	struct harness_conf c = { .dev = dev, .ndevs = n, .uuid = uuid, .ram = ram, .vcpus = 1, .may_fail = may_fail };

	return harness_new(&c);
}

static int setup(void **state)
{
	*state = make(machine, 1, 64 << 20, false);
	return 0;
}

/* Reads `n` bytes of an item by one string request after another. */
static void item(struct harness *h, uint16_t key, void *to, unsigned n)
{
	h_out(h, SELECT, 2, key);
	if (n)
		h_rep_ins(h, DATA, 1, to, n);
}

static uint64_t number(struct harness *h, uint16_t key, unsigned n)
{
	uint64_t v = 0;

	item(h, key, &v, n);
	return v;
}

struct file { uint32_t size; uint16_t select, reserved; char name[56]; };

/* Size of a file, and its content; -1: there is none. */
static int file(struct harness *h, const char *name, void *to, unsigned cap)
{
	uint32_t n;
	struct file f;

	item(h, 0x19, &n, 4);
	for (n = __builtin_bswap32(n); n; n--) {
		h_rep_ins(h, DATA, 1, &f, sizeof(f));
		if (strcmp(f.name, name))
			continue;
		f.size = __builtin_bswap32(f.size);
		assert_true(f.size <= cap);
		memset(to, 0, cap);
		item(h, __builtin_bswap16(f.select), to, f.size);
		return f.size;
	}
	return -1;
}

static void items(void **state)
{
	struct harness *h = *state;
	uint8_t b[64];

	item(h, 0, b, 4);
	assert_memory_equal(b, "QEMU", 4);
	assert_int_equal(number(h, 1, 4), 3);
	item(h, 2, b, 16);
	assert_memory_equal(b, uuid, 16);
	assert_int_equal(number(h, 3, 8), 64 << 20);
	assert_int_equal(number(h, 4, 2), 0);	/* nor a serial port that could be the console */
	assert_int_equal(number(h, 5, 2), 1);
	assert_int_equal(number(h, 0x0f, 2), 1);
	assert_int_equal(number(h, 0x8002, 4), 1);
	/* past the end, and where there is nothing: zeros */
	memset(b, 0xcc, sizeof(b));
	item(h, 0, b, 64);
	assert_memory_equal(b, "QEMU\0\0\0\0", 8);
	assert_int_equal(b[63], 0);
	assert_int_equal(number(h, 0x3fff, 8), 0);
	/* one byte at a time, and a selection starts again */
	h_out(h, SELECT, 2, 0);
	assert_int_equal(h_in(h, DATA, 1), 'Q');
	assert_int_equal(h_in(h, DATA, 1), 'E');
	h_out(h, SELECT, 2, 0x4000);
	assert_int_equal(h_in(h, DATA, 1), 'Q');
	/* the selector is written as a word only, and not read; data cannot be written */
	h_out(h, SELECT, 1, 1);
	assert_int_equal(h_in(h, SELECT, 1), 0);
	h_out(h, DATA, 1, 0xff);
	assert_int_equal(h_in(h, DATA, 1), 'E');
	h_reset(h);
	assert_int_equal(h_in(h, DATA, 1), 'Q');
}

static void strings_are_batches(void **state)
{
	struct harness *h = *state;
	uint8_t one[300], many[300];
	uint32_t flags;

	assert_true(h_region(h, false, SELECT, NULL, &flags));
	assert_true(flags & LINK_RGN_BATCH);
	h_out(h, SELECT, 2, 0x19);
	for (unsigned i = 0; i < sizeof(one); i++)
		one[i] = h_in(h, DATA, 1);
	h_out(h, SELECT, 2, 0x19);
	assert_int_equal(h_ins(h, DATA, 1, many, 4), 4);
	assert_int_equal(h_ins(h, DATA, 1, many + 4, sizeof(many) - 4), sizeof(many) - 4);
	assert_memory_equal(one, many, sizeof(one));
}

static void files(void **state)
{
	struct harness *h = *state;
	struct __attribute__((packed)) { uint64_t base, len; uint32_t type; } e820[4];
	uint64_t v;
	char text[200];

	assert_int_equal(file(h, "etc/e820", e820, sizeof(e820)), 20);
	assert_int_equal(e820[0].base, 0);
	assert_int_equal(e820[0].len, 64 << 20);
	assert_int_equal(e820[0].type, 1);
	assert_int_equal(file(h, "etc/max-cpus", &v, 8), 8);
	assert_int_equal(v, 1);
	assert_int_equal(file(h, "etc/show-boot-menu", &v, 8), 8);
	assert_int_equal(v, 0);
	/* nothing asked for these */
	assert_int_equal(file(h, "bootorder", text, sizeof(text)), -1);
	assert_int_equal(file(h, "etc/boot-fail-wait", &v, 8), -1);
	assert_int_equal(file(h, "etc/sercon-port", &v, 8), -1);
}

static void memory_above_the_hole(void **state)
{
	struct __attribute__((packed)) { uint64_t base, len; uint32_t type; } e820[4];
	struct harness *h = make(machine, 1, 5ull << 30, false);

	(void)state;
	assert_int_equal(file(h, "etc/e820", e820, sizeof(e820)), 40);
	assert_int_equal(e820[0].len, 0xe0000000);
	assert_int_equal(e820[1].base, 1ull << 32);
	assert_int_equal(e820[1].len, (5ull << 30) - 0xe0000000);
	assert_int_equal(number(h, 3, 8), 5ull << 30);
	harness_free(h);
}

static void from_other_devices(void **state)
{
	struct conf_dev dev[3];
	struct harness *h;
	char text[200];
	uint64_t v;

	(void)state;
	memcpy(dev, machine, sizeof(dev));
	dev[1].pci = false;	/* this test's ide is no function; its place is what counts */
	h = make(dev, 3, 0, false);
	assert_int_equal(file(h, "bootorder", text, sizeof(text)),
			 sizeof("/pci@i0cf8/ide@1,1/drive@1/disk@1\n/pci@i0cf8/ide@1,1/drive@0/disk@0"));
	assert_string_equal(text, "/pci@i0cf8/ide@1,1/drive@1/disk@1\n/pci@i0cf8/ide@1,1/drive@0/disk@0");
	assert_int_equal(file(h, "etc/sercon-port", &v, 8), 8);
	assert_int_equal(v, 0x2f8);
	assert_int_equal(number(h, 4, 2), 1);
	harness_free(h);
}

static void options(void **state)
{
	const struct conf_key keys[] = { KEY("dma", "off"), KEY("bootmenu", "1"), KEY("failwait", "1500"), KEY("sercon", "com4"),
					 KEY("file0.name", "opt/greeting"), KEY("file0.string", "hello") };
	struct conf_dev dev = { .model = "fwcfg", .nkeys = 6, .key = keys };
	struct harness *h = make(&dev, 1, 0, false);
	char text[16];
	uint64_t v;

	(void)state;
	assert_int_equal(number(h, 1, 4), 1);
	assert_false(h_region(h, false, DMA_HIGH, NULL, NULL));
	assert_int_equal(number(h, 0x0e, 2), 1);
	file(h, "etc/show-boot-menu", &v, 8);
	assert_int_equal(v, 1);
	file(h, "etc/boot-fail-wait", &v, 8);
	assert_int_equal(v, 1500);
	file(h, "etc/sercon-port", &v, 8);
	assert_int_equal(v, 0x2e8);
	assert_int_equal(file(h, "opt/greeting", text, sizeof(text)), 5);
	assert_string_equal(text, "hello");
	harness_free(h);
}

static void user_file_by_descriptor(void **state)
{
	int fd = memfd_create("content", MFD_CLOEXEC);
	const struct conf_key keys[] = { KEY("file7.name", "opt/content"), KEY_DISK("file7", fd) };
	struct conf_dev dev = { .model = "fwcfg", .nkeys = 2, .key = keys };
	struct harness *h;
	char text[16];

	(void)state;
	assert_int_equal(write(fd, "abc\0def", 7), 7);
	h = make(&dev, 1, 0, false);
	assert_int_equal(file(h, "opt/content", text, sizeof(text)), 7);
	assert_memory_equal(text, "abc\0def", 7);
	harness_free(h);
}

static void bad_options(void **state)
{
	static const struct { struct conf_key key[2]; unsigned n; const char *word; } bad[] = {
		{ { KEY("dma", "maybe") }, 1, "on or off" },
		{ { KEY("bootmenu", "2") }, 1, "up to 1" },
		{ { KEY("failwait", "-x") }, 1, "number" },
		{ { KEY("sercon", "com9") }, 1, "com1 to com4" },
		{ { KEY("file0.name", "opt/x") }, 1, "string= or a file" },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct conf_dev dev = { .model = "fwcfg", .nkeys = bad[i].n, .key = bad[i].key };
		struct harness *h = make(&dev, 1, 0, true);

		if (!strstr(harness_error(h), bad[i].word))
			fail_msg("\"%s\" does not say \"%s\"", harness_error(h), bad[i].word);
		harness_free(h);
	}
}

/* ---- DMA */

enum { AT = 0x1000, TO = 0x20000 };

static uint32_t dma(struct harness *h, uint32_t control, uint32_t length, uint64_t address)
{
	uint32_t w[4] = { __builtin_bswap32(control), __builtin_bswap32(length),
			  __builtin_bswap32(address >> 32), __builtin_bswap32((uint32_t)address) };

	memcpy(h_ram(h) + AT, w, sizeof(w));
	h_out(h, DMA_LOW, 4, __builtin_bswap32(AT));
	memcpy(w, h_ram(h) + AT, 4);
	return __builtin_bswap32(w[0]);
}

static void dma_reads(void **state)
{
	struct harness *h = *state;
	uint8_t *ram = h_ram(h), b[128];

	assert_int_equal(h_in(h, DMA_HIGH, 4), 0x554d4551);
	assert_int_equal(h_in(h, DMA_LOW, 4), 0x47464320);
	assert_int_equal(h_in(h, DMA_HIGH + 1, 1), 'E');
	item(h, 0x19, b, sizeof(b));
	memset(ram + TO, 0xcc, 256);
	assert_int_equal(dma(h, 0x19 << 16 | SEL | READ, 100, TO), 0);
	assert_memory_equal(ram + TO, b, 100);
	assert_int_equal(ram[TO + 100], 0xcc);
	/* on from there */
	assert_int_equal(dma(h, READ, 28, TO), 0);
	assert_memory_equal(ram + TO, b + 100, 28);
	/* skip; the data port goes on at the same place */
	assert_int_equal(dma(h, 0 << 16 | SEL | SKIP, 2, 0), 0);
	assert_int_equal(h_in(h, DATA, 1), 'M');
	/* zeros past the end, over several of our buffers */
	memset(ram + TO, 0xcc, 10000);
	assert_int_equal(dma(h, 0 << 16 | SEL | READ, 9999, TO), 0);
	assert_memory_equal(ram + TO, "QEMU\0", 5);
	assert_int_equal(ram[TO + 9998], 0);
	assert_int_equal(ram[TO + 9999], 0xcc);
	/* skipping past the end stays there */
	assert_int_equal(dma(h, SEL | SKIP, 0xffffffff, 0), 0);
	assert_int_equal(h_in(h, DATA, 1), 0);
	/* nothing to do is no error */
	assert_int_equal(dma(h, 0, 5, TO), 0);
	assert_int_equal(dma(h, READ | SEL, 0, TO), 0);
}

static void dma_errors(void **state)
{
	struct harness *h = *state;
	uint64_t end = 64 << 20;
	uint8_t *ram = h_ram(h);

	assert_int_equal(dma(h, SEL | READ, 4, end), ERROR);
	assert_int_equal(dma(h, SEL | READ, 4, end - 3), ERROR);
	assert_int_equal(dma(h, SEL | READ, 0xffffffff, 0), ERROR);
	assert_int_equal(dma(h, SEL | READ, 4, ~0ull), ERROR);
	assert_int_equal(dma(h, SEL | READ, 4, 0xa0000), ERROR);
	assert_int_equal(dma(h, SEL | WRITE, 4, TO), ERROR);
	/* nothing of a refused transfer is written, and the guest has not moved on */
	memset(ram + end - 8, 0xcc, 8);
	assert_int_equal(dma(h, SEL | READ, 16, end - 8), ERROR);
	assert_int_equal(ram[end - 8], 0xcc);
	assert_int_equal(h_in(h, DATA, 1), 'Q');
	/* a descriptor that is not in RAM: nothing happens */
	h_out(h, DMA_LOW, 4, __builtin_bswap32((uint32_t)end));
	h_out(h, DMA_HIGH, 4, 0xffffffff);
	h_out(h, DMA_LOW, 4, __builtin_bswap32(AT));
	/* narrower writes do not start anything */
	memset(ram + AT, 0, 16);
	ram[AT + 3] = READ;
	h_out(h, DMA_LOW, 2, 0);
	h_out(h, DMA_LOW + 2, 2, 0x0010);
	assert_int_equal(ram[AT + 3], READ);
	/* the high half holds for one transfer */
	h_out(h, DMA_HIGH, 4, __builtin_bswap32(1));
	h_out(h, DMA_LOW, 4, __builtin_bswap32(AT));
	assert_int_equal(ram[AT + 3], READ);
	assert_int_equal(dma(h, SEL | READ, 4, TO), 0);
	assert_memory_equal(ram + TO, "QEMU", 4);
}

static void dma_over_code(void **state)
{
	struct harness *h = *state;
	struct link_event ev;

	h_mark_code(h, TO, true);
	h_drop_events(h);
	assert_int_equal(dma(h, SEL | READ, 4, TO), 0);
	assert_true(h_event(h, &ev));
	assert_int_equal(ev.kind, LINK_EV_CODE);
	assert_int_equal(ev.addr, TO);
	assert_int_equal(ev.value, 4);
	h_mark_code(h, TO, false);
	assert_int_equal(dma(h, SEL | READ, 4, TO), 0);
	assert_false(h_event(h, &ev));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(items), TEST(strings_are_batches), TEST(files), TEST(dma_reads), TEST(dma_errors), TEST(dma_over_code),
		cmocka_unit_test(memory_above_the_hole), cmocka_unit_test(from_other_devices), cmocka_unit_test(options),
		cmocka_unit_test(user_file_by_descriptor), cmocka_unit_test(bad_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
