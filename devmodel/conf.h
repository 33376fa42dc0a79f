/*
 * devmodel/conf.h - the configuration as it arrives over the socket.
 *
 * Two protobuf messages of the engine and the descriptors that came with them,
 * checked and turned into struct conf_machine: the machine, and this process's
 * turn to serve it, which comes at once or after another's death.
 */
#ifndef CLEAVE_DEVMODEL_CONF_H
#define CLEAVE_DEVMODEL_CONF_H

#include "devmodel/machine.h"
#include "ipc/sandbox.h"

enum { CONF_VERSION = 2, CONF_FRAME_MAX = 65536 };

struct conf {
	struct conf_machine machine;
	int link_fd[LINK_FDS], ram_fd, arena_fd;
	int tried_fd;			/* the arena's copy over which another died on its way in; -1: none */
	int flash_fd;			/* -1: none */
	int state_fd;			/* the portable form of the devices' state; -1: none */
	bool standby;			/* its turn is to be waited for */

	/* private */
	void *msg;
	struct conf_dev *dev;
	struct conf_key *key;
};

/*
 * The machine, then the turn.  A frame's descriptors become the
 * configuration's, or are closed when it fails: -EINVAL and the cause in `err`.
 */
int conf_parse(struct conf *, const void *frame, size_t n, const int *fd, unsigned nfds, char *err, size_t errlen);
int conf_turn(struct conf *, const void *frame, size_t n, const int *fd, unsigned nfds, char *err, size_t errlen);
void conf_free(struct conf *);	/* the strings that machine points to, not the descriptors */

/* READY, or an error for the user. */
int conf_reply_wants_state(int sock, const char *error, const struct sandbox *);
int conf_reply(int sock, const char *error, uint32_t features, uint64_t arena_bytes, const struct sandbox *);
int conf_reply_standing_by(int sock, const struct sandbox *);

/* `cleaved --list-devices` (device.h has the format). */
void conf_list_devices(void);

#endif
