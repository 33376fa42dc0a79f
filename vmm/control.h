/*
 * vmm/control.h - the control server: DIR/control, proto/control.proto.
 *
 * Only the machine's user and root are served (SO_PEERCRED).  A client that
 * sends a frame too long, no message, or anything before hello is told why and
 * disconnected; one that does not read its answers is disconnected.
 *
 * Nothing here waits.  A request that must (for vCPUs to come to rest, for the
 * device model) is answered later, and other clients are served meanwhile.
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
 * One message from a client: the answer, packed, in *reply (the caller frees
 * it).  Returns its length; `close` says that the connection ends after it.  0:
 * the answer comes later, by `later`, whose it is then; until it has come there
 * is no other message.  What the socket code calls, and the fuzzer.
 */
struct control_client;
size_t control_answer(struct vm *, struct control_client *, const uint8_t *message, size_t n, uint8_t **reply);
/* Gone, whatever was to be answered. */
void control_client_fini(struct control_client *);

struct control_client {
	void (*later)(struct control_client *, uint8_t *reply, size_t n);
	int greeted, close;

	/* control.c's own */
	struct vm *vm;
	uint32_t deferred;		/* id of the request whose answer comes later; 0: none */
	struct event *timer;		/* the next try, or key */
	uint8_t *message;		/* that is tried again, for vCPUs have not come to rest */
	size_t message_len;
	int64_t resting;		/* since when; vm_rest() */
	uint64_t *key;			/* keys that are still to be typed */
	size_t nkeys, next_key;
	char unclaimed[160];		/* what to say when no device takes what was asked for */

	/* the socket's */
	struct control *control;
	void *bev;
	struct control_client *next;
};

#endif
