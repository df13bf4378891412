/* Runs a fuzz target over every file of the folders and files named on the command line. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz/fuzz.h"

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return 0;
    (void)fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(size > 0 ? (size_t)size : 1);
    size_t got = size > 0 && bytes ? fread(bytes, 1, (size_t)size, file) : 0;
    (void)fclose(file);
    (void)LLVMFuzzerTestOneInput(bytes, got);
    /* and every prefix of a small one: cheap, and where parsers break */
    for (size_t n = 0; n < got && got <= 512; n++) {
        uint8_t *exact = malloc(n ? n : 1);
        memcpy(exact, bytes, n);
        (void)LLVMFuzzerTestOneInput(exact, n);
        free(exact);
    }
    free(bytes);
    return 1;
}

static int replay_folder(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        char file[1024];
        if (e->d_name[0] == '.')
            continue;
        (void)snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        count += replay_file(file);
    }
    if (dir)
        (void)closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (stat(argv[i], &st) == 0)
            count += S_ISDIR(st.st_mode) ? replay_folder(argv[i]) : replay_file(argv[i]);
    }
    printf("%d inputs replayed\n", count);
    return count ? 0 : 1; /* an empty corpus is a check that cannot fail */
}
