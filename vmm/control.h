/*
 * vmm/control.h - the control server: DIR/control, proto/control.proto.
 *
 * Only the machine's user and root are served (SO_PEERCRED).  A client that
 * sends a frame too long, no message, or anything before hello is told why and
 * disconnected; one that does not read its answers is disconnected.
 *
 * Thread: main.
 */
#ifndef CLEAVE_VMM_CONTROL_H
#define CLEAVE_VMM_CONTROL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vm;
struct control;

int control_new(struct control **, struct vm *, const char *dir, char *err, size_t errlen);
void control_free(struct control *);	/* sends what is buffered as far as that goes without waiting */

/*
 * One message from a client that has said hello or not (*greeted, which this
 * may set): the answer, packed, in *reply (the caller frees it).  Returns its
 * length; *close says that the connection ends after it.  0: the answer comes
 * later.  What the socket code calls, and the fuzzer.
 */
struct control_client;
size_t control_answer(struct vm *, struct control_client *, const uint8_t *message, size_t n, uint8_t **reply);

struct control_client {
	struct control *control;	/* NULL: none, keys are sent at once */
	void *bev;
	int greeted, close;
	/* keys that are still to be typed */
	uint64_t *key;
	size_t nkeys, next_key;
	uint32_t key_id;
	struct event *key_timer;
	/* an upgrade of the device model is awaited, to be answered under this id */
	int upgrading;
	uint32_t upgrade_id;
	struct control_client *next;
};

#endif
