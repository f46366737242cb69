// SPDX-License-Identifier: MIT
//
// libturboquant for C++17: handles that free themselves, failures that throw. Every call is the C call of the same
// name; turboquant.h says what it does. All sizes, strides and defaults are those of the C API.
//
//     tq::context context;
//     tq_codec_desc desc = TQ_CODEC_DESC_INIT;
//     desc.dim = 128;
//     tq::codec codec(context, desc);
//     std::vector<std::uint8_t> codes(n * codec.bytes());
//     codec.encode(keys.data(), n, codes.data(), codes.size());
#ifndef TURBOQUANT_HPP
#define TURBOQUANT_HPP

#include "turboquant.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>

namespace tq
{

/// Thrown when a call returns anything but TQ_OK. Nothing the caller owns has changed then.
class error : public std::runtime_error
{
  public:
    explicit error(tq_status status) : std::runtime_error(tq_status_string(status)), status_(status)
    {
    }

    tq_status status() const noexcept
    {
        return status_;
    }

  private:
    tq_status status_;
};

/// Throws tq::error unless `status` is TQ_OK.
inline void check(tq_status status)
{
    if (status != TQ_OK) {
        throw error(status);
    }
}

/// A backend, an allocator, an executor. Must outlive the codecs made from it. Can be moved, not copied.
class context
{
  public:
    context() : context(nullptr)
    {
    }

    explicit context(const tq_context_desc &desc) : context(&desc)
    {
    }

    const char *backend() const noexcept
    {
        return tq_context_backend(get());
    }

    const tq_context *get() const noexcept
    {
        return handle_.get();
    }

  private:
    explicit context(const tq_context_desc *desc)
    {
        tq_context *handle = nullptr;
        check(tq_context_create(desc, &handle));
        handle_.reset(handle);
    }

    struct deleter {
        void operator()(tq_context *handle) const noexcept
        {
            tq_context_destroy(handle);
        }
    };
    std::unique_ptr<tq_context, deleter> handle_;
};

/// One vector format. Can be moved, not copied; any number of threads may call it at once.
class codec
{
  public:
    codec(const context &context, const tq_codec_desc &desc)
    {
        tq_codec *handle = nullptr;
        check(tq_codec_create(context.get(), &desc, &handle));
        handle_.reset(handle);
    }

    /// Size of one encoded row.
    std::size_t bytes() const noexcept
    {
        return tq_codec_bytes(get());
    }

    /// What the codec really uses, defaults resolved.
    tq_codec_desc describe() const
    {
        tq_codec_desc desc = TQ_CODEC_DESC_INIT;
        check(tq_codec_describe(get(), &desc));
        return desc;
    }

    void encode(const void *x, tq_dtype dtype, std::size_t x_stride, std::size_t n, void *codes,
                std::size_t codes_size) const
    {
        check(tq_encode(get(), x, dtype, x_stride, n, codes, codes_size));
    }

    void decode(const void *codes, std::size_t codes_size, std::size_t n, void *x, tq_dtype dtype,
                std::size_t x_stride) const
    {
        check(tq_decode(get(), codes, codes_size, n, x, dtype, x_stride));
    }

    void attention_scores(const void *q, tq_dtype q_dtype, std::size_t q_stride, std::size_t n_q, const void *codes,
                          std::size_t codes_size, std::size_t n_keys, float scale, float *scores,
                          std::size_t scores_stride) const
    {
        check(tq_attention_scores(get(), q, q_dtype, q_stride, n_q, codes, codes_size, n_keys, scale, scores,
                                  scores_stride));
    }

    void weighted_sum(const float *w, std::size_t w_stride, std::size_t n_q, const void *codes, std::size_t codes_size,
                      std::size_t n, float *out, std::size_t out_stride) const
    {
        check(tq_weighted_sum(get(), w, w_stride, n_q, codes, codes_size, n, out, out_stride));
    }

    // The same for dense rows of float.

    void encode(const float *x, std::size_t n, void *codes, std::size_t codes_size) const
    {
        encode(x, TQ_DTYPE_F32, 0, n, codes, codes_size);
    }

    void decode(const void *codes, std::size_t codes_size, std::size_t n, float *x) const
    {
        decode(codes, codes_size, n, x, TQ_DTYPE_F32, 0);
    }

    void attention_scores(const float *q, std::size_t n_q, const void *codes, std::size_t codes_size,
                          std::size_t n_keys, float scale, float *scores) const
    {
        attention_scores(q, TQ_DTYPE_F32, 0, n_q, codes, codes_size, n_keys, scale, scores, 0);
    }

    void weighted_sum(const float *w, std::size_t n_q, const void *codes, std::size_t codes_size, std::size_t n,
                      float *out) const
    {
        weighted_sum(w, 0, n_q, codes, codes_size, n, out, 0);
    }

    const tq_codec *get() const noexcept
    {
        return handle_.get();
    }

  private:
    struct deleter {
        void operator()(tq_codec *handle) const noexcept
        {
            tq_codec_destroy(handle);
        }
    };
    std::unique_ptr<tq_codec, deleter> handle_;
};

/// A store for sequences. Must outlive them. Can be moved, not copied.
class cache
{
  public:
    cache(const context &context, const tq_cache_desc &desc)
    {
        tq_cache *handle = nullptr;
        check(tq_cache_create(context.get(), &desc, &handle));
        handle_.reset(handle);
    }

    /// Bytes of pages that one sequence of n_tokens takes.
    static std::size_t estimate(const context &context, const tq_cache_desc &desc, std::size_t n_tokens)
    {
        std::size_t bytes = 0;
        check(tq_cache_estimate(context.get(), &desc, n_tokens, &bytes));
        return bytes;
    }

    tq_cache_stats_result stats() const
    {
        tq_cache_stats_result stats{};
        stats.struct_size = sizeof stats;
        check(tq_cache_stats(get(), &stats));
        return stats;
    }

    tq_layer_formats layer_formats(std::uint32_t layer) const
    {
        tq_layer_formats formats{};
        check(tq_cache_layer_formats(get(), layer, &formats));
        return formats;
    }

    tq_cache *get() const noexcept
    {
        return handle_.get();
    }

  private:
    struct deleter {
        void operator()(tq_cache *handle) const noexcept
        {
            tq_cache_destroy(handle);
        }
    };
    std::unique_ptr<tq_cache, deleter> handle_;
};

/// One sequence of tokens in a cache. Can be moved, not copied; fork() makes another.
class sequence
{
  public:
    explicit sequence(const cache &cache) : cache_(cache.get())
    {
        tq_seq *handle = nullptr;
        check(tq_seq_create(cache_, &handle));
        handle_.reset(handle);
    }

    /// A sequence that was saved to a file.
    static sequence load(const cache &cache, const char *path)
    {
        tq_seq *handle = nullptr;
        check(tq_cache_load_file(cache.get(), path, &handle));
        return sequence(cache.get(), handle);
    }

    void save(const char *path) const
    {
        check(tq_cache_save_file(cache_, get(), path));
    }

    sequence fork(std::size_t n_tokens) const
    {
        tq_seq *handle = nullptr;
        check(tq_seq_fork(get(), n_tokens, &handle));
        return sequence(cache_, handle);
    }

    void truncate(std::size_t n_tokens)
    {
        check(tq_seq_truncate(get(), n_tokens));
    }

    void remove(std::size_t first, std::size_t n_tokens)
    {
        check(tq_seq_remove(get(), first, n_tokens));
    }

    std::size_t length(std::uint32_t layer) const noexcept
    {
        return tq_seq_length(get(), layer);
    }

    void forward(std::uint32_t layer, const tq_kv &kv, const tq_attention &attention)
    {
        check(tq_cache_forward(cache_, get(), layer, &kv, &attention));
    }

    void append(std::uint32_t layer, const tq_kv &kv)
    {
        check(tq_cache_append(cache_, get(), layer, &kv));
    }

    void attend(std::uint32_t layer, const tq_attention &attention) const
    {
        check(tq_cache_attend(cache_, get(), layer, &attention));
    }

    void decode(std::uint32_t layer, std::size_t first, const tq_kv_out &kv) const
    {
        check(tq_cache_decode(cache_, get(), layer, first, &kv));
    }

    void demote(const tq_tier *tiers, std::size_t n_tiers)
    {
        check(tq_cache_demote(cache_, get(), tiers, n_tiers));
    }

    void rope_shift(std::uint32_t layer, std::size_t first, std::size_t end, std::int64_t delta, const tq_rope &rope)
    {
        check(tq_cache_rope_shift(cache_, get(), layer, first, end, delta, &rope));
    }

    tq_seq *get() const noexcept
    {
        return handle_.get();
    }

  private:
    sequence(tq_cache *cache, tq_seq *handle) : cache_(cache), handle_(handle)
    {
    }

    struct deleter {
        void operator()(tq_seq *handle) const noexcept
        {
            tq_seq_destroy(handle);
        }
    };
    tq_cache *cache_;
    std::unique_ptr<tq_seq, deleter> handle_;
};

} // namespace tq

#endif // TURBOQUANT_HPP
