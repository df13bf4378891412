/* bench_micro: runs one stage so often. tests/bench/micro runs it under callgrind with N and 2 N
 * rounds and subtracts.
 *
 *   bench_micro --list
 *   bench_micro STAGE N */
#include "bench/micro.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct micro_stage *const lists[] = {micro_text_stages, micro_decision_stages,
                                                  micro_pipeline_stages};
enum { LISTS = sizeof lists / sizeof *lists };

void micro_fail(const char *what)
{
    fprintf(stderr, "bench_micro: %s\n", what);
    exit(1);
}

/* "Say it again." over and over makes up the size. */
static struct span body_of(const char *head, const char *tail, size_t bytes)
{
    static const char words[] = "Say it again, but shorter. ";
    size_t fixed = strlen(head) + strlen(tail), fill = bytes > fixed ? bytes - fixed : 0;
    char *text = malloc(fixed + fill + 1);
    if (!text)
        micro_fail("no memory");
    char *p = stpcpy(text, head);
    for (size_t i = 0; i < fill; i++)
        *p++ = words[i % (sizeof words - 1)];
    strcpy(p, tail);
    return span_of(text, fixed + fill);
}

struct span micro_chat_body(size_t bytes, bool stream)
{
    return body_of(
        "{\"model\":\"gpt-4o-mini\",\"temperature\":0.7,\"max_tokens\":1000,\"messages\":["
        "{\"role\":\"system\",\"content\":\"You are terse.\"},"
        "{\"role\":\"user\",\"content\":\"What is \\\"it\\\"?\"},"
        "{\"role\":\"assistant\",\"content\":\"A pronoun.\\n\"},"
        "{\"role\":\"user\",\"content\":\"",
        stream ? "\"}],\"stream\":true,\"user\":\"u1\"}" : "\"}],\"user\":\"u1\"}", bytes);
}

struct span micro_messages_body(size_t bytes, bool stream)
{
    return body_of("{\"model\":\"claude-haiku-4-5\",\"temperature\":0.7,\"max_tokens\":1000,"
                   "\"system\":\"You are terse.\",\"messages\":["
                   "{\"role\":\"user\",\"content\":\"What is \\\"it\\\"?\"},"
                   "{\"role\":\"assistant\",\"content\":\"A pronoun.\\n\"},"
                   "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"",
                   stream ? "\"}]}],\"stream\":true}" : "\"}]}]}", bytes);
}

static const struct micro_stage *find(const char *name)
{
    for (size_t i = 0; i < LISTS; i++)
        for (const struct micro_stage *s = lists[i]; s->name; s++)
            if (strcmp(s->name, name) == 0)
                return s;
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < LISTS; i++)
            for (const struct micro_stage *s = lists[i]; s->name; s++)
                puts(s->name);
        return 0;
    }
    const struct micro_stage *stage = argc == 3 ? find(argv[1]) : NULL;
    if (!stage) {
        fprintf(stderr, "usage: bench_micro --list | STAGE N\n");
        return 2;
    }
    if (stage->prepare)
        stage->prepare();
    for (long n = strtol(argv[2], NULL, 10); n > 0; n--)
        stage->once();
    return 0;
}
