/*
 * proto/words.h - what is said on the device model's socket once it is ready:
 * one byte each.
 *
 *	engine                          device model
 *	GO  --------------------------> serves
 *	HOLD -------------------------> stops between two transactions, at a moment
 *	                                without operations in flight if one comes soon
 *	<------------- HELD or HELD_BUSY
 *	PACK, with a memfd -----------> writes the devices' state there in its
 *	<--------------------- PACKED   portable form (state.proto), still holds
 *	GO, or the end of the socket -> goes on, or ends at once
 *
 * While it holds, it writes neither arena nor link, so that another can take
 * over a copy of them.  HELD: nor does any thread of it do anything else, so that
 * one that is killed then has done all that it ever will.  HELD_BUSY: workers
 * are still at operations in flight, until the process has gone.
 */
#ifndef CLEAVE_PROTO_WORDS_H
#define CLEAVE_PROTO_WORDS_H

enum word { WORD_GO, WORD_HOLD, WORD_HELD, WORD_HELD_BUSY, WORD_PACK, WORD_PACKED };

#endif
