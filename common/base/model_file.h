/* share/models.json, the project's table of prices and capabilities, as JSON: where it is, and
 * which of its rows speaks of a model. What the fields mean is said in the file's own notes. */
#ifndef COMMON_BASE_MODEL_FILE_H
#define COMMON_BASE_MODEL_FILE_H

#include "common/base/json.h"

struct model_file {
    struct buf text;
    struct json_doc doc;
};

/* $TOLLGATE_SHARE/models.json, or ../share/tollgate/models.json beside the running program, or the
 * one of the system
 * (/usr/local/share, /usr/share). ERR_NOT_FOUND when there is none. */
enum err model_file_path(struct buf *out) NODISCARD;

/* ERR_NOT_FOUND, ERR_IO, ERR_TOO_BIG; ERR_INVALID when it is no such table. {0} holds no rows. */
enum err model_file_load(const char *path, struct model_file *out) NODISCARD;
void model_file_free(struct model_file *f);

/* The row of the provider of that name ("groq") and upstream model: the longest `match` that is a
 * prefix and ends at a word's end; else that of the protocol ("openai") it speaks; JSON_NONE when
 * there is none. */
struct json model_file_find(const struct model_file *f, const char *provider, const char *protocol,
                            struct span model);

#endif
