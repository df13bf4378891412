#include "proto/message.h"

#define MESSAGE(number, NAME, name) static const struct field_info name##_fields[] = {
#define FIELD(name, type, field) {#field, FIELD_##type, offsetof(struct name, field)},
#define END(name)                                                                                  \
    {                                                                                              \
        NULL, FIELD_BOOL, 0                                                                        \
    }                                                                                              \
    }                                                                                              \
    ;
#include "proto/messages.def"
#undef MESSAGE
#undef FIELD
#undef END

static const struct message_info infos[MESSAGE_TYPES] = {
#define MESSAGE(number, NAME, name)                                                                \
    [number] = {#NAME, sizeof(struct name), sizeof name##_fields / sizeof name##_fields[0] - 1,    \
                name##_fields},
#define FIELD(name, type, field)
#define END(name)
#include "proto/messages.def"
#undef MESSAGE
#undef FIELD
#undef END
};

const struct message_info *message_info(unsigned type)
{
    return type < MESSAGE_TYPES && infos[type].name ? &infos[type] : NULL;
}
