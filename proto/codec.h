/* One encoder and one decoder for every message of messages.def: a msgpack array of the fields in
 * order. Missing trailing fields read as zero, extra ones are skipped, so that neighbours may
 * differ by a minor version.
 *
 * msgpack-c writes; its reader is not used, because five bytes make it reserve 8 GB: the decoder
 * here allocates nothing, refuses nesting, and checks every length against what is left. */
#ifndef PROTO_CODEC_H
#define PROTO_CODEC_H

#include "common/base/err.h"
#include "proto/message.h"

enum { CODEC_MAX_FIELDS = 64 };

/* Bytes that codec_encode will write for this struct, header included; 0 for an unknown type. */
size_t codec_size(unsigned type, const void *message);
/* Header and payload into out, which has exactly codec_size bytes. h->type says what `message` is.
 */
void codec_encode(const struct header *h, const void *message, void *out);
/* The payload behind a header, into the struct of that type; strings are views of the payload.
 * ERR_INVALID, ERR_TRUNCATED, or ERR_UNSUPPORTED for an unknown type. */
enum err codec_decode(unsigned type, struct span payload, void *message_out) NODISCARD;

#endif
