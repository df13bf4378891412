/* Many schedules, or one again.
 *   schedules [--from N] [--count N] [--jobs N]   seeds N, N + 1, …; the first one that breaks a
 *                                                 rule is told with its trace
 *   schedules --seed N [--lines N]                that one, with the last lines of its trace */
#include "schedules/trial.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char yaml[] = "providers:\n"
                           "  openai: { api_keys: [a] }\n"
                           "  anthropic: { api_keys: [b] }\n"
                           "models:\n"
                           "  plain: { targets: [{provider: openai, model: p}], deadline: 60s }\n"
                           "  pair: { targets: [{provider: openai, model: p}, {provider: "
                           "anthropic, model: p}], deadline: 60s }\n"
                           "  spare: { targets: [{provider: openai, model: p}], fallbacks: "
                           "[other], deadline: 60s }\n"
                           "  other: { targets: [{provider: anthropic, model: p}] }\n";

struct plan {
    uint64_t from, count, jobs, lines;
    bool one;
};

static struct config *load(void)
{
    char path[] = "/tmp/tollgate-schedules-XXXXXX";
    struct config_paths paths = {"/tmp", "/tmp"};
    struct config *config = NULL;
    struct buf errors = {0};
    int fd = mkstemp(path);
    bool written = fd >= 0 && write(fd, yaml, strlen(yaml)) == (ssize_t)strlen(yaml);
    if (!written || close(fd) || config_load(path, &paths, &config, &errors)) {
        fprintf(stderr, "no configuration: %.*s\n", SPAN_ARG(buf_span(&errors)));
        exit(2);
    }
    (void)unlink(path);
    buf_free(&errors);
    return config;
}

static void add(struct tally *sum, const struct tally *more)
{
    uint64_t *to = (uint64_t *)(void *)sum;
    const uint64_t *from = (const uint64_t *)(const void *)more;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += from[i];
}

static void print_tally(uint64_t count, const struct tally *y)
{
    unsigned long long n = count;
    printf("%llu schedules: %llu events, %llu faults, %llu lost messages\n", n,
           (unsigned long long)y->events, (unsigned long long)y->faults,
           (unsigned long long)y->losses);
    printf("  requests %llu:", (unsigned long long)y->requests);
    for (unsigned i = 1; i < OUTCOMES; i++)
        printf(" %s %llu", outcome_text((enum outcome)i), (unsigned long long)y->outcomes[i]);
    printf("\n  grants %llu (%llu standing), renewals %llu, revokes %llu, crossed %llu, reports "
           "%llu, attempts %llu, retries %llu, busy %llu\n  gate:",
           (unsigned long long)y->grants, (unsigned long long)y->standing,
           (unsigned long long)y->renewals, (unsigned long long)y->revokes,
           (unsigned long long)y->crossed, (unsigned long long)y->reports,
           (unsigned long long)y->attempts, (unsigned long long)y->retries,
           (unsigned long long)y->busy);
    for (unsigned i = 0; i < GATE_VERDICTS; i++)
        printf(" %s %llu", gate_verdict_name((enum gate_verdict)i),
               (unsigned long long)y->refused[i]);
    printf("\n");
}

/* With the last lines of what happened. */
static int tell(struct trial *t, struct config *config, uint64_t seed, uint64_t most)
{
    static char lines[TRACE_LINES][240];
    struct tally tally = {0};
    bool ok = trial_run(t, seed, config, &tally, lines);
    uint64_t n = most < TRACE_LINES ? most : TRACE_LINES;
    for (uint64_t i = t->line_count > n ? t->line_count - n : 0; i < t->line_count; i++)
        printf("%s\n", lines[i % TRACE_LINES]);
    if (ok)
        print_tally(1, &tally);
    printf("seed %llu: %s\n", (unsigned long long)seed, ok ? "ok" : t->why);
    if (!ok)
        printf("again: schedules --seed %llu --lines %llu\n", (unsigned long long)seed,
               (unsigned long long)TRACE_LINES);
    return ok ? 0 : 1;
}

/* Seeds from, from + step, …; the tally goes to the pipe. */
static int run_some(const struct plan *plan, uint64_t first, struct config *config, int to)
{
    struct tally tally = {0};
    struct trial *t = calloc(1, sizeof *t);
    int bad = t ? 0 : 2;
    for (uint64_t i = first; !bad && i < plan->count; i += plan->jobs)
        if (!trial_run(t, plan->from + i, config, &tally, NULL))
            bad = tell(t, config, plan->from + i, plan->lines);
    fflush(stdout);
    if (write(to, &tally, sizeof tally) != sizeof tally)
        bad = 2;
    free(t ? t->heap : NULL);
    free(t);
    return bad;
}

static int run_all(const struct plan *plan, struct config *config)
{
    struct tally sum = {0}, part;
    int pipes[2], bad = 0, status;
    if (pipe(pipes))
        return 2;
    for (uint64_t i = 0; i < plan->jobs; i++) {
        pid_t child = fork();
        if (child == 0) {
            close(pipes[0]);
            int code = run_some(plan, i, config, pipes[1]);
            config_destroy(&config);
            exit(code);
        }
        bad |= child < 0;
    }
    close(pipes[1]);
    while (read(pipes[0], &part, sizeof part) == sizeof part)
        add(&sum, &part);
    while (wait(&status) > 0)
        bad |= !WIFEXITED(status) || WEXITSTATUS(status);
    close(pipes[0]);
    if (!bad)
        print_tally(plan->count, &sum);
    return bad;
}

int main(int argc, char **argv)
{
    struct plan plan = {.from = 1, .count = 10000, .jobs = 2, .lines = 60};
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t n = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--from") == 0)
            plan.from = n;
        else if (strcmp(argv[i], "--count") == 0)
            plan.count = n;
        else if (strcmp(argv[i], "--jobs") == 0)
            plan.jobs = n ? n : 1;
        else if (strcmp(argv[i], "--lines") == 0)
            plan.lines = n;
        else if (strcmp(argv[i], "--seed") == 0)
            plan.one = true, plan.from = n;
    }
    struct config *config = load();
    int bad;
    if (plan.one) {
        struct trial *t = calloc(1, sizeof *t);
        bad = t ? tell(t, config, plan.from, plan.lines) : 2;
        free(t ? t->heap : NULL);
        free(t);
    } else {
        bad = run_all(&plan, config);
    }
    config_destroy(&config);
    return bad;
}
