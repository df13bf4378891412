/* Files of records that outlive the process that wrote them, until one that comes later has taken
 * care of all: one writer, once; one reader at a time. A file is whole or not there; each record
 * has a check of its own, so that nothing is read that was not written. */
#ifndef COMMON_BASE_SPOOL_FILE_H
#define COMMON_BASE_SPOOL_FILE_H

#include <stdint.h>

#include "common/base/err.h"
#include "common/base/span.h"

enum { SPOOL_RECORD_MAX = 64 << 10, SPOOL_FILES_MAX = 256, SPOOL_OWNER_BYTES = 80 };
#define SPOOL_FILE_MAX ((uint64_t)256 << 20)

struct spool_reader;
struct spool_writer;

/* Claims a file in `dir` that such an owner has left ("edge": edge-<16 hex digits>.spool) and that
 * nobody else has claimed; the claim ends with the process, or below. Passed over, and named in the
 * log: what is no file of this user's alone. ERR_NOT_FOUND: there is none. */
enum err spool_reader_open(struct spool_reader **out, const char *dir, const char *owner) NODISCARD;
/* A view until the next call. ERR_NOT_FOUND: that was all; ERR_INVALID: what follows can't be read,
 * and so does nothing more. */
enum err spool_reader_next(struct spool_reader *r, struct span *record_out) NODISCARD;
/* Everything has been taken care of: the file goes. One that could not be read to its end becomes
 * <owner>.broken, in place of an earlier one, for people to look at. Nulls. */
void spool_reader_remove(struct spool_reader **r);
/* It stays for whoever comes next. Nulls; takes NULL. */
void spool_reader_close(struct spool_reader **r);

/* Begins a file; nobody sees it before spool_writer_finish. ERR_TOO_BIG: there are
 * SPOOL_FILES_MAX of this owner already. ERR_IO: errno says why. */
enum err spool_writer_open(struct spool_writer **out, const char *dir, const char *owner,
                           uint64_t number) NODISCARD;
/* ERR_TOO_BIG: the record, or the file; ERR_IO (errno). The record is not in the file then, and
 * what was added before still is. */
enum err spool_writer_add(struct spool_writer *w, struct span record) NODISCARD;
/* On disk, and there for a reader; without any record there is no file. Nulls, in any case. */
enum err spool_writer_finish(struct spool_writer **w) NODISCARD;

#endif
