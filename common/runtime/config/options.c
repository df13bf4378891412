/* The table of options: reading its sections, and printing it. */
#include "common/runtime/config/reader.h"

#include "common/runtime/config/value.h"

enum option_type { OPTION_BOOL, OPTION_U32, OPTION_SIZE, OPTION_MS, OPTION_STR, OPTION_LIST };

struct option {
    const char *section, *name;
    enum option_type type;
    size_t offset;
    const char *def, *help;
};

static const struct option options[] = {
#define OPTION(section, name, type, def, help)                                                     \
    {#section, #name, OPTION_##type, offsetof(struct config_options, section##_##name), def, help},
#include "common/runtime/config/options.def"
#undef OPTION
};

enum { OPTION_COUNT = sizeof options / sizeof options[0] };

/* {run} and {state} become the directories. */
static const char *with_paths(struct config_reader *r, const char *text)
{
    static const char *const names[] = {"{run}", "{state}"};
    const char *values[] = {r->paths->run, r->paths->state};
    for (int i = 0; i < 2; i++) {
        const char *at = strstr(text, names[i]);
        if (at && values[i]) {
            struct span s = arena_printf(r->yaml.arena, "%.*s%s%s", (int)(at - text), text,
                                         values[i], at + strlen(names[i]));
            text = s.data ? s.data : text;
        }
    }
    return text;
}

static bool set_scalar(struct config_reader *r, const struct option *o, const char *text)
{
    void *at = (char *)&r->config->options + o->offset;
    switch (o->type) {
    case OPTION_BOOL:
        return value_bool(text, at);
    case OPTION_U32:
        return value_u32(text, at);
    case OPTION_SIZE:
        return value_size(text, at);
    case OPTION_MS:
        return value_duration_ms(text, at);
    case OPTION_STR:
        *(const char **)at = with_paths(r, text);
        return true;
    case OPTION_LIST:
        break;
    }
    return false;
}

static const char *const type_words[] = {"expected true or false",
                                         "expected a whole number",
                                         "expected a size such as 32MiB",
                                         "expected a duration with its unit, such as 10s or 250ms",
                                         "expected text",
                                         "expected a list"};

static void set_list(struct config_reader *r, const struct option *o, struct config_list list)
{
    for (size_t i = 0; i < list.count; i++)
        list.items[i] = with_paths(r, list.items[i]);
    *(struct config_list *)(void *)((char *)&r->config->options + o->offset) = list;
}

/* "a,b" of the table's default column. */
static struct config_list split_default(struct config_reader *r, const char *text)
{
    struct config_list list = {ARENA_ARRAY(r->yaml.arena, const char *, strlen(text) + 1), 0};
    struct span rest = span_str(text);
    while (list.items && rest.len)
        list.items[list.count++] = arena_strdup(r->yaml.arena, span_cut(&rest, ','));
    return list;
}

void read_option_defaults(struct config_reader *r)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (options[i].type == OPTION_LIST)
            set_list(r, &options[i], split_default(r, options[i].def));
        else
            (void)set_scalar(r, &options[i], options[i].def);
    }
}

bool is_option_section(const char *name)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (strcmp(options[i].section, name) == 0)
            return true;
    }
    return false;
}

void read_option_section(struct config_reader *r, const struct yaml *section)
{
    const char *names[OPTION_COUNT + 1];
    size_t n = 0;
    if (section->kind == YAML_TEXT && !*section->text)
        return; /* `edge:` with nothing below */
    if (section->kind != YAML_MAP) {
        reader_complain(r, section, section->key, "expected keys and values");
        return;
    }
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        if (strcmp(o->section, section->key) != 0)
            continue;
        names[n++] = o->name;
        const struct yaml *node = yaml_member(section, o->name);
        const char *where = node ? reader_place(r, section->key, o->name) : "";
        if (!node)
            continue;
        if (o->type == OPTION_LIST) {
            set_list(r, o, reader_list(r, node, where));
        } else {
            const char *text = reader_text(r, node, where);
            if (text && !set_scalar(r, o, text))
                reader_complain(r, node, where, type_words[o->type]);
        }
    }
    names[n] = NULL;
    yaml_check_keys(&r->yaml, section, section->key, names);
}

void option_sections(const char **out)
{
    size_t n = 0;
    for (size_t i = 0; i < OPTION_COUNT && n < OPTION_SECTIONS_MAX - 1; i++) {
        if (i == 0 || strcmp(options[i].section, options[i - 1].section) != 0)
            out[n++] = options[i].section;
    }
    out[n] = NULL;
}

void config_print_defaults(struct buf *out)
{
    const char *section = "";
    buf_append_str(out, "# Every option of tollgate with its default. Sizes are powers of 1024; "
                        "durations need a unit.\n");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        if (strcmp(section, o->section) != 0) {
            section = o->section;
            buf_printf(out, "\n%s:\n", section);
        }
        buf_printf(out, "  # %s\n", o->help);
        if (o->type == OPTION_LIST) {
            buf_printf(out, "  %s: [", o->name);
            struct span rest = span_str(o->def);
            for (bool first = true; rest.len; first = false) {
                struct span item = span_cut(&rest, ',');
                buf_printf(out, "%s\"%.*s\"", first ? "" : ", ", SPAN_ARG(item));
            }
            buf_append_str(out, "]\n");
        } else if (o->type == OPTION_STR) {
            buf_printf(out, "  %s: \"%s\"\n", o->name, o->def);
        } else {
            buf_printf(out, "  %s: %s\n", o->name, o->def);
        }
    }
}
