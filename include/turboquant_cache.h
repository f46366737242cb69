/* libturboquant: the cache. Include turboquant.h, which includes this.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TURBOQUANT_CACHE_H
#define TURBOQUANT_CACHE_H

#include "turboquant.h"

#ifdef __cplusplus
extern "C" {
#endif

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
 * of them. Devices allow less: docs/cuda.md and docs/metal.md.
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
    void *stream;          /**< On a device: where the work is queued (CUDA: a CUstream); null is its default stream. */
} tq_kv;

/** Initialiser for tq_kv. */
#define TQ_KV_INIT                                                                                                     \
    {                                                                                                                  \
        sizeof(tq_kv), 0, 0, 0, 0, 0, 0, 0, 0, 0                                                                       \
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
     * the largest weight so far, in the range of pages that is worked on together. Weights still count in the sum that
     * divides. The error stays below skip_below times the sum of the norms passed over; 0: nothing is passed over. */
    float skip_below;
    uint32_t flags; /**< TQ_ATTENTION_* */
    void *stream;   /**< As in tq_kv, whose counts where there are both. */
} tq_attention;

/** Initialiser for tq_attention. */
#define TQ_ATTENTION_INIT                                                                                              \
    {                                                                                                                  \
        sizeof(tq_attention), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                                        \
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

/** One step of one layer for many sequences: what tq_cache_forward, tq_cache_append or tq_cache_attend does for one. Of
 * kv's and attention's tokens, sequence i has those from i * n on, n = n_tokens / n_seqs: an engine's batch, in which
 * sequences may have any lengths. On a device it is one launch for up to 64 sequences, as long as no sequence's new
 * tokens cross the end of a page.
 *
 * `kv` null: nothing is stored. `attention` null: nothing is attended. All or nothing, for all sequences together.
 * @return As for tq_cache_forward and tq_cache_attend; TQ_ERR_INVALID_ARGUMENT also if a sequence is there twice, or if
 *         n_tokens is no multiple of n_seqs. */
TQ_API tq_status tq_cache_forward_batch(tq_cache *cache, tq_seq *const *seqs, size_t n_seqs, uint32_t layer,
                                        const tq_kv *kv, const tq_attention *attention);

/** Where keys and values of one layer go: [n_tokens, n_kv_heads, head_dim]. */
typedef struct tq_kv_out {
    size_t struct_size;    /**< sizeof(tq_kv_out). */
    void *k;               /**< Keys, as they were given. */
    void *v;               /**< Values. */
    tq_dtype dtype;        /**< Of both. f16 and bf16 are rounded, beyond their range saturated. */
    size_t n_tokens;       /**< May be 0. */
    size_t k_token_stride; /**< Elements from a token to the next; 0: n_kv_heads * k_head_stride. */
    size_t k_head_stride;  /**< Elements from a head to the next; 0: head_dim_k. */
    size_t v_token_stride; /**< As for keys. */
    size_t v_head_stride;  /**< As for keys. */
    void *stream;          /**< As in tq_kv. */
} tq_kv_out;

/** Initialiser for tq_kv_out. */
#define TQ_KV_OUT_INIT                                                                                                 \
    {                                                                                                                  \
        sizeof(tq_kv_out), 0, 0, 0, 0, 0, 0, 0, 0, 0                                                                   \
    }

/** Decodes tokens first .. first + kv->n_tokens - 1 of one layer, each as the newest token of the sequence sees it:
 * what is encoded to the format's error, what is still exact exactly.
 *
 * For engines that attend a large chunk of a prompt with a kernel of their own: they decode the past into a buffer that
 * all layers share, attend to it and to the chunk's own keys and values, and append these. docs/cuda.md says when that
 * pays. The chunk's queries then see its tokens exact, so the promise above does not hold for them.
 *
 * On a device the calls return before the work is done, as others do.
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, a sequence of another cache, a layer out of range, fewer
 * tokens, strides that make no array, memory that is not the device's); TQ_ERR_OUT_OF_MEMORY and TQ_ERR_BACKEND on
 *         devices alone. */
TQ_API tq_status tq_cache_decode(const tq_cache *cache, const tq_seq *seq, uint32_t layer, size_t first,
                                 const tq_kv_out *kv);

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
 * once with fewer bits. On a CUDA device pages go to the host and back, and the call waits for them.
 *
 * @return TQ_OK; TQ_ERR_INVALID_ARGUMENT (null pointer, a sequence of another cache, min_age that does not ascend, an
 *         unknown format); TQ_ERR_UNSUPPORTED (a format that does not exist for the dimension, or is not for caches;
 *         a cache on a Metal device); TQ_ERR_OUT_OF_MEMORY, and TQ_ERR_CAPACITY (memory_limit has no room for the copy
 *         of a shared page): some pages may have been done, each as a whole; nothing is lost, call again;
 *         TQ_ERR_BACKEND on devices alone. */
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

#endif /* TURBOQUANT_CACHE_H */
