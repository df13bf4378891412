/* data: URLs (RFC 2397): what an image or a file looks like inside an OpenAI
 * request. */
#ifndef SERVICES_WORKER_API_DATA_URL_H
#define SERVICES_WORKER_API_DATA_URL_H

#include "common/base/arena.h"

struct data_url {
    struct span media_type; /* lower case, without parameters; image/jpg is image/jpeg */
    struct span base64;     /* no white space; a view of the URL where it already was so */
};

/* "data:[type][;parameters][;base64],data". What is not base64 is percent-decoded and encoded
 * again; valid base64 is never decoded. ERR_NOT_FOUND: no data URL. ERR_INVALID: no comma, or not
 * base64 though it says so. ERR_NOMEM. */
enum err data_url_parse(struct span url, struct arena *arena, struct data_url *out) NODISCARD;
/* Bare base64 without white space, in the arena where it must change. ERR_INVALID when it is none.
 */
enum err data_url_clean_base64(struct span data, struct arena *arena, struct span *out) NODISCARD;
/* ERR_NOMEM. */
enum err data_url_encode_base64(struct span bytes, struct arena *arena, struct span *out) NODISCARD;
/* The decoded bytes. ERR_INVALID, ERR_NOMEM. */
enum err data_url_decode_base64(struct span base64, struct arena *arena,
                                struct span *out) NODISCARD;

#endif
