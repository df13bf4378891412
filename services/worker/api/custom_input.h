/* A custom tool's input as it goes by inside of {"input":"…"}: the arguments of the function that
 * stands for the tool upstream, unwrapped piece by piece. */
#ifndef SERVICES_WORKER_API_CUSTOM_INPUT_H
#define SERVICES_WORKER_API_CUSTOM_INPUT_H

#include "common/base/arena.h"
#include "common/base/buf.h"

struct custom_input {
    enum {
        CUSTOM_BEFORE, /* the object */
        CUSTOM_KEY,    /* before the member's name */
        CUSTOM_NAME,   /* in it */
        CUSTOM_COLON,
        CUSTOM_VALUE, /* before the string */
        CUSTOM_TEXT,  /* in it */
        CUSTOM_DONE,
        CUSTOM_ODD /* not what was asked for: see custom_input_whole */
    } state;
    char name[8];
    size_t name_len;
    char held[6]; /* an escape whose end has not come */
    size_t held_len;
};

/* Feeds a piece of the arguments, bytes of JSON, and appends the json text that is the input's. {0}
 * is ready. */
void custom_input_feed(struct custom_input *c, struct span bytes, struct buf *text_out);
/* The input, as json text in the arena, of arguments that were not as asked for: a string called
 * input wherever it stands, else all of them. `args` are bytes, `args_text` the same as json text.
 */
struct span custom_input_whole(struct span args, struct span args_text, struct arena *arena);

#endif
