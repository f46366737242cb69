/* libturboquant: key/value cache compression for transformer inference.
 *
 * SPDX-License-Identifier: MIT
 *
 * TurboQuant (arXiv:2504.19874) stores a vector as one fp16 scale and a few bits per coordinate: rotate, round every
 * coordinate to a Lloyd-Max codebook, keep the norm apart. This header is the C API of contexts,
 * codecs and vectors; it includes that of caches, turboquant_cache.h.
 *
 *     tq_context *ctx;                                     a backend, an allocator, an executor
 *     tq_codec *codec;                                     one vector format
 *     tq_context_create(NULL, &ctx);
 *     tq_codec_desc desc = TQ_CODEC_DESC_INIT;
 *     desc.dim = 128;
 *     desc.format = TQ_FORMAT_TURBO4;
 *     tq_codec_create(ctx, &desc, &codec);
 *     tq_encode(codec, keys, TQ_DTYPE_F32, 0, n, codes, n * tq_codec_bytes(codec));
 *     tq_attention_scores(codec, q, TQ_DTYPE_F32, 0, n_q, codes, size, n, scale, scores, n);
 *
 * Rules that hold for every call
 * - A call that can fail returns a tq_status. On any error, nothing the caller owns has changed: no output byte, no
 *   handle. The sentence that says what was wrong goes to the context's log, if it has one.
 * - Structs start with `struct_size`; a field left zero means its default. Fields are only ever added at the end.
 * - Sizes named `_bytes` or `_size` are in bytes; strides are in elements; a stride of 0 means dense rows.
 * - Counts may be 0: then no pointer is read and the call succeeds.
 * - No call starts a thread. The calls over vectors allocate nothing; a cache allocates pages as it grows.
 */
#ifndef TURBOQUANT_H
#define TURBOQUANT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#if defined(TQ_BUILD_SHARED)
#define TQ_API __declspec(dllexport)
#elif defined(TQ_USE_SHARED)
#define TQ_API __declspec(dllimport)
#else
#define TQ_API
#endif
#elif defined(__GNUC__)
#define TQ_API __attribute__((visibility("default")))
#else
#define TQ_API
#endif

/** @defgroup version Version
 * @{ */
#define TQ_VERSION_MAJOR 0 /**< Incompatible changes. */
#define TQ_VERSION_MINOR 1 /**< Additions. */
#define TQ_VERSION_PATCH 0 /**< Corrections. */

/** Version of the library that is running, as major * 10000 + minor * 100 + patch. It may differ from the macros
 * above, which describe the header an application was compiled with. */
TQ_API uint32_t tq_version_number(void);

/** Version of the library that is running, as text ("0.1.0"). Static storage. */
TQ_API const char *tq_version_string(void);
/** @} */

/** @defgroup status Status codes
 * @{ */

/** Result of every call that can fail: 0 is success, errors are negative. Values are frozen. */
typedef int32_t tq_status;

enum {
    TQ_OK = 0,
    TQ_ERR_INVALID_ARGUMENT = -10, /**< A null pointer, an absurd size, a bad stride, a bad struct_size. */
    TQ_ERR_UNSUPPORTED = -20,      /**< A legal request that this build or this machine cannot serve. */
    TQ_ERR_OUT_OF_MEMORY = -30,    /**< The allocator returned null. */
    TQ_ERR_BUFFER_TOO_SMALL = -40, /**< A buffer of the caller holds fewer bytes than the call needs. */
    TQ_ERR_NONFINITE = -50,        /**< A NaN or an infinity in floats that were to be read. */
    TQ_ERR_CORRUPT = -60,          /**< Stored data that no encoder of this library wrote. */
    TQ_ERR_BAD_VERSION = -70,      /**< Stored data of a version this library does not read. */
    TQ_ERR_BACKEND = -80,          /**< A backend failed, or failed its self-test. */
    TQ_ERR_CAPACITY = -90,         /**< A limit that the caller set has been reached. */
    TQ_ERR_IO = -100               /**< A file, or a callback of the caller, could not be read or written. */
};

/** One clear sentence for a status; never null, also for values that are no status. Static storage. */
TQ_API const char *tq_status_string(tq_status status);
/** @} */

/** @defgroup context Context: backend, allocator, executor, log
 * @{ */

/** Memory for handles, and for the pages of caches. Both functions are called on the calling thread: inside *_create
 * and
 * *_destroy calls, and where a cache grows or shrinks (forward, append, fork, truncate). */
typedef struct tq_allocator {
    /** Returns `size` bytes aligned to `alignment` (a power of two, at most 64), or null. `size` is never 0. */
    void *(*alloc)(void *user, size_t alignment, size_t size);
    /** Frees what `alloc` returned. Never called with null. */
    void (*free)(void *user, void *memory);
    void *user; /**< Passed through. */
} tq_allocator;

/** One piece of work: calls with distinct `index` are independent of each other. */
typedef void (*tq_task)(void *arg, size_t index);

/** The caller's threads. The library starts none of its own. */
typedef struct tq_executor {
    /** Calls task(arg, index) once for every index in 0..count-1, on any threads in any order, and returns when all
     * calls have returned. Results never depend on the order or on the number of threads. */
    void (*run)(void *user, tq_task task, void *arg, size_t count);
    void *user; /**< Passed through. */
} tq_executor;

/** The caller's log. */
typedef struct tq_log {
    /** Receives one sentence for every failed call, without a newline; called on the thread that made the call. */
    void (*message)(void *user, tq_status status, const char *sentence);
    void *user; /**< Passed through. */
} tq_log;

/** How to make a context. All zero (but struct_size) is the default: malloc, no threads, no log, best backend. */
typedef struct tq_context_desc {
    size_t struct_size;     /**< sizeof(tq_context_desc). */
    tq_allocator allocator; /**< Both functions, or neither. */
    tq_executor executor;   /**< `run` null: work is done on the calling thread. */
    tq_log log;             /**< `message` null: silent. */
    /** Name of the backend to use, or null for the best one that runs here. A name that is unknown or that cannot run
     * here is TQ_ERR_UNSUPPORTED, never a silent fallback. If null, the environment variable TURBOQUANT_BACKEND is read
     * once, here, by the same rules. */
    const char *backend;
    uint32_t flags;  /**< TQ_CONTEXT_* or 0. */
    uint32_t device; /**< Number of the device, for backends that have several ("cuda"). */
} tq_context_desc;

/** Initialiser for tq_context_desc. */
#define TQ_CONTEXT_DESC_INIT                                                                                           \
    {                                                                                                                  \
        sizeof(tq_context_desc), {0, 0, 0}, {0, 0}, {0, 0}, 0, 0, 0                                                    \
    }

enum { TQ_CONTEXT_IGNORE_ENV = 1 /**< Do not read TURBOQUANT_BACKEND. */ };

/** Opaque: what all other objects share. Immutable after creation; any number of threads may use it at once. */
typedef struct tq_context tq_context;

/** Creates a context. `desc` may be null for the defaults; it and what it points to is copied, but the callbacks and
 * their `user` pointers must live as long as the context. A golden vector is encoded as a self-test.
 *
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null `context`, bad struct_size, half an allocator, unknown flags);
 *         TQ_ERR_UNSUPPORTED (the named backend is unknown or cannot run here); TQ_ERR_OUT_OF_MEMORY; TQ_ERR_BACKEND
 *         (the self-test failed: the library was compiled with floating-point shortcuts that change encoded bytes). */
TQ_API tq_status tq_context_create(const tq_context_desc *desc, tq_context **context);

/** Destroys a context; null is ignored. Everything made from it must have been destroyed before. */
TQ_API void tq_context_destroy(tq_context *context);

/** Name of the backend a context uses. Static storage; null for a null context. */
TQ_API const char *tq_context_backend(const tq_context *context);

/** Name of operation `index` of the inner loops ("lloyd_encode", "page_scores"), as src/kernels/kernels.def lists them;
 * null if there are not so many, and for a null context. A backend need not have all operations: `backend`, if not
 * null, receives the name of the one that does this operation in this context. Names may change from version to
 * version: for reports. Static storage. */
TQ_API const char *tq_context_operation(const tq_context *context, size_t index, const char **backend);

/** Number of backends this library was built with. */
TQ_API size_t tq_backend_count(void);

/** Name of backend `index`, weakest first; null if index >= tq_backend_count(). `usable`, if not null, receives 1 if
 * this machine can run it and else 0. Static storage. */
TQ_API const char *tq_backend_name(size_t index, int *usable);
/** @} */

/** @defgroup formats Formats
 * @{ */

/** Vector format: what the bytes of an encoded vector mean. Values are frozen; files store them. */
typedef int32_t tq_format;

enum {
    TQ_FORMAT_DEFAULT = 0, /**< turbo4. */
    TQ_FORMAT_F16 = 1,     /**< "f16": the vector itself in half precision, not rotated. The exact yardstick. */
    TQ_FORMAT_TURBO1 = 11, /**< "turbo1": fp16 scale and 1 bit per coordinate. */
    TQ_FORMAT_TURBO2 = 12, /**< "turbo2": fp16 scale and 2 bits per coordinate. */
    TQ_FORMAT_TURBO3 = 13, /**< "turbo3": fp16 scale and 3 bits per coordinate. */
    TQ_FORMAT_TURBO4 = 14, /**< "turbo4": fp16 scale and 4 bits per coordinate. */
    TQ_FORMAT_TURBO8 = 18, /**< "turbo8": fp16 scale and 8 bits per coordinate. */
    /** "turbo2-prod": the paper's Algorithm 2, 1 bit of codes and 1 bit of QJL signs of the residual. Here because the
     * paper has it; on every measurement the unbiased scale of turbo2 is better at fewer bytes. */
    TQ_FORMAT_TURBO2_PROD = 22,
    TQ_FORMAT_TURBO3_PROD = 23, /**< "turbo3-prod": 2 bits of codes and 1 bit of signs. */
    TQ_FORMAT_TURBO4_PROD = 24, /**< "turbo4-prod": 3 bits of codes and 1 bit of signs. */
    /** "turbo2t": a trellis code at the bytes of turbo2, with a third less error; slower to encode. The trellis formats
     * need a dim that is a multiple of 8. */
    TQ_FORMAT_TURBO2T = 32,
    TQ_FORMAT_TURBO3T = 33, /**< "turbo3t": a trellis code at the bytes of turbo3. */
    TQ_FORMAT_TURBO4T = 34  /**< "turbo4t": a trellis code at the bytes of turbo4. */
};

/** Number of formats this library knows, TQ_FORMAT_DEFAULT not counted. */
TQ_API size_t tq_format_count(void);

/** Format number `index` of a list in ascending value; TQ_FORMAT_DEFAULT if index >= tq_format_count(). */
TQ_API tq_format tq_format_at(size_t index);

/** Name of a format ("turbo4"); null for a value that is none, and for TQ_FORMAT_DEFAULT. Static storage. */
TQ_API const char *tq_format_name(tq_format format);

/** Finds a format by its exact name.
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer); TQ_ERR_UNSUPPORTED (no format of that name). */
TQ_API tq_status tq_format_parse(const char *name, tq_format *format);

/** Element type of float data at the API's border. */
typedef int32_t tq_dtype;

enum {
    TQ_DTYPE_F32 = 0, /**< IEEE binary32. */
    TQ_DTYPE_F16 = 1, /**< IEEE binary16, as uint16_t in the machine's byte order. */
    TQ_DTYPE_BF16 = 2 /**< bfloat16, as uint16_t in the machine's byte order. */
};
/** @} */

/** @defgroup codec Codec: one vector format
 * @{ */

/** Which orthogonal rotation spreads a vector over its coordinates. */
typedef int32_t tq_rotation;

enum {
    /** Hadamard where one is known for the dimension, else Haar. */
    TQ_ROTATION_DEFAULT = 0,
    /** Random signs, then a Hadamard matrix: O(d log d). Known for d = m * 2^a, m in {1, 12, 20, 28, 36}. */
    TQ_ROTATION_HADAMARD = 1,
    /** A dense random rotation, as in the paper: O(d^2) time and d^2 floats of memory, for any d. */
    TQ_ROTATION_HAAR = 2
};

/** What the stored scale of a vector is chosen to keep. An option of the encoder; the decoder never knows. */
typedef int32_t tq_scale_mode;

enum {
    TQ_SCALE_DEFAULT = 0,  /**< TQ_SCALE_NORM. */
    TQ_SCALE_NORM = 1,     /**< The norm of the decoded vector is that of the vector. Best for keys. */
    TQ_SCALE_UNBIASED = 2, /**< <x, x'> = <x, x>, so that sums over many vectors do not shrink. Best for values. */
    TQ_SCALE_LSQ = 3,      /**< Least squared error. For comparison: it shrinks values. */
    TQ_SCALE_RAW = 4       /**< The paper's: the norm, uncorrected, and one pass (effort is ignored). For comparison. */
};

/** How many roundings the encoder tries for a vector before it keeps the best. No effect on bytes or decoding. */
typedef int32_t tq_effort;

enum {
    TQ_EFFORT_DEFAULT = 0,  /**< TQ_EFFORT_BALANCED; in a trellis format TQ_EFFORT_FAST. */
    TQ_EFFORT_FAST = 1,     /**< One. */
    TQ_EFFORT_BALANCED = 2, /**< Five; three in a trellis format. */
    TQ_EFFORT_BEST = 3      /**< Nine; five in a trellis format. */
};

#define TQ_MAX_DIM 1024 /**< Largest dimension of a codec. */

/** How to make a codec. Only `dim` has no default. */
typedef struct tq_codec_desc {
    size_t struct_size;   /**< sizeof(tq_codec_desc). */
    uint32_t dim;         /**< Coordinates of a vector (head_dim), 1..TQ_MAX_DIM. */
    tq_format format;     /**< TQ_FORMAT_*. */
    tq_rotation rotation; /**< TQ_ROTATION_*; ignored by TQ_FORMAT_F16. */
    tq_scale_mode scale;  /**< TQ_SCALE_*; ignored by TQ_FORMAT_F16 and the prod formats. */
    tq_effort effort;     /**< TQ_EFFORT_*; ignored by TQ_FORMAT_F16, the prod formats and TQ_SCALE_RAW. */
    uint64_t seed;        /**< Seed of the rotation (and of QJL). 0 is a seed like any other. */
} tq_codec_desc;

/** Initialiser for tq_codec_desc; set `dim`. */
#define TQ_CODEC_DESC_INIT                                                                                             \
    {                                                                                                                  \
        sizeof(tq_codec_desc), 0, 0, 0, 0, 0, 0                                                                        \
    }

/** Opaque: one vector format. Immutable after creation; any number of threads may use it at once. */
typedef struct tq_codec tq_codec;

/** Creates a codec. The context must outlive it. Two codecs of equal dim, format, rotation and seed read each other's
 * rows, whatever their scale mode, effort and backend.
 *
 * With the Hadamard rotation, encoded bytes are the same on every backend, machine and compiler (not so for
 * TQ_ROTATION_HAAR and the prod formats, whose matrices come through the C library's log and cos).
 *
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, bad struct_size, dim outside 1..TQ_MAX_DIM, a value that is no
 *         constant of its kind); TQ_ERR_UNSUPPORTED (TQ_ROTATION_HADAMARD for a dim that has none, a trellis format for
 * a dim that is no multiple of 8); TQ_ERR_OUT_OF_MEMORY. */
TQ_API tq_status tq_codec_create(const tq_context *context, const tq_codec_desc *desc, tq_codec **codec);

/** Destroys a codec; null is ignored. */
TQ_API void tq_codec_destroy(tq_codec *codec);

/** Exact size of one encoded row in bytes; 0 for a null codec. Rows have no alignment. */
TQ_API size_t tq_codec_bytes(const tq_codec *codec);

/** Writes what a codec really uses, defaults resolved, to `*desc`, whose struct_size the caller has set.
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, bad struct_size). */
TQ_API tq_status tq_codec_describe(const tq_codec *codec, tq_codec_desc *desc);
/** @} */

/** @defgroup vectors Vectors: rows of codes in the caller's memory
 *
 * A row is one encoded vector of tq_codec_bytes() bytes; rows are stored one after the other. docs/format.md says what
 * each byte means. All calls may run on many threads at once; a call with many rows is spread over the executor.
 * Input and output must not overlap.
 * @{ */

/** Encodes n vectors to n rows.
 *
 * x: [n, dim] of `dtype`, rows `x_stride` elements apart (0: dim). codes: [n] rows, written from the start of `codes`.
 * A vector whose scale rounds to zero in fp16 (a norm below about 3e-8) becomes a row of zero bytes and decodes to
 * zero; one whose scale is beyond fp16 (a norm above 65504) keeps its direction and is stored at 65504 (in a prod
 * format the direction suffers, because the residual saturates too). TQ_FORMAT_F16 saturates each element at +-65504.
 *
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, unknown dtype, 0 < x_stride < dim, sizes that overflow);
 *         TQ_ERR_BUFFER_TOO_SMALL (codes_size < n * tq_codec_bytes()); TQ_ERR_NONFINITE (NaN or infinity in x). */
TQ_API tq_status tq_encode(const tq_codec *codec, const void *x, tq_dtype dtype, size_t x_stride, size_t n, void *codes,
                           size_t codes_size);

/** Decodes n rows to n vectors.
 *
 * codes: [n] rows. x: [n, dim] of `dtype`, rows `x_stride` elements apart (0: dim); elements between rows are not
 * touched. f16 output saturates at +-65504, bf16 at its largest finite value.
 *
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (as for tq_encode); TQ_ERR_BUFFER_TOO_SMALL (codes_size < n rows);
 *         TQ_ERR_CORRUPT (a scale, or an element of an f16 row, is NaN or infinite, or a scale is negative). */
TQ_API tq_status tq_decode(const tq_codec *codec, const void *codes, size_t codes_size, size_t n, void *x,
                           tq_dtype dtype, size_t x_stride);

/** Computes scores[i][j] = scale * <q_i, k_j> for n_q queries and n_keys encoded keys, without decoding the keys: the
 * query is rotated once and multiplied with the codes.
 *
 * q: [n_q, dim] of `q_dtype`, rows `q_stride` elements apart (0: dim). codes: [n_keys] rows. scores: [n_q, n_keys] f32,
 * rows `scores_stride` elements apart (0: n_keys); elements between rows are not touched. `scale` is what attention
 * multiplies with, usually 1/sqrt(dim); it is used as it is, also 0.
 * Not promised: bit-equal results on different backends (docs/numerics.md has the budget); finite scores where
 * |scale| |q| |k| is beyond f32. Rows are not checked here: rows that tq_decode would refuse give meaningless scores,
 * never a crash.
 *
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, unknown dtype, stride shorter than its row, sizes that
 *         overflow); TQ_ERR_BUFFER_TOO_SMALL (codes_size < n_keys rows); TQ_ERR_NONFINITE (in q, or scale). */
TQ_API tq_status tq_attention_scores(const tq_codec *codec, const void *q, tq_dtype q_dtype, size_t q_stride,
                                     size_t n_q, const void *codes, size_t codes_size, size_t n_keys, float scale,
                                     float *scores, size_t scores_stride);

/** Computes out[i] = sum over j of w[i][j] * v_j for n_q rows of weights and n encoded values: the sum is taken over
 * the codes, and each row of `out` is rotated back once.
 *
 * w: [n_q, n] f32, rows `w_stride` elements apart (0: n); zero weights cost nothing. codes: [n] rows.
 * out: [n_q, dim] f32, rows `out_stride` elements apart (0: dim); elements between rows are not touched. With n = 0
 * (and n_q > 0) the sums are empty and `out` is set to zero.
 * Not promised and not checked: as for tq_attention_scores. A call with few rows of w stays on one thread.
 *
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, stride shorter than its row, sizes that overflow);
 *         TQ_ERR_BUFFER_TOO_SMALL (codes_size < n rows); TQ_ERR_NONFINITE (in w). */
TQ_API tq_status tq_weighted_sum(const tq_codec *codec, const float *w, size_t w_stride, size_t n_q, const void *codes,
                                 size_t codes_size, size_t n, float *out, size_t out_stride);

/** Rotates n vectors, y_i = R x_i, with the codec's orthogonal R: for engines that fold R into their weights
 * (TQ_ATTENTION_Q_ROTATED, TQ_ATTENTION_OUT_ROTATED). Codecs of equal dim, rotation and seed have the same R.
 *
 * x, y: [n, dim] f32, rows `x_stride` and `y_stride` elements apart (0: dim); elements between rows are not touched.
 *
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, stride shorter than its row, sizes that overflow);
 *         TQ_ERR_NONFINITE (in x); TQ_ERR_UNSUPPORTED (TQ_FORMAT_F16, which has no rotation). */
TQ_API tq_status tq_rotate(const tq_codec *codec, const float *x, size_t x_stride, size_t n, float *y, size_t y_stride);

/** The inverse, y_i = R^T x_i.
 * @return As for tq_rotate. */
TQ_API tq_status tq_unrotate(const tq_codec *codec, const float *x, size_t x_stride, size_t n, float *y,
                             size_t y_stride);
/** @} */

#ifdef __cplusplus
}
#endif

#include "turboquant_cache.h"

#endif /* TURBOQUANT_H */
