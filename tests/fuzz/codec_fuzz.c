/* The first byte is the message type. What decodes encodes again to something that decodes the
 * same. */
#include "proto/codec.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    union message_body body, again;
    struct header h;
    enum err e = header_read(span_of(data, size), &h);
    REQUIRE(e == OK || size < HEADER_BYTES || data[0] != PROTO_MAJOR);
    if (size == 0 || codec_decode(data[0], span_of(data + 1, size - 1), &body) != OK)
        return 0;
    size_t n = codec_size(data[0], &body);
    char *frame = malloc(n);
    REQUIRE(frame);
    codec_encode(&(struct header){.type = data[0]}, &body, frame);
    REQUIRE(codec_decode(data[0], span_of(frame + HEADER_BYTES, n - HEADER_BYTES), &again) == OK);
    REQUIRE(codec_size(data[0], &again) == n);
    free(frame);
    return 0;
}
