#include "services/ctl/import/import.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/runtime/config/config.h"

enum { INCLUDE_DEPTH_MAX = 8, PATH_BYTES = 4096 };

void import_init(struct import *im)
{
    *im = (struct import){0};
    arena_init(&im->arena, 0);
    im->report.arena = im->draft.arena = &im->arena;
}

void import_free(struct import *im)
{
    report_free(&im->report);
    draft_free(&im->draft);
    arena_free(&im->arena);
}

struct import_place import_at(struct import *im, const char *file, const struct yaml *node,
                              const char *format, ...)
{
    char path[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(path, sizeof path, format, args);
    va_end(args);
    unsigned line = !node ? 0 : node->key ? node->key_line : node->line;
    return (struct import_place){file, line, arena_strdup(&im->arena, span_str(path))};
}

const struct yaml *import_member(const struct import *im, const char *section, const char *key,
                                 const char **file_out)
{
    for (size_t i = 0; i < im->file_count; i++) {
        const struct yaml *in = im->files[i].root;
        if (*section)
            in = yaml_member(in, section);
        const struct yaml *found = in && in->kind == YAML_MAP ? yaml_member(in, key) : NULL;
        if (found) {
            if (file_out)
                *file_out = im->files[i].path;
            return found;
        }
    }
    return NULL;
}

struct import_model *import_find_model(const struct import *im, const char *name)
{
    for (size_t i = 0; i < im->model_count; i++) {
        if (strcmp(im->models[i].name, name) == 0)
            return &im->models[i];
    }
    return NULL;
}

enum err import_read_text(struct import *im, const char *name, struct span text,
                          struct buf *errors_out)
{
    struct buf warnings = {0};
    struct yaml_reader reader = {
        .path = name, .arena = &im->arena, .errors = errors_out, .warnings = &warnings};
    if (im->file_count == IMPORT_FILES_MAX) {
        yaml_complain(&reader, 0, "include", "more than %d files", IMPORT_FILES_MAX);
        return ERR_INVALID;
    }
    struct yaml *root = yaml_read(&reader, text);
    if (root && root->kind != YAML_MAP)
        yaml_complain(&reader, root->line, "", "is no map of settings");
    buf_free(&warnings);
    if (!root || root->kind != YAML_MAP)
        return ERR_INVALID;
    im->files[im->file_count++] = (struct import_file){name, root};
    return OK;
}

static enum err read_file(struct import *im, const char *path, unsigned depth,
                          struct buf *errors_out);

/* Relative to the file that includes it. */
static enum err include(struct import *im, const struct import_file *from, const struct yaml *what,
                        unsigned depth, struct buf *errors_out)
{
    const char *name = litellm_text(what), *slash = strrchr(from->path, '/');
    char path[PATH_BYTES];
    if (!name || depth == INCLUDE_DEPTH_MAX) {
        buf_printf(errors_out, "%s:%u: include: %s\n", from->path, what->line,
                   name ? "files include each other too deeply" : "is a list of file names");
        return ERR_INVALID;
    }
    int folder = *name == '/' || !slash ? 0 : (int)(slash - from->path + 1);
    int n = snprintf(path, sizeof path, "%.*s%s", folder, from->path, name);
    if (n < 0 || (size_t)n >= sizeof path)
        return ERR_TOO_BIG;
    const char *copy = arena_strdup(&im->arena, span_str(path));
    return copy ? read_file(im, copy, depth + 1, errors_out) : ERR_NOMEM;
}

static enum err read_file(struct import *im, const char *path, unsigned depth,
                          struct buf *errors_out)
{
    struct buf text = {0};
    enum err e = ERR_INVALID;
    errno = 0;
    if (!config_read_file(path, &text))
        buf_printf(errors_out, "%s: %s\n", path, strerror(errno ? errno : ENOMEM));
    else
        e = import_read_text(im, path, buf_span(&text), errors_out);
    buf_free(&text);
    if (e)
        return e;
    const struct import_file file = im->files[im->file_count - 1];
    const struct yaml *list = yaml_member(file.root, "include");
    for (const struct yaml *i = list && list->kind == YAML_LIST ? list->first : NULL; i && !e;
         i = i->next)
        e = include(im, &file, i, depth, errors_out);
    return e;
}

enum err import_read(struct import *im, const char *path, struct buf *errors_out)
{
    return read_file(im, path, 0, errors_out);
}
