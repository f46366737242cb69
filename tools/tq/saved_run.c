/* SPDX-License-Identifier: MIT */
/* Saving and loading a generation. */
#include "saved_run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char magic[8] = {'T', 'Q', 'T', 'O', 'K', 'E', 'N', 'S'};

/* n <= 8 bytes, the lowest first. */
static bool write_number(FILE *file, uint64_t number, size_t n)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (uint8_t)(number >> 8 * i);
    }
    return fwrite(bytes, 1, n, file) == n;
}

static bool read_number(FILE *file, uint64_t *number, size_t n)
{
    uint8_t bytes[8];
    *number = 0;
    if (fread(bytes, 1, n, file) != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        *number |= (uint64_t)bytes[i] << 8 * i;
    }
    return true;
}

static bool write_tokens(FILE *file, const struct tokens *tokens)
{
    bool ok = fwrite(magic, 1, sizeof magic, file) == sizeof magic && write_number(file, tokens->n, 8);
    for (size_t i = 0; i < tokens->n && ok; i++) {
        ok = write_number(file, tokens->ids[i], 4);
    }
    return ok;
}

bool saved_run_write(const char *path, const struct kv_store *store, const struct tokens *tokens, struct error *error)
{
    char part[4096];
    if (store->ops->save == NULL) {
        return error_input(error, "f32, q8_0 and q4_0 caches cannot be saved");
    }
    const int length = snprintf(part, sizeof part, "%s.part", path);
    FILE *file = length > 0 && (size_t)length < sizeof part ? fopen(part, "wb") : NULL;
    if (file == NULL) {
        return error_input(error, "%s: cannot be written: %s", path, strerror(errno));
    }
    bool ok = store->ops->save(store, file, error) && write_tokens(file, tokens);
    ok = fclose(file) == 0 && ok && rename(part, path) == 0;
    if (!ok) {
        remove(part);
    }
    return ok || error_run(error, "%s: cannot be written", path);
}

bool saved_run_read_tokens(FILE *file, const char *path, struct tokens *tokens, struct error *error)
{
    char found[sizeof magic];
    uint64_t n;
    uint64_t id;
    bool ok = fread(found, 1, sizeof found, file) == sizeof found && memcmp(found, magic, sizeof magic) == 0 &&
              read_number(file, &n, 8);
    for (uint64_t i = 0; ok && i < n; i++) {
        ok = read_number(file, &id, 4);
        if (ok && !tokens_append(tokens, (uint32_t)id, error)) {
            return false;
        }
    }
    return ok || error_input(error, "%s: not a saved generation, or not all of it", path);
}

struct kv_store *saved_run_read(const char *path, const struct model *model, const struct threads *threads,
                                struct tokens *tokens, struct error *error)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        error_set(error, EXIT_INPUT, "%s: cannot be opened: %s", path, strerror(errno));
        return NULL;
    }
    struct kv_store *store = kv_turboquant_load(path, file, model, threads, error);
    bool ok = store != NULL && saved_run_read_tokens(file, path, tokens, error);
    if (ok && tokens->n <= store->n_tokens) {
        ok = error_input(error, "%s: the cache has more tokens than the text", path);
    }
    fclose(file);
    if (!ok) {
        kv_store_destroy(store);
        return NULL;
    }
    return store;
}
