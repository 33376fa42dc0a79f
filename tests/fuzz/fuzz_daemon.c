/*
 * tests/fuzz/fuzz_daemon.c - any bytes as what the daemon says of itself: its
 * list of devices, and its answer to the configuration.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/config.pb-c.h"
#include "vmm/daemon.h"
#include "vmm/devlist.h"
#include "vmm/introduce.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

static void check_text(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			abort();		/* it would reach the user's terminal */
}

static void check_list(const struct devlist *l)
{
	for (unsigned i = 0; i < l->ndevices; i++) {
		const struct devlist_device *d = &l->device[i];

		check_text(d->name);
		check_text(d->summary);
		if (d->implied && d->pci && (d->slot < 0 || d->slot > 31 || d->func < 0 || d->func > 7))
			abort();
		for (unsigned k = 0; k < d->nkeys; k++) {
			check_text(d->key[k].name);
			check_text(d->key[k].help);
			if (d->key[k].type >= KEY_TYPES || devlist_key(d, d->key[k].name) != &d->key[k])
				abort();
		}
		if (devlist_find(l, d->name) != d)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct devlist *l;
	struct sandbox sandbox;
	char err[200] = "";
	int ret;

	ret = devlist_parse(&l, (const char *)data, size, err, sizeof(err));
	if (!ret)
		check_list(l);
	else if (!*err || l)
		abort();
	devlist_free(l);
	err[0] = 0;
	ret = daemon_judge(data, size, &sandbox, err, sizeof(err));
	check_text(err);
	if (ret < 0 && !*err)
		abort();
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static const char list[] =
		"hostbridge\tpci,implied=0:0\thost bridge\nide\tpci\tdisks\nide hd0\tpath\tdisk\n"
		"fwcfg\tlpc,implied\tfirmware\nfwcfg dma\ttext\ton or off\nuart\tlpc\tports\nuart com1\tchr\tfirst\n";
	Cleave__DaemonReply r = CLEAVE__DAEMON_REPLY__INIT;

	if (cap < sizeof(list))
		return 0;
	switch (n) {
	case 0:
		memcpy(buf, list, sizeof(list) - 1);
		return sizeof(list) - 1;
	case 1:
		r.version = INTRODUCE_VERSION;
		r.ready = 1;
		return cleave__daemon_reply__pack(&r, buf);
	case 2:
		r.error = (char *)"cannot";
		return cleave__daemon_reply__pack(&r, buf);
	}
	return 0;
}
