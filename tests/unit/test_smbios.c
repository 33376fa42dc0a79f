/*
 * SMBIOS: the entry point, the chain of structures, what they say of the
 * machine, the user's strings.
 *
 * `test_smbios FILE` writes a dump for dmidecode --from-dump.
 */
#include "tests/unit/coretest.h"

#include <stdio.h>
#include <string.h>

#include "devmodel/firmware/smbios.h"

static const char *const no_strings[SMBIOS_STRINGS];

static uint64_t le(const void *p, unsigned n)
{
	uint64_t v = 0;

	memcpy(&v, p, n);
	return v;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

static struct board board(uint64_t low, uint64_t high)
{
	struct board b = { .ram_low = low, .ram_high = high, .vcpus = 3 };

	for (unsigned i = 0; i < 16; i++)
		b.uuid[i] = i;
	return b;
}

/* Walks the chain to its end; the n-th structure of a type, or NULL. */
static const uint8_t *structure(const struct smbios *t, int type, unsigned n)
{
	const uint8_t *p = t->tables, *end = p + t->size, *found = NULL;
	unsigned count = 0, largest = 0;

	for (;;) {
		const uint8_t *q = p + p[1];

		assert_true(p + 4 <= end && p[1] >= 4 && q + 2 <= end);
		while (q[0] || q[1])
			assert_true(++q + 2 <= end);
		q += 2;
		count++;
		if (q - p > largest)
			largest = q - p;
		if (p[0] == type && !n--)
			found = p;
		if (p[0] == 127)
			break;
		p = q;
	}
	assert_ptr_equal(p + 6, end);
	assert_int_equal(le(t->anchor + 8, 2), largest);
	assert_int_equal(le(t->anchor + 0x1c, 2), count);
	assert_int_equal(le(t->anchor + 0x16, 2), t->size);
	return found;
}

static const char *text(const uint8_t *p, unsigned at)
{
	const char *s = (const char *)p + p[1];

	if (!p[at])
		return NULL;
	for (unsigned n = p[at]; n > 1; n--)
		s += strlen(s) + 1;
	return s;
}

static void build(struct smbios *t, const struct board *b, const char *const string[])
{
	enum smbios_string bad;

	assert_int_equal(smbios_build(t, b, string, &bad), 0);
}

static void entry_point(void **state)
{
	struct board b = board(64 << 20, 0);
	struct smbios t;

	(void)state;
	build(&t, &b, no_strings);
	assert_memory_equal(t.anchor, "_SM_", 4);
	assert_int_equal(t.anchor[5], 31);
	assert_int_equal(sum(t.anchor, 31), 0);
	assert_memory_equal(t.anchor + 16, "_DMI_", 5);
	assert_int_equal(sum(t.anchor + 16, 15), 0);
	smbios_place(&t, 0xf0060);
	assert_int_equal(le(t.anchor + 0x18, 4), 0xf0060);
	assert_int_equal(sum(t.anchor, 31), 0);
	assert_int_equal(sum(t.anchor + 16, 15), 0);
	assert_non_null(structure(&t, 127, 0));
}

static void the_machine(void **state)
{
	static const uint8_t uuid[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
	static const int types[] = { 0, 1, 3, 4, 16, 17, 19, 32, 127 };
	struct board b = board(64 << 20, 0);
	struct smbios t;
	const uint8_t *p;

	(void)state;
	build(&t, &b, no_strings);
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		assert_non_null(structure(&t, types[i], 0));
	assert_null(structure(&t, 2, 0));
	p = structure(&t, 1, 0);
	assert_memory_equal(p + 8, uuid, 16);
	assert_string_equal(text(p, 4), "Cleave");
	assert_null(text(p, 7));
	assert_int_equal(structure(&t, 4, 0)[0x23], 3);
	assert_int_equal(le(structure(&t, 16, 0) + 7, 4), 65536);
	assert_int_equal(le(structure(&t, 17, 0) + 0x0c, 2), 64);
	p = structure(&t, 19, 0);
	assert_int_equal(le(p + 4, 4), 0);
	assert_int_equal(le(p + 8, 4), 65535);
	assert_null(structure(&t, 19, 1));
}

static void much_memory(void **state)
{
	struct board b = board(0xe0000000, (64ull << 30) - 0xe0000000);
	struct smbios t;
	const uint8_t *p;

	(void)state;
	build(&t, &b, no_strings);
	p = structure(&t, 17, 0);
	assert_int_equal(le(p + 0x0c, 2), 0x7fff);
	assert_int_equal(le(p + 0x1c, 4), 65536);
	p = structure(&t, 19, 1);
	assert_int_equal(le(p + 4, 4), 0xffffffff);
	assert_int_equal(le(p + 0x0f, 8), 1ull << 32);
	assert_int_equal(le(p + 0x17, 8), (1ull << 32) + (64ull << 30) - 0xe0000000 - 1);
	assert_int_equal(le(structure(&t, 16, 0) + 7, 4), 64 << 20);
	b.ram_high = 3ull << 40;
	build(&t, &b, no_strings);
	p = structure(&t, 16, 0);
	assert_int_equal(le(p + 7, 4), 0x80000000);
	assert_int_equal(le(p + 0x0f, 8), (3ull << 40) + 0xe0000000);
}

static void the_users_strings(void **state)
{
	const char *string[SMBIOS_STRINGS] = { 0 };
	char lengthy[SMBIOS_STRING_MAX + 2];
	struct board b = board(64 << 20, 0);
	enum smbios_string bad;
	struct smbios t;

	(void)state;
	string[SMBIOS_SYSTEM_SERIAL] = "SN-1";
	string[SMBIOS_SYSTEM_PRODUCT] = "Thing";
	string[SMBIOS_BOARD_ASSET] = "inventory 7";
	string[SMBIOS_BIOS_VERSION] = "";	/* none, rather than ours */
	build(&t, &b, string);
	assert_string_equal(text(structure(&t, 1, 0), 7), "SN-1");
	assert_string_equal(text(structure(&t, 1, 0), 5), "Thing");
	assert_string_equal(text(structure(&t, 2, 0), 8), "inventory 7");
	assert_null(text(structure(&t, 0, 0), 5));
	/* all as long as can be */
	memset(lengthy, 'x', sizeof(lengthy));
	lengthy[SMBIOS_STRING_MAX] = 0;
	for (unsigned i = 0; i < SMBIOS_STRINGS; i++)
		string[i] = lengthy;
	build(&t, &b, string);
	assert_string_equal(text(structure(&t, 3, 0), 0x15), lengthy);
	/* and longer, and not text */
	lengthy[SMBIOS_STRING_MAX] = 'x';
	lengthy[SMBIOS_STRING_MAX + 1] = 0;
	memset(string, 0, sizeof(string));
	string[SMBIOS_CHASSIS_ASSET] = lengthy;
	assert_int_equal(smbios_build(&t, &b, string, &bad), -22);
	assert_int_equal(bad, SMBIOS_CHASSIS_ASSET);
	string[SMBIOS_CHASSIS_ASSET] = "a\nb";
	assert_int_equal(smbios_build(&t, &b, string, &bad), -22);
}

static void keys(void **state)
{
	const struct conf_key key[] = { KEY("system.serial_number", "42") }, wrong[] = { KEY("chassis.sku", "\t") };
	struct conf_dev dev = { .model = "fwcfg", .nkeys = 1, .key = key };
	struct harness *h = harness_new(&(struct harness_conf){ .dev = &dev, .ndevs = 1 });

	(void)state;
	harness_free(h);
	dev.key = wrong;
	h = harness_new(&(struct harness_conf){ .dev = &dev, .ndevs = 1, .may_fail = true });
	assert_non_null(strstr(harness_error(h), "chassis.sku"));
	harness_free(h);
	for (unsigned i = 0; i < SMBIOS_STRINGS; i++) {
		bool known = false;

		for (const struct dev_key *k = device_find("fwcfg")->keys; k->name; k++)
			known |= !strcmp(k->name, smbios_default[i].key);
		assert_true(known);
	}
}

static int dump(const char *path)
{
	static uint8_t image[32 + SMBIOS_TABLES_MAX];
	struct board b = board(0xe0000000, 4ull << 30);
	FILE *f = fopen(path, "wb");
	struct smbios t;

	build(&t, &b, no_strings);
	smbios_place(&t, 32);
	memcpy(image, t.anchor, sizeof(t.anchor));
	memcpy(image + 32, t.tables, t.size);
	return !f || fwrite(image, 1, 32 + t.size, f) != 32 + t.size || fclose(f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entry_point), cmocka_unit_test(the_machine), cmocka_unit_test(much_memory),
		cmocka_unit_test(the_users_strings), cmocka_unit_test(keys),
	};

	if (argc > 1)
		return dump(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
