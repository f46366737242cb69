/* SPDX-License-Identifier: MIT
 *
 * What the tests of devices share: a cache of the scalar backend beside one on a device. */
#ifndef TQ_TESTS_DEVICE_PAIR_H
#define TQ_TESTS_DEVICE_PAIR_H

#include "cache_support.h"
#include "saved_support.h"

/* A context with this backend; its failures are printed. */
tq_context *open_backend(const char *name);

struct pair {
    tq_context *contexts[2]; /* Scalar, the device's. */
    tq_cache *caches[2];
    tq_cache_desc desc;
};

struct pair open_pair(const char *device, const tq_cache_desc *desc);
void close_pair(struct pair *pair);

/* A sequence in each. */
void open_seqs(struct pair *pair, tq_seq *seqs[2]);

/* What is saved of both, byte by byte. */
void assert_stored_alike(struct pair *pair, tq_seq *const seqs[2]);

#endif
