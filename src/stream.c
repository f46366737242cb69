/* SPDX-License-Identifier: MIT
 *
 * The one file that knows xxHash: its header is compiled in, so that nothing is linked. */
#include "stream.h"

#define XXH_INLINE_ALL
#include <string.h>
#include <xxhash.h>

_Static_assert(sizeof(XXH3_state_t) <= sizeof(tq_checksum), "tq_checksum has room for the state of XXH3");

static XXH3_state_t *state_of(tq_checksum *checksum)
{
    return (XXH3_state_t *)(void *)checksum->state;
}

static void begin(tq_checksum *checksum)
{
    XXH3_64bits_reset(state_of(checksum));
}

static uint64_t end(tq_checksum *checksum)
{
    const uint64_t digest = XXH3_64bits_digest(state_of(checksum));
    begin(checksum);
    return digest;
}

static void store_le(uint8_t *bytes, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(value >> 8 * i);
    }
}

static uint64_t load_le(const uint8_t *bytes, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value |= (uint64_t)bytes[i] << 8 * i;
    }
    return value;
}

void tq_sink_open(tq_sink *sink, const tq_writer *writer)
{
    sink->writer = writer;
    sink->failed = false;
    begin(&sink->checksum);
}

void tq_sink_bytes(tq_sink *sink, const void *data, size_t size)
{
    if (!sink->failed && size > 0) {
        XXH3_64bits_update(state_of(&sink->checksum), data, size);
        sink->failed = sink->writer->write(sink->writer->user, data, size) != size;
    }
}

static void sink_number(tq_sink *sink, uint64_t value, size_t size)
{
    uint8_t bytes[8];
    store_le(bytes, value, size);
    tq_sink_bytes(sink, bytes, size);
}

void tq_sink_u32(tq_sink *sink, uint32_t value)
{
    sink_number(sink, value, 4);
}

void tq_sink_u64(tq_sink *sink, uint64_t value)
{
    sink_number(sink, value, 8);
}

void tq_sink_checksum(tq_sink *sink)
{
    tq_sink_u64(sink, XXH3_64bits_digest(state_of(&sink->checksum)));
    begin(&sink->checksum);
}

void tq_source_open(tq_source *source, const tq_reader *reader)
{
    source->reader = reader;
    source->bytes = 0;
    source->failed = false;
    begin(&source->checksum);
}

void tq_source_bytes(tq_source *source, void *data, size_t size)
{
    if (!source->failed && size > 0) {
        source->failed = source->reader->read(source->reader->user, data, size) != size;
    }
    if (source->failed) {
        memset(data, 0, size);
    } else {
        XXH3_64bits_update(state_of(&source->checksum), data, size);
        source->bytes += size;
    }
}

static uint64_t source_number(tq_source *source, size_t size)
{
    uint8_t bytes[8];
    tq_source_bytes(source, bytes, size);
    return load_le(bytes, size);
}

uint32_t tq_source_u32(tq_source *source)
{
    return (uint32_t)source_number(source, 4);
}

uint64_t tq_source_u64(tq_source *source)
{
    return source_number(source, 8);
}

bool tq_source_checksum(tq_source *source)
{
    const uint64_t expected = end(&source->checksum);
    const uint64_t found = tq_source_u64(source);
    begin(&source->checksum);
    return !source->failed && found == expected;
}
