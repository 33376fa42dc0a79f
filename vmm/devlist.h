/*
 * vmm/devlist.h - what the device model offers: devices and their keys.
 *
 * The list is the daemon's own (`cleaved --list-devices`), so that the engine
 * holds no second copy that could drift from it.  devmodel/device.h describes
 * the format.  The daemon's words are checked like anyone else's.
 */
#ifndef CLEAVE_VMM_DEVLIST_H
#define CLEAVE_VMM_DEVLIST_H

#include <stdbool.h>
#include <stddef.h>

enum key_type { KEY_TEXT, KEY_PATH, KEY_ROM, KEY_CHR, KEY_NET, KEY_TYPES };

struct devlist_key {
	char *name, *help;
	enum key_type type;
};

struct devlist_device {
	char *name, *summary;
	bool pci;		/* for -s; else for -l */
	bool implied;		/* in every machine */
	int slot, func;		/* an implied pci device's place, else -1 */
	struct devlist_key *key;
	unsigned nkeys;
};

struct devlist {
	struct devlist_device *device;
	unsigned ndevices;
};

/* Runs `daemon_fd` (an executable's descriptor) with --list-devices.  0 or -errno with the cause in err. */
int devlist_ask(struct devlist **, int daemon_fd, char *err, size_t errlen);
/* Text as the daemon prints it.  -EPROTO with the cause in err. */
int devlist_parse(struct devlist **, const char *text, size_t len, char *err, size_t errlen);
void devlist_free(struct devlist *);

const struct devlist_device *devlist_find(const struct devlist *, const char *name);
const struct devlist_key *devlist_key(const struct devlist_device *, const char *name);
/* The lpc device that has this key, when exactly one has. */
const struct devlist_device *devlist_owner(const struct devlist *, const char *key);

#endif
