/* Messages as structs: generated data from messages.def, nothing else. See codec.h for the bytes.
 */
#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

#include "common/base/span.h"
#include "proto/header.h"

enum field_type { FIELD_BOOL, FIELD_U32, FIELD_U64, FIELD_I64, FIELD_STR, FIELD_BIN };

#define FIELD_CTYPE_BOOL bool
#define FIELD_CTYPE_U32 uint32_t
#define FIELD_CTYPE_U64 uint64_t
#define FIELD_CTYPE_I64 int64_t
#define FIELD_CTYPE_STR struct span
#define FIELD_CTYPE_BIN struct span

enum message_type {
#define MESSAGE(number, NAME, name) MESSAGE_##NAME = number,
#define FIELD(name, type, field)
#define END(name)
#include "proto/messages.def"
#undef MESSAGE
#undef FIELD
#undef END
    MESSAGE_TYPES = 64 /* size of a table indexed by type */
};

/* struct hello { struct span role; …; }; `empty_` keeps a message without fields legal C. */
#define MESSAGE(number, NAME, name)                                                                \
    struct name {                                                                                  \
        char empty_;
#define FIELD(name, type, field) FIELD_CTYPE_##type field;
#define END(name)                                                                                  \
    }                                                                                              \
    ;
#include "proto/messages.def"
#undef MESSAGE
#undef FIELD
#undef END

/* Room for any one decoded message. */
union message_body {
#define MESSAGE(number, NAME, name) struct name name;
#define FIELD(name, type, field)
#define END(name)
#include "proto/messages.def"
#undef MESSAGE
#undef FIELD
#undef END
};

struct field_info {
    const char *name;
    enum field_type type;
    uint16_t offset;
};

struct message_info {
    const char *name; /* "AUTHORIZE"; NULL for a number that is no message */
    uint16_t size;    /* of the struct */
    uint16_t field_count;
    const struct field_info *fields;
};

/* NULL for an unknown type. */
const struct message_info *message_info(unsigned type);

#endif
