// SPDX-License-Identifier: MIT
//
// The C++ wrapper: handles free themselves, failures throw.
#include <turboquant.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

int main()
{
    constexpr std::size_t dim = 80, count = 100;
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> keys(count * dim), decoded(count * dim), scores(count), weights(count, 1.0F / count), mean(dim);
    for (float &x : keys) {
        x = normal(random);
    }

    const tq::context context;
    tq_codec_desc desc = TQ_CODEC_DESC_INIT;
    desc.dim = dim;
    desc.format = TQ_FORMAT_TURBO3;
    const tq::codec codec(context, desc);
    std::vector<std::uint8_t> codes(count * codec.bytes());

    codec.encode(keys.data(), count, codes.data(), codes.size());
    codec.decode(codes.data(), codes.size(), count, decoded.data());
    codec.attention_scores(keys.data(), 1, codes.data(), codes.size(), count, 1.0F, scores.data());
    codec.weighted_sum(weights.data(), 1, codes.data(), codes.size(), count, mean.data());

    // Row by row, the scores and the sum must be those of the decoded rows.
    double error = 0;
    std::vector<double> sum(dim);
    for (std::size_t i = 0; i < count; i++) {
        double score = 0;
        for (std::size_t j = 0; j < dim; j++) {
            score += double(keys[j]) * double(decoded[i * dim + j]);
            sum[j] += double(decoded[i * dim + j]) / count;
        }
        error = std::fmax(error, std::fabs(score - double(scores[i])));
    }
    for (std::size_t j = 0; j < dim; j++) {
        error = std::fmax(error, std::fabs(sum[j] - double(mean[j])));
    }
    std::printf("backend %s, %zu bytes a row, largest difference %.1e\n", context.backend(), codec.bytes(), error);

    // The cache: one prompt of 100 tokens with a head of 80 coordinates, forked, and one token more.
    tq_cache_desc shape = TQ_CACHE_DESC_INIT;
    shape.n_layers = 1;
    shape.n_kv_heads = 1;
    shape.head_dim_k = dim;
    tq::cache cache(context, shape);
    tq::sequence prompt(cache);
    tq_kv tokens = TQ_KV_INIT;
    tokens.k = tokens.v = keys.data();
    tokens.n_tokens = count;
    prompt.append(0, tokens);
    tq::sequence answer = prompt.fork(count);
    tq_attention attention = TQ_ATTENTION_INIT;
    attention.q = keys.data();
    attention.n_q_heads = 1;
    attention.n_tokens = tokens.n_tokens = 1;
    attention.out = mean.data();
    answer.forward(0, tokens, attention);
    std::printf("%zu and %zu tokens in %zu bytes\n", prompt.length(0), answer.length(0), cache.stats().page_bytes);

    try {
        codec.encode(keys.data(), count, codes.data(), codes.size() - 1);
    } catch (const tq::error &failure) {
        std::printf("one byte short: %s\n", failure.what());
        return failure.status() == TQ_ERR_BUFFER_TOO_SMALL && error < 1e-3 ? 0 : 1;
    }
    return 1;
}
