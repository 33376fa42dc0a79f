/*
 * devmodel/ide/atapi.c - a CD-ROM drive behind the PACKET command.
 */
#include "devmodel/ide/ide.h"

void atapi_command(struct ide *u, uint8_t command) { (void)command; ide_fail(u, ER_ABRT); }
void atapi_packet(struct ide *u) { ide_fail(u, ER_ABRT); }
void atapi_read_error(struct ide *u) { ide_fail(u, ER_ABRT); }
void atapi_end(struct ide *u, uint8_t key, uint8_t asc, uint8_t ascq) { (void)key; (void)asc; (void)ascq; ide_complete(u); }
