#include "common/runtime/config/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/runtime/config/reader.h"

enum { MEMORY_MAX = 64 << 20 };

/* What holds everything a struct config points to. */
struct memory {
    unsigned holders;
    struct arena arena;
    struct config config;
};

static void check_together(struct config_reader *r)
{
    const struct config_options *o = &r->config->options;
    if (!*o->edge_tls_cert != !*o->edge_tls_key)
        yaml_complain(&r->yaml, 0, "edge", "tls_cert and tls_key are needed together");
}

static void read_root(struct config_reader *r, const struct yaml *root)
{
    reader_read_group(r, root, "root", "", NULL);
    for (const struct yaml *m = root->first; m; m = m->next) {
        if (option_is_section(m->key))
            reader_read_group(r, m, m->key, m->key, &r->config->options);
    }
    check_together(r);
    read_providers(r, yaml_member(root, "providers"));
    read_models(r, yaml_member(root, "models"));
    check_model_names(r, root);
}

static enum err read_into(struct memory *memory, const struct span *text, const char *name,
                          const struct config_paths *paths, struct buf *errors)
{
    struct config *c = &memory->config;
    struct buf warnings = {0};
    struct config_reader r = {
        .yaml = {.path = name, .arena = &memory->arena, .errors = errors, .warnings = &warnings},
        .config = c,
        .paths = paths};
    for (const struct option_group *g = option_groups; g->name; g++) {
        if (g->is_section)
            reader_set_defaults(&r, g->name, &c->options);
    }
    const struct yaml *root = text ? yaml_read(&r.yaml, *text) : NULL;
    if (root)
        read_root(&r, root);
    c->warnings = arena_strdup(&memory->arena, buf_span(&warnings));
    buf_free(&warnings);
    if (memory->arena.failed && r.yaml.error_count == 0)
        yaml_complain(&r.yaml, 0, "", "out of memory");
    return r.yaml.error_count ? ERR_INVALID : OK;
}

static enum err read_config(const struct span *text, const char *name,
                            const struct config_paths *paths, struct config **out,
                            struct buf *errors_out)
{
    *out = NULL;
    struct memory *memory = calloc(1, sizeof *memory);
    if (!memory) {
        buf_append_str(errors_out, "out of memory\n");
        return ERR_NOMEM;
    }
    arena_init(&memory->arena, MEMORY_MAX);
    struct config *c = &memory->config;
    c->memory_ = memory;
    memory->holders = 1;
    c->path = text ? arena_strdup(&memory->arena, span_str(name)) : NULL;
    enum err e = read_into(memory, text, name, paths, errors_out);
    if (e)
        config_destroy(&c);
    *out = c;
    return e;
}

enum err config_read(struct span text, const char *name, const struct config_paths *paths,
                     struct config **out, struct buf *errors_out)
{
    return read_config(&text, name, paths, out, errors_out);
}

bool config_read_file(const char *path, struct buf *out)
{
    size_t n = 1;
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    while (n > 0 && out->len <= YAML_MAX_BYTES) {
        char *at = buf_reserve(out, BUFSIZ);
        n = at ? fread(at, 1, BUFSIZ, file) : 0;
        out->len += n;
    }
    bool ok = !ferror(file) && buf_check(out) == OK;
    int why = errno;
    (void)fclose(file);
    errno = why;
    return ok;
}

/* Docker makes a folder where a file to be mounted is not there. */
static void say_unreadable(struct buf *out, const char *path, int why)
{
    buf_printf(out, "%s: %s", path, strerror(why ? why : ENOMEM));
    if (why == EISDIR)
        buf_append_str(out, ": name the file in it (Docker makes a directory of a mounted file "
                            "that does not exist)");
    buf_append_char(out, '\n');
}

enum err config_load(const char *path, const struct config_paths *paths, struct config **out,
                     struct buf *errors_out)
{
    struct buf text = {0};
    if (!path)
        return read_config(NULL, "", paths, out, errors_out);
    *out = NULL;
    errno = 0;
    enum err e = ERR_INVALID;
    if (config_read_file(path, &text))
        e = config_read(buf_span(&text), path, paths, out, errors_out);
    else
        say_unreadable(errors_out, path, errno);
    buf_free(&text);
    return e;
}

struct config *config_retain(const struct config *config)
{
    struct memory *memory = config->memory_;
    memory->holders++;
    return &memory->config;
}

void config_destroy(struct config **config)
{
    struct memory *memory = *config ? (*config)->memory_ : NULL;
    *config = NULL;
    if (!memory || --memory->holders)
        return;
    arena_free(&memory->arena);
    free(memory);
}

/* ---- reload ---- */

static bool same_list(const struct config_list *a, const struct config_list *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = strcmp(a->items[i], b->items[i]) == 0;
    return same;
}

static struct config_list copy_list(struct arena *arena, const struct config_list *from)
{
    struct config_list list = {ARENA_ARRAY(arena, const char *, from->count + 1), 0};
    for (size_t i = 0; list.items && i < from->count; i++)
        list.items[list.count++] = arena_strdup(arena, span_str(from->items[i]));
    return list;
}

/* Says whether it was another one. */
static bool keep_value(const struct option_row *row, struct arena *arena, void *to,
                       const void *from)
{
    if (row->type == OPTION_LIST) {
        bool same = same_list(to, from);
        *(struct config_list *)to = copy_list(arena, from);
        return !same;
    }
    if (row->type == OPTION_STR) {
        const char *const *old = from;
        const char **fresh = to;
        bool same = strcmp(*fresh, *old) == 0;
        *fresh = arena_strdup(arena, span_str(*old));
        return !same;
    }
    size_t size = row->type == OPTION_BOOL  ? sizeof(bool)
                  : row->type == OPTION_U32 ? sizeof(uint32_t)
                                            : sizeof(uint64_t);
    bool same = memcmp(to, from, size) == 0;
    memcpy(to, from, size);
    return !same;
}

enum err config_keep_start_only(struct config *fresh, const struct config *old,
                                void (*on_changed)(void *ctx, const char *section,
                                                   const char *name),
                                void *ctx)
{
    struct memory *memory = fresh->memory_;
    for (const struct option_row *row = option_rows; row->name; row++) {
        if (row->when == OPTION_START &&
            keep_value(row, &memory->arena, (char *)&fresh->options + row->offset,
                       (const char *)&old->options + row->offset))
            on_changed(ctx, row->group, row->name);
    }
    return memory->arena.failed ? ERR_NOMEM : OK;
}
