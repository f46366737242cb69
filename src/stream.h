/* SPDX-License-Identifier: MIT
 *
 * Saved data as it goes through the caller's callbacks: little-endian numbers and bytes, checksummed with
 * XXH3-64 (Y. Collet's xxHash). An error sticks: after it, nothing is written, and reads give zeros. */
#ifndef TQ_STREAM_H
#define TQ_STREAM_H

#include "turboquant.h"

#include <stdbool.h>

/* Room for the state of the checksum, whose type stays in stream.c. */
typedef struct tq_checksum {
    _Alignas(64) unsigned char state[640];
} tq_checksum;

typedef struct tq_sink {
    tq_checksum checksum; /* Of what was written since the last tq_sink_checksum. */
    const tq_writer *writer;
    bool failed;
} tq_sink;

void tq_sink_open(tq_sink *sink, const tq_writer *writer);
void tq_sink_bytes(tq_sink *sink, const void *data, size_t size);
void tq_sink_u32(tq_sink *sink, uint32_t value);
void tq_sink_u64(tq_sink *sink, uint64_t value);
/* Writes the checksum of the bytes since the last one, and begins anew. */
void tq_sink_checksum(tq_sink *sink);

typedef struct tq_source {
    tq_checksum checksum;
    const tq_reader *reader;
    uint64_t bytes; /* Read so far. */
    bool failed;
} tq_source;

void tq_source_open(tq_source *source, const tq_reader *reader);
void tq_source_bytes(tq_source *source, void *data, size_t size);
uint32_t tq_source_u32(tq_source *source);
uint64_t tq_source_u64(tq_source *source);
/* Reads a checksum; true if it is that of the bytes since the last one. Begins anew. */
bool tq_source_checksum(tq_source *source);

#endif /* TQ_STREAM_H */
