/*
 * sandbox.c - gives up privileges: prctl(2), close_range(2).
 *
 * What arrives over the socket is all that this process will ever have.
 */
#include "devmodel/sandbox.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Every descriptor but 0-2 and this one. */
static void close_others(int keep)
{
	if (keep > 3)
		syscall(SYS_close_range, 3, keep - 1, 0);
	syscall(SYS_close_range, keep < 2 ? 3 : keep + 1, ~0u, 0);
}

int sandbox_enter(int keep)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	/* An engine that is dead already shows as the end of the socket. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		return -errno;
	close_others(keep);
	return 0;
}
