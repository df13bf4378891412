#include "common/base/model_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FILE_MAX = 4 << 20, PATH_BYTES = 4096 };

static bool try_path(struct buf *out, struct span folder, const char *rest)
{
    buf_clear(out);
    buf_append(out, folder);
    buf_append_str(out, rest);
    buf_append_char(out, '\0');
    if (buf_check(out) || access(out->data, R_OK) != 0)
        return false;
    out->len--;
    return true;
}

static struct span own_folder(char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size);
    while (n > 0 && path[n - 1] != '/')
        n--;
    return n > 0 ? span_of(path, (size_t)n) : SPAN("./");
}

enum err model_file_path(struct buf *out)
{
    char exe[PATH_BYTES];
    const char *share = getenv("TOLLGATE_SHARE");
    if (share && *share)
        return try_path(out, span_str(share), "/models.json") ? OK : ERR_NOT_FOUND;
    if (try_path(out, own_folder(exe, sizeof exe), "../share/tollgate/models.json") ||
        try_path(out, SPAN("/usr/local/share/tollgate"), "/models.json") ||
        try_path(out, SPAN("/usr/share/tollgate"), "/models.json"))
        return OK;
    return ERR_NOT_FOUND;
}

static enum err read_all(const char *path, struct buf *text)
{
    FILE *file = fopen(path, "rbe");
    if (!file)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    size_t n = 1;
    while (n > 0) {
        char *at = buf_reserve(text, 16384);
        n = at ? fread(at, 1, 16384, file) : 0;
        text->len += n;
    }
    enum err e = ferror(file) ? ERR_IO : buf_check(text);
    (void)fclose(file);
    return e;
}

enum err model_file_load(const char *path, struct model_file *out)
{
    *out = (struct model_file){0};
    buf_init(&out->text, FILE_MAX);
    enum err e = read_all(path, &out->text);
    if (!e)
        e = json_parse(&out->doc, buf_span(&out->text), JSON_DEPTH_CLIENT);
    if (!e && json_type(json_get(json_root(&out->doc), "models")) != JSON_ARRAY)
        e = ERR_INVALID;
    if (e)
        model_file_free(out);
    return e;
}

void model_file_free(struct model_file *f)
{
    json_doc_free(&f->doc);
    buf_free(&f->text);
}

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool matches(struct span pattern, struct span model, bool exact)
{
    if (exact)
        return span_equals(pattern, model);
    if (pattern.len > model.len || !span_equals(span_first(model, pattern.len), pattern))
        return false;
    if (pattern.len == 0 || pattern.len == model.len || !is_word(pattern.data[pattern.len - 1]))
        return true;
    return memchr("-@:/", model.data[pattern.len], 4) != NULL;
}

static struct json find(struct json models, const char *provider, struct span model)
{
    struct json best = JSON_NOTHING;
    size_t longest = 0;
    for (struct json_iter i = json_iter(models); json_next(&i);) {
        struct span pattern = json_text(json_get(i.value, "match"));
        bool exact = false;
        (void)json_bool(json_get(i.value, "exact"), &exact);
        if (!pattern.data || !json_is(json_get(i.value, "provider"), provider) ||
            !matches(pattern, model, exact))
            continue;
        if (json_type(best) != JSON_NONE && pattern.len <= longest)
            continue;
        best = i.value;
        longest = pattern.len;
    }
    return best;
}

struct json model_file_find(const struct model_file *f, const char *provider, const char *protocol,
                            struct span model)
{
    struct json models = json_get(json_root(&f->doc), "models");
    struct json row = find(models, provider, model);
    return json_type(row) == JSON_NONE ? find(models, protocol, model) : row;
}
