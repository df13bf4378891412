#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <uthash.h>

#include "common/base/log.h"
#include "services/simulator/sim.h"

enum { MAX_FILE = 64 << 20, MAX_RULES = 1024 };

struct rule {
    struct span path, model, text; /* empty: any; model may end in '*' */
    struct span words;
    uint32_t times; /* 0 = always */
    uint32_t used;
};

struct raw {
    UT_hash_handle hh;
    struct buf bytes;
    char name[FAULT_WORD];
};

struct seen {
    UT_hash_handle hh;
    uint32_t count;
    size_t len;
    char words[];
};

struct scripts {
    struct raw *raws;
    struct seen *seen;
    struct rule *rules;
    size_t rule_count;
    struct buf *texts; /* what the rules point into */
    size_t text_count;
};

static enum err read_file(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return ERR_NOT_FOUND;
    buf_init(out, MAX_FILE);
    char *to;
    size_t n = 0;
    while ((to = buf_reserve(out, 65536)) != NULL && (n = fread(to, 1, 65536, f)) > 0)
        out->len += n;
    (void)fclose(f);
    return buf_check(out);
}

/* ---- rules ---- */

static enum err read_condition(struct rule *rule, struct span word)
{
    if (span_starts(word, "path="))
        rule->path = span_skip(word, 5);
    else if (span_starts(word, "model="))
        rule->model = span_skip(word, 6);
    else if (span_starts(word, "text="))
        rule->text = span_skip(word, 5);
    else if (word.len && !span_is(word, "*"))
        return ERR_INVALID;
    return OK;
}

static enum err read_rule(struct rule *rule, struct span line)
{
    size_t arrow = span_find_span(line, SPAN("=>"));
    if (arrow == line.len)
        return ERR_INVALID;
    struct span conditions = span_trim(span_first(line, arrow));
    rule->words = span_trim(span_skip(line, arrow + 2));
    while (conditions.len) {
        enum err e = read_condition(rule, span_cut(&conditions, ' '));
        if (e)
            return e;
        conditions = span_trim(conditions);
    }
    struct sim_fault check;
    fault_init(&check);
    enum err e = fault_parse(&check, rule->words);
    rule->times = check.times;
    return e;
}

static enum err load_rules(struct scripts *s, const char *path)
{
    struct buf *texts = realloc(s->texts, (s->text_count + 1) * sizeof *texts);
    if (!texts)
        return ERR_NOMEM;
    s->texts = texts;
    struct buf *text = &s->texts[s->text_count];
    *text = (struct buf){0};
    s->text_count++;
    enum err e = read_file(path, text);
    struct span rest = buf_span(text);
    for (uint64_t number = 1; !e && rest.len; number++) {
        struct span line = span_trim(span_cut(&rest, '\n'));
        if (!line.len || line.data[0] == '#')
            continue;
        if (s->rule_count == MAX_RULES)
            return ERR_TOO_BIG;
        struct rule rule = {0};
        e = read_rule(&rule, line);
        if (e)
            log_error("script_rule", LSTR("file", path), LU64("line", number),
                      LSTR("error", err_name(e)));
        else
            s->rules[s->rule_count++] = rule;
    }
    return e;
}

/* ---- raw answers ---- */

static enum err load_raw(struct scripts *s, const char *path, struct span name)
{
    if (!name.len || name.len >= FAULT_WORD)
        return ERR_INVALID;
    struct raw *raw = calloc(1, sizeof *raw);
    if (!raw)
        return ERR_NOMEM;
    memcpy(raw->name, name.data, name.len);
    enum err e = read_file(path, &raw->bytes);
    if (e) {
        buf_free(&raw->bytes);
        free(raw);
        return e;
    }
    HASH_ADD_STR(s->raws, name, raw);
    return OK;
}

static enum err load_one(struct scripts *s, const char *path)
{
    const char *slash = strrchr(path, '/');
    struct span name = span_str(slash ? slash + 1 : path);
    if (span_ends(name, ".http"))
        return load_raw(s, path, span_first(name, name.len - 5));
    return load_rules(s, path);
}

static enum err load_folder(struct scripts *s, const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return ERR_NOT_FOUND;
    enum err e = OK;
    const struct dirent *entry;
    while (!e && (entry = readdir(dir)) != NULL) {
        struct span name = span_str(entry->d_name);
        char full[4096];
        if (!span_ends(name, ".http") && !span_ends(name, ".rules"))
            continue;
        if ((size_t)snprintf(full, sizeof full, "%s/%s", path, entry->d_name) >= sizeof full)
            e = ERR_TOO_BIG;
        else
            e = load_one(s, full);
    }
    (void)closedir(dir);
    return e;
}

enum err scripts_load(struct scripts **out, const char *path)
{
    struct scripts *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        return ERR_NOMEM;
    s->rules = calloc(MAX_RULES, sizeof *s->rules);
    struct stat st;
    enum err e = s->rules ? OK : ERR_NOMEM;
    if (!e && path) {
        if (stat(path, &st) < 0)
            e = ERR_NOT_FOUND;
        else
            e = S_ISDIR(st.st_mode) ? load_folder(s, path) : load_one(s, path);
    }
    if (e) {
        scripts_destroy(&s);
        return e;
    }
    *out = s;
    return OK;
}

void scripts_reset(struct scripts *s)
{
    struct seen *seen, *next;
    HASH_ITER(hh, s->seen, seen, next)
    {
        HASH_DEL(s->seen, seen);
        free(seen);
    }
    for (size_t i = 0; i < s->rule_count; i++)
        s->rules[i].used = 0;
}

void scripts_destroy(struct scripts **scripts)
{
    struct scripts *s = *scripts;
    if (!s)
        return;
    struct raw *raw, *next_raw;
    HASH_ITER(hh, s->raws, raw, next_raw)
    {
        HASH_DEL(s->raws, raw);
        buf_free(&raw->bytes);
        free(raw);
    }
    scripts_reset(s);
    for (size_t i = 0; i < s->text_count; i++)
        buf_free(&s->texts[i]);
    free(s->texts);
    free(s->rules);
    free(s);
    *scripts = NULL;
}

struct span scripts_raw(const struct scripts *s, const char *name)
{
    struct raw *raw = NULL;
    HASH_FIND_STR(s->raws, name, raw);
    return raw ? span_of(raw->bytes.data ? raw->bytes.data : "", raw->bytes.len) : SPAN_NONE;
}

bool scripts_count(struct scripts *s, struct span words, uint32_t times)
{
    struct seen *seen = NULL;
    if (!times)
        return true;
    HASH_FIND(hh, s->seen, words.data, words.len, seen);
    if (!seen) {
        seen = calloc(1, sizeof *seen + words.len);
        if (!seen)
            return true;
        memcpy(seen->words, words.data, words.len);
        seen->len = words.len;
        HASH_ADD_KEYPTR(hh, s->seen, seen->words, seen->len, seen);
    }
    return seen->count++ < times;
}

static bool model_matches(struct span pattern, struct span model)
{
    if (!span_ends(pattern, "*"))
        return span_equals(pattern, model);
    pattern.len--;
    return model.len >= pattern.len && !memcmp(model.data, pattern.data, pattern.len);
}

static bool rule_matches(const struct rule *rule, const struct ask *ask)
{
    struct span path = http_path(ask->x);
    if (rule->path.len &&
        (path.len < rule->path.len || memcmp(path.data, rule->path.data, rule->path.len) != 0))
        return false;
    if (rule->model.len && (!ask->model.len || !model_matches(rule->model, ask->model)))
        return false;
    return !rule->text.len || span_find_span(ask->text, rule->text) < ask->text.len;
}

void scripts_apply(const struct scripts *s, const struct ask *ask, struct sim_fault *fault)
{
    for (size_t i = 0; i < s->rule_count; i++) {
        struct rule *rule = &s->rules[i];
        if (!rule_matches(rule, ask) || (rule->times && rule->used >= rule->times))
            continue;
        rule->used++;
        /* checked when it was read */
        if (fault_parse(fault, rule->words))
            log_debug("script_rule_failed", LSPAN("words", rule->words));
    }
}
