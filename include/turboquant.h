/* libturboquant: key/value cache compression for transformer inference.
 *
 * SPDX-License-Identifier: MIT
 *
 * TurboQuant (arXiv:2504.19874) stores a vector as one fp16 scale and a few bits per coordinate: rotate, round every
 * coordinate to a Lloyd-Max codebook, keep the norm apart. This header is the whole C API.
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
    uint32_t flags; /**< TQ_CONTEXT_* or 0. */
} tq_context_desc;

/** Initialiser for tq_context_desc. */
#define TQ_CONTEXT_DESC_INIT                                                                                           \
    {                                                                                                                  \
        sizeof(tq_context_desc), {0, 0, 0}, {0, 0}, {0, 0}, 0, 0                                                       \
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

/** @defgroup cache Cache: keys and values of all layers, heads and sequences of one model
 *
 * A cache stores what attention has seen and computes attention on it. Tokens come in; the newest stay as they are, in
 * f16; older ones are encoded, page by page. docs/cache.md has the picture.
 *
 * **What a query sees depends on its position alone.** Pages hold TQ_PAGE_TOKENS tokens. A query at position p of its
 * sequence sees page i encoded if i <= p / 64 - 1 - ceil(recent_tokens / 64), and exact (f16) otherwise; the first
 * sink_tokens tokens are always exact. So any way of cutting the same tokens into calls stores the same bytes and
 * returns the same outputs: chunked prefill, speculative decoding and prefix caches agree with plain decoding.
 *
 * Threads: sequences are independent, and distinct ones may be used at the same time, with one writer each (forward,
 * append, truncate; a fork writes neither sequence's tokens, but its parent must not be written meanwhile). Any number
 * of threads may attend to a sequence that is not being written. The context's allocator must be safe to call from all
 * of them.
 * @{ */

#define TQ_PAGE_TOKENS      64         /**< Tokens of a page. */
#define TQ_NO_RECENT_TOKENS 0xFFFFFFFF /**< For recent_tokens: no window beyond the page that is being filled. */

enum {
    TQ_CACHE_NO_K_MEANS = 1, /**< Encode keys as they are, without taking the mean of their page off first. */
    TQ_CACHE_NO_V_MEANS = 2  /**< The same for values. */
};

/** Formats of one layer; TQ_FORMAT_DEFAULT leaves the choice to the cache's desc. */
typedef struct tq_layer_formats {
    tq_format k_format; /**< Of keys. */
    tq_format v_format; /**< Of values. */
} tq_layer_formats;

/** How to make a cache. The first three numbers have no default. */
typedef struct tq_cache_desc {
    size_t struct_size;  /**< sizeof(tq_cache_desc). */
    uint32_t n_layers;   /**< Layers that have keys and values, 1..65536. */
    uint32_t n_kv_heads; /**< Key/value heads of a layer, 1..1024. */
    uint32_t head_dim_k; /**< Coordinates of a key, 1..TQ_MAX_DIM. */
    uint32_t head_dim_v; /**< Coordinates of a value; 0: head_dim_k. */
    tq_format k_format;  /**< Of all layers' keys; default turbo4t, turbo4 if head_dim_k is no multiple of 8. */
    tq_format v_format;  /**< Of all layers' values; default likewise. The prod formats are not for caches. */
    const tq_layer_formats *layers; /**< [n_layers] formats of single layers, or null. Copied. */
    uint32_t recent_tokens;         /**< Tokens kept exact before the page being filled; default 64. */
    uint32_t sink_tokens;           /**< First tokens of a sequence that stay exact forever; at most 64. */
    uint32_t flags;                 /**< TQ_CACHE_*. */
    tq_effort effort;               /**< Of the encoder; default as for codecs. */
    uint64_t seed;                  /**< Of the rotations. */
    size_t memory_limit;            /**< Bytes that pages may take in all; 0: no limit. */
} tq_cache_desc;

/** Initialiser for tq_cache_desc; set n_layers, n_kv_heads and head_dim_k. */
#define TQ_CACHE_DESC_INIT                                                                                             \
    {                                                                                                                  \
        sizeof(tq_cache_desc), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                                                   \
    }

/** Opaque: a store for sequences. */
typedef struct tq_cache tq_cache;

/** Opaque: one sequence of tokens in a cache. */
typedef struct tq_seq tq_seq;

/** Creates an empty cache. The context must outlive it.
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, bad struct_size, a size outside of its range, an unknown
 *         constant); TQ_ERR_UNSUPPORTED (a format that does not exist for the dimension, or is not for caches);
 *         TQ_ERR_OUT_OF_MEMORY. */
TQ_API tq_status tq_cache_create(const tq_context *context, const tq_cache_desc *desc, tq_cache **cache);

/** Destroys a cache and all of its sequences; null is ignored. */
TQ_API void tq_cache_destroy(tq_cache *cache);

/** Computes the bytes of pages that one sequence of n_tokens takes, all layers together, exactly: what
 * tq_cache_stats reports after that many tokens, if no other sequence shares them.
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT or TQ_ERR_UNSUPPORTED (as for tq_cache_create, or a size that overflows). */
TQ_API tq_status tq_cache_estimate(const tq_context *context, const tq_cache_desc *desc, size_t n_tokens,
                                   size_t *bytes);

/** What a cache holds. */
typedef struct tq_cache_stats_result {
    size_t struct_size;   /**< sizeof(tq_cache_stats_result), set by the caller. */
    size_t n_sequences;   /**< Sequences that exist. */
    size_t page_bytes;    /**< Bytes of all pages, shared ones counted once. */
    size_t encoded_bytes; /**< Of these, encoded pages. */
    size_t exact_bytes;   /**< Of these, tokens in f16: windows, pages being filled, sinks. */
} tq_cache_stats_result;

/** Reports what a cache holds now.
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, bad struct_size). */
TQ_API tq_status tq_cache_stats(const tq_cache *cache, tq_cache_stats_result *stats);

/** The formats that a layer really has.
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, layer out of range). */
TQ_API tq_status tq_cache_layer_formats(const tq_cache *cache, uint32_t layer, tq_layer_formats *formats);

/** Creates an empty sequence.
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer); TQ_ERR_OUT_OF_MEMORY. */
TQ_API tq_status tq_seq_create(tq_cache *cache, tq_seq **seq);

/** Creates a sequence that begins with the first n_tokens tokens of another. Pages are shared, and copied when one of
 * the two writes. All layers of the parent must have n_tokens or more.
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, n_tokens too large); TQ_ERR_OUT_OF_MEMORY. */
TQ_API tq_status tq_seq_fork(const tq_seq *parent, size_t n_tokens, tq_seq **seq);

/** Shortens a sequence to n_tokens in all layers. Pages that are no longer needed are freed.
 *
 * Taking back tokens of the newest page, and of the one before it, is exact: what follows is as if they had never been
 * there. A cut further back may find pages encoded that a query at the new end should see exact; they stay encoded.
 * Tokens appended to a page that was cut so are exact until they, too, leave the window, and are then encoded with the
 * mean the page has.
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, a layer that has fewer tokens). */
TQ_API tq_status tq_seq_truncate(tq_seq *seq, size_t n_tokens);

/** Takes n_tokens tokens out of the middle of a sequence, in all layers; those behind move up. `first` and n_tokens are
 * multiples of TQ_PAGE_TOKENS. No page is encoded anew, so it takes no time; but the keys behind still carry the RoPE
 * of their old positions, which tq_cache_rope_shift corrects. What was encoded stays so; sinks in the removed pages go.
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, no multiples of a page, a layer that has fewer tokens). */
TQ_API tq_status tq_seq_remove(tq_seq *seq, size_t first, size_t n_tokens);

/** Destroys a sequence; null is ignored. */
TQ_API void tq_seq_destroy(tq_seq *seq);

/** Tokens of a sequence in a layer; 0 for a null sequence or a layer out of range. */
TQ_API size_t tq_seq_length(const tq_seq *seq, uint32_t layer);

/** New keys and values of one layer: [n_tokens, n_kv_heads, head_dim]. */
typedef struct tq_kv {
    size_t struct_size;    /**< sizeof(tq_kv). */
    const void *k;         /**< Keys, after RoPE. */
    const void *v;         /**< Values. */
    tq_dtype dtype;        /**< Of both. Stored in f16; beyond +-65504 saturated. */
    size_t n_tokens;       /**< May be 0. */
    size_t k_token_stride; /**< Elements from a token to the next; 0: n_kv_heads * k_head_stride. */
    size_t k_head_stride;  /**< Elements from a head to the next; 0: head_dim_k. */
    size_t v_token_stride; /**< As for keys. */
    size_t v_head_stride;  /**< As for keys. */
} tq_kv;

/** Initialiser for tq_kv. */
#define TQ_KV_INIT                                                                                                     \
    {                                                                                                                  \
        sizeof(tq_kv), 0, 0, 0, 0, 0, 0, 0, 0                                                                          \
    }

enum {
    /** The queries are R q, rotated by tq_rotate with the rotation of the layer's keys. */
    TQ_ATTENTION_Q_ROTATED = 1,
    /** Leave the outputs rotated: R out, with the rotation of the layer's values. */
    TQ_ATTENTION_OUT_ROTATED = 2
};

/** Queries of one layer, [n_tokens, n_q_heads, head_dim_k], and where their attention goes. The queries are those of
 * the last n_tokens positions of the sequence; each sees the tokens up to its own. Query head h reads KV head
 * h / (n_q_heads / n_kv_heads). */
typedef struct tq_attention {
    size_t struct_size;       /**< sizeof(tq_attention). */
    const void *q;            /**< Queries, after RoPE. */
    tq_dtype q_dtype;         /**< Their type. */
    uint32_t n_q_heads;       /**< A multiple of n_kv_heads. */
    size_t n_tokens;          /**< May be 0. */
    size_t q_token_stride;    /**< Elements; 0: n_q_heads * q_head_stride. */
    size_t q_head_stride;     /**< Elements; 0: head_dim_k. */
    float scale;              /**< Of the scores; 0: 1 / sqrt(head_dim_k). */
    float soft_cap;           /**< c > 0: scores become c tanh(score / c); 0: none. */
    size_t sliding_window;    /**< w > 0: a query sees its own and the w - 1 tokens before it; 0: all. */
    const float *sink_logits; /**< [n_q_heads] a logit per head that takes weight but has no value, or null. */
    float *out;               /**< [n_tokens, n_q_heads, head_dim_v]. */
    size_t out_token_stride;  /**< Elements; 0: n_q_heads * out_head_stride. */
    size_t out_head_stride;   /**< Elements; 0: head_dim_v. */
    float *lse;               /**< [n_tokens, n_q_heads] log of the sum of exp(score), sinks included, or null. */
    /** Sparse values: a page of 64 values is passed over for a query if all of its weights are below this fraction of
     * the largest weight among the pages before it (and its own). Weights still count in the sum that divides. The
     * error stays below skip_below times the sum of the norms passed over; 0: nothing is passed over. */
    float skip_below;
    uint32_t flags; /**< TQ_ATTENTION_* */
} tq_attention;

/** Initialiser for tq_attention. */
#define TQ_ATTENTION_INIT                                                                                              \
    {                                                                                                                  \
        sizeof(tq_attention), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                                           \
    }

/** One step of one layer: stores new tokens and attends their queries over the past and the new tokens, in the right
 * order for the promise above. For prefill, decoding and speculation alike.
 *
 * kv->n_tokens and attention->n_tokens must be equal. Memory for everything is reserved first: if it runs out, nothing
 * has happened. Work is spread over the executor by KV head.
 *
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, bad struct_size, a sequence of another cache, layer out of
 *         range, heads that do not divide, strides that make no array, negative soft_cap, token counts that differ);
 *         TQ_ERR_NONFINITE (in k, v, q, scale, soft_cap or sink_logits); TQ_ERR_OUT_OF_MEMORY; TQ_ERR_CAPACITY
 *         (memory_limit). */
TQ_API tq_status tq_cache_forward(tq_cache *cache, tq_seq *seq, uint32_t layer, const tq_kv *kv,
                                  const tq_attention *attention);

/** Stores new tokens, without attention: for engines that split the step. All or nothing.
 * @return As for tq_cache_forward. */
TQ_API tq_status tq_cache_append(tq_cache *cache, tq_seq *seq, uint32_t layer, const tq_kv *kv);

/** Attends queries over stored tokens, theirs included. All queries must be in the page of the newest token, since
 * older ones should see exact what may be encoded by now: append in steps that end at multiples of 64, or use
 * tq_cache_forward.
 * @return As for tq_cache_forward; also TQ_ERR_INVALID_ARGUMENT if the sequence has fewer tokens than queries, and
 *         TQ_ERR_UNSUPPORTED if a query is in an older page. */
TQ_API tq_status tq_cache_attend(const tq_cache *cache, const tq_seq *seq, uint32_t layer,
                                 const tq_attention *attention);

/** Formats for tokens of some age. */
typedef struct tq_tier {
    size_t min_age;           /**< In tokens: a page whose newest token is that much older than the sequence's. */
    tq_layer_formats formats; /**< TQ_FORMAT_DEFAULT leaves keys or values as they are. */
} tq_tier;

/** Encodes old tokens of a sequence anew with fewer bits, in place, in all layers: hot, warm and cold tokens in one
 * call. A page takes the formats of the last tier whose min_age it has reached, if they take fewer bytes than what it
 * has, keys and values each for themselves; pages that are still exact, in whole or in part, are left alone. The bytes
 * a page saves are free before the next one is touched. A page that other sequences share is copied for this one.
 *
 * What a query sees then depends on when this was called, too. Encoding twice costs a little more error than encoding
 * once with fewer bits.
 *
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, a sequence of another cache, min_age that does not ascend, an
 *         unknown format); TQ_ERR_UNSUPPORTED (a format that does not exist for the dimension, or is not for caches);
 *         TQ_ERR_OUT_OF_MEMORY: some pages may have been done, each as a whole; nothing is lost, call again. */
TQ_API tq_status tq_cache_demote(tq_cache *cache, tq_seq *seq, const tq_tier *tiers, size_t n_tiers);

/** Which coordinates RoPE turns together. */
typedef int32_t tq_rope_pairing;

enum {
    TQ_ROPE_NEOX = 0,       /**< j and j + n_dims / 2: GPT-NeoX, Llama in transformers, Qwen. */
    TQ_ROPE_INTERLEAVED = 1 /**< 2 j and 2 j + 1: Llama in its own code, GPT-J. */
};

/** Rotary position embedding of one layer: pair j turns by position * freq_scale * theta^(-2 j / n_dims) /
 * freq_factors[j]. */
typedef struct tq_rope {
    size_t struct_size;        /**< sizeof(tq_rope). */
    uint32_t n_dims;           /**< Coordinates that are turned, the first ones; even; 0: head_dim_k. */
    tq_rope_pairing pairing;   /**< TQ_ROPE_* */
    float theta;               /**< Base; 0: 10000. */
    float freq_scale;          /**< Of linear scaling: 1 / factor; 0: 1. */
    const float *freq_factors; /**< [n_dims / 2], of Llama 3 or YaRN scaling; or null: all 1. */
} tq_rope;

/** Initialiser for tq_rope. */
#define TQ_ROPE_INIT                                                                                                   \
    {                                                                                                                  \
        sizeof(tq_rope), 0, 0, 0, 0, 0                                                                                 \
    }

/** Moves the keys of tokens [first, end) of one layer by `delta` positions, for engines that drop or move context: keys
 * are decoded, un-rotated, turned by RoPE, and encoded again with a new page mean (rotated codes alone cannot be
 * turned: the quantiser's rotation and RoPE do not commute). Exact tokens stay f16. Values do not change, nor do
 * positions within the cache. Pages that the range cuts are encoded anew as a whole. Correct to the format's error.
 *
 * Memory for copies of shared pages is reserved first: on an error nothing has changed.
 *
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, a sequence of another cache, layer or tokens out of range, bad
 *         struct_size, n_dims odd or above head_dim_k, unknown pairing, theta or a factor that is not positive);
 *         TQ_ERR_NONFINITE (in rope); TQ_ERR_OUT_OF_MEMORY; TQ_ERR_CAPACITY (memory_limit). */
TQ_API tq_status tq_cache_rope_shift(tq_cache *cache, tq_seq *seq, uint32_t layer, size_t first, size_t end,
                                     int64_t delta, const tq_rope *rope);

/** Where a saved sequence goes. */
typedef struct tq_writer {
    /** Writes `size` bytes and returns how many were written: fewer is a failure. */
    size_t (*write)(void *user, const void *data, size_t size);
    void *user; /**< Passed through. */
} tq_writer;

/** Where a saved sequence comes from. */
typedef struct tq_reader {
    /** Reads `size` bytes and returns how many there were: fewer is the end. */
    size_t (*read)(void *user, void *data, size_t size);
    void *user; /**< Passed through. */
} tq_reader;

/** Saves a sequence in the self-describing, checksummed form of docs/format.md. Rows are stored, not the backend's
 * pages, so that any backend on any machine loads it.
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, a sequence of another cache); TQ_ERR_IO (the writer failed);
 *         TQ_ERR_OUT_OF_MEMORY. */
TQ_API tq_status tq_cache_save(const tq_cache *cache, const tq_seq *seq, const tq_writer *writer);

/** Makes a sequence of a saved one. The cache must have the shape, the options (but effort and memory_limit) and the
 * seed of the one that saved it; tq_cache_read_desc tells them. Its formats may differ: pages keep theirs. Reads no
 * byte more than the sequence has. On any error there is no new sequence.
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer); TQ_ERR_UNSUPPORTED (a cache of another shape, option or seed);
 *         TQ_ERR_CORRUPT (not a saved sequence, it ends early, a checksum or a value is wrong); TQ_ERR_BAD_VERSION (of
 * a version, or with a required flag, layout or codebook, that this library does not know); TQ_ERR_OUT_OF_MEMORY;
 * TQ_ERR_CAPACITY (memory_limit). */
TQ_API tq_status tq_cache_load(tq_cache *cache, const tq_reader *reader, tq_seq **seq);

/** Reads the beginning of a saved sequence: the desc of a cache that it loads into. desc->struct_size is set by the
 * caller. `layers` receives the formats of the layers, if not null, and desc->layers points to it; it has room for
 * `room` of them, and if that is too few, TQ_ERR_BUFFER_TOO_SMALL is returned with desc->n_layers set.
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, bad struct_size); TQ_ERR_BUFFER_TOO_SMALL; TQ_ERR_CORRUPT and
 *         TQ_ERR_BAD_VERSION as for tq_cache_load. */
TQ_API tq_status tq_cache_read_desc(const tq_context *context, const tq_reader *reader, tq_cache_desc *desc,
                                    tq_layer_formats *layers, size_t room);

/** tq_cache_save to a file. It is written under the name `path` with ".part" appended and then renamed, so that a
 * failure leaves an older file as it was.
 * @return As for tq_cache_save; TQ_ERR_IO if the file cannot be written. */
TQ_API tq_status tq_cache_save_file(const tq_cache *cache, const tq_seq *seq, const char *path);

/** tq_cache_load from a file, which must hold nothing else.
 * @return As for tq_cache_load; TQ_ERR_IO if the file cannot be read. */
TQ_API tq_status tq_cache_load_file(tq_cache *cache, const char *path, tq_seq **seq);

/** Gives n layers from `first` on the same formats: all of them, or those of a table line by line.
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, layers beyond n_layers). */
TQ_API tq_status tq_policy_set(tq_layer_formats *layers, size_t n_layers, size_t first, size_t n,
                               tq_layer_formats formats);

/** Fills `layers` with formats for n_layers, protecting the first and last `protect` with better ones. Layers are those
 * that have keys and values: a hybrid model counts no others.
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer). */
TQ_API tq_status tq_policy_protect(tq_layer_formats *layers, size_t n_layers, size_t protect,
                                   tq_layer_formats protected_formats, tq_layer_formats other_formats);
/** @} */

#ifdef __cplusplus
}
#endif

#endif /* TURBOQUANT_H */
