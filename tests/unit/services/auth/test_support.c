#include "unit/services/auth/test_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <dirent.h>

void test_folder(char out[64])
{
    (void)snprintf(out, 64, "/tmp/tollgate-auth-XXXXXX");
    assert_non_null(mkdtemp(out));
}

void test_folder_remove(const char *folder)
{
    DIR *d = opendir(folder);
    struct dirent *entry;
    char path[512];
    while (d && (entry = readdir(d))) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.')
            (void)unlink(path);
    }
    if (d)
        (void)closedir(d);
    (void)rmdir(folder);
}

struct config *test_config(const char *yaml)
{
    char folder[64], path[128];
    test_folder(folder);
    (void)snprintf(path, sizeof path, "%s/tollgate.yaml", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    (void)fputs(yaml, f);
    (void)fclose(f);
    struct config *config = NULL;
    struct buf errors = {0};
    const struct config_paths paths = {folder, folder};
    if (config_load(path, &paths, &config, &errors)) {
        print_message("%.*s\n", (int)errors.len, errors.data);
        fail();
    }
    buf_free(&errors);
    test_folder_remove(folder);
    return config;
}

struct key *test_key(struct keys *keys, struct key_attributes a, uint8_t digest_out[SHA256_BYTES])
{
    char text[KEY_TEXT_BYTES], id[KEY_ID_BYTES], hint[KEY_HINT_BYTES];
    keys_new_id(&a, id);
    keys_new_secret(keys, &a, text, hint);
    assert_int_equal(keys_add(keys, &a), OK);
    crypto_sha256(span_str(text), digest_out);
    return keys_find_id(keys, span_str(id));
}
