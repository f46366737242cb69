/* SPDX-License-Identifier: MIT
 *
 * Saved sequences as files: the only part of the library that opens one. */
#include "cache.h"

#include <stdio.h>
#include <string.h>

static const char PART[] = ".part";

static size_t write_file(void *user, const void *data, size_t size)
{
    return fwrite(data, 1, size, user);
}

static size_t read_file(void *user, void *data, size_t size)
{
    return fread(data, 1, size, user);
}

/* Writes the whole file under its final name or leaves no trace. */
static tq_status save_as(const tq_cache *cache, const tq_seq *seq, const char *part, const char *path)
{
    FILE *file = fopen(part, "wb");
    if (file == NULL) {
        return tq_fail(cache->context, TQ_ERR_IO, "tq_cache_save_file: the file cannot be created");
    }
    const tq_writer writer = {write_file, file};
    tq_status status = tq_cache_save(cache, seq, &writer);
    const bool closed = fclose(file) == 0;
    if (status == TQ_OK && (!closed || rename(part, path) != 0)) {
        status = tq_fail(cache->context, TQ_ERR_IO, "tq_cache_save_file: the file cannot be completed");
    }
    if (status != TQ_OK) {
        remove(part);
    }
    return status;
}

tq_status tq_cache_save_file(const tq_cache *cache, const tq_seq *seq, const char *path)
{
    if (cache == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (path == NULL) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT, "tq_cache_save_file: path is null");
    }
    const size_t length = strlen(path);
    char *part = tq_allocate(&cache->context->allocator, 1, length + sizeof PART);
    if (part == NULL) {
        return tq_fail(cache->context, TQ_ERR_OUT_OF_MEMORY, "tq_cache_save_file: out of memory");
    }
    memcpy(part, path, length);
    memcpy(part + length, PART, sizeof PART);
    const tq_status status = save_as(cache, seq, part, path);
    tq_release(&cache->context->allocator, part);
    return status;
}

tq_status tq_cache_load_file(tq_cache *cache, const char *path, tq_seq **seq)
{
    if (cache == NULL) {
        return TQ_ERR_INVALID_ARGUMENT;
    }
    if (path == NULL || seq == NULL) {
        return tq_fail(cache->context, TQ_ERR_INVALID_ARGUMENT, "tq_cache_load_file: path or seq is null");
    }
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return tq_fail(cache->context, TQ_ERR_IO, "tq_cache_load_file: the file cannot be opened");
    }
    const tq_reader reader = {read_file, file};
    tq_seq *loaded = NULL;
    tq_status status = tq_cache_load(cache, &reader, &loaded);
    if (ferror(file) != 0) {
        status = tq_fail(cache->context, TQ_ERR_IO, "tq_cache_load_file: the file cannot be read");
    } else if (status == TQ_OK && getc(file) != EOF) {
        status = tq_fail(cache->context, TQ_ERR_CORRUPT, "tq_cache_load_file: the file goes on behind the sequence");
    }
    (void)fclose(file);
    if (status != TQ_OK) {
        tq_seq_destroy(loaded);
        return status;
    }
    *seq = loaded;
    return TQ_OK;
}
