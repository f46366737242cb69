/* SPDX-License-Identifier: MIT
 *
 * What the tests of the Metal kernels share. On Apple systems they run on the GPU, elsewhere on the shim. */
#ifndef TQ_TESTS_METAL_SUPPORT_H
#define TQ_TESTS_METAL_SUPPORT_H

#include "support.h"

#include "kernels/metal/launch_metal.h"

/* The device, and a context of the scalar backend to compare with; opened by main. */
extern tq_gpu *metal_device;
extern const tq_context *scalar_context;

/* Formats with kernels, and dimensions that are walked. */
extern const tq_format METAL_FORMATS[];
extern const size_t N_METAL_FORMATS;
extern const uint32_t METAL_DIMS[];
extern const size_t N_METAL_DIMS;
/* Quick tests walk every seventh pair of them: each format and each dimension comes up. */
bool is_metal_walked(size_t format_index, size_t dim_index);

/* Fails with the device's sentence. */
#define assert_device(call) metal_assert_ok((call), #call, __FILE__, __LINE__)
void metal_assert_ok(tq_status status, const char *call, const char *file, int line);

/* Device memory with these bytes; with uninitialised ones. Freed by metal_free_all. */
tq_gpu_slice metal_copy(const void *data, size_t bytes);
tq_gpu_slice metal_room(size_t bytes);
tq_gpu_slice metal_code(const tq_codec *codec);
/* Waits for what has been launched. */
void metal_read(tq_gpu_slice slice, void *data, size_t bytes);
void metal_free_all(void);
int metal_teardown(void **state); /* Does that, also after a failure. */

/* Vectors of all kinds: Gaussian ones, zeros, spikes, with outliers, tiny and huge ones. */
void fill_vectors(struct rng *rng, const tq_codec *codec, float *x, size_t n);

/* Rows of n Gaussian vectors, by the scalar backend. */
void fill_rows(struct rng *rng, const tq_codec *codec, uint8_t *rows, size_t n);

int run_attention_tests(void);

#endif
