/* SPDX-License-Identifier: MIT
 *
 * Decode attention over encoded pages and exact tokens. For each query row and each token it sees,
 *
 *     s = cap(scale (s_k <q', key levels> + centred <q', key mean>) / dim)     encoded; q' the rotated query
 *     s = cap(scale <q, key>)                                                  exact, and sinks
 *     w = exp(s - top);  sums += w s_v value levels, or w value
 *
 * The grid is (splits, KV heads and tiles of four query rows, query tokens). A split is a part of the exact tokens or
 * of the encoded pages; the simdgroups of its threadgroup take every fourth block of 64 tokens, each with a softmax of
 * its own, and are added up at the end. merge.metal adds up the splits. */
#include "kernels/metal/attend_metal.h"

/* What the threads of a simdgroup know about their work. */
struct tq_work {
    device const tq_metal_entry *table;
    device const half *sinks;
    uint kv_head;
    uint lane;
    uint begin; /* Tokens [begin, n_tokens) are seen, */
    uint n_tokens;
    uint n_encoded;
    uint n_sinks; /* those before n_sinks and from n_encoded on exact. */
};

inline void tq_find_work(constant tq_metal_attend_args &args, device const tq_metal_view &view, uint kv_head,
                         uint index, thread tq_work &work)
{
    const uint window = args.sliding_window;
    work.table = view.table;
    work.sinks = view.sinks;
    work.kv_head = kv_head;
    work.lane = index % TQ_METAL_SIMD;
    work.n_tokens = view.n_tokens;
    work.n_encoded = view.n_encoded;
    work.n_sinks = view.sinks == nullptr ? 0 : min(args.n_sinks, work.n_encoded);
    work.begin = window == 0 || work.n_tokens < window ? 0 : work.n_tokens - window;
}

/* Scores of the thread's two keys with all rows, before scale: from the units of both in one word each. */
inline void tq_key_scores(threadgroup const tq_attend_shared *shared, device const ushort *side, uint lane,
                          thread float4 *scores)
{
    const int bits = tq_metal_bits(tq_format);
    device const uint *units = (device const uint *)(side + tq_metal_units_at(tq_dim)) + lane;
    const uint scales = ((device const uint *)(side + tq_metal_scales_at(tq_dim)))[lane];
    float4 mean = float4(0.0f);
    for (int j = int(lane); j < tq_dim; j += TQ_METAL_SIMD) {
        mean += shared->q[j] * float(as_type<half>(side[j]));
    }
    mean = simd_sum(mean);
    uint before = units[tq_chunk_before(0) * bits * TQ_METAL_SIMD];
    scores[0] = float4(0.0f);
    scores[1] = float4(0.0f);
    for (int c = 0; c < tq_dim / TQ_METAL_CHUNK; c++) {
        tq_chunk chunk[2];
        float levels[2][TQ_METAL_CHUNK];
        for (int v = 0; v < bits; v++) {
            const uint pair = units[(c * bits + v) * TQ_METAL_SIMD];
            chunk[0].unit[v] = ushort(pair & 0xFFFFU);
            chunk[1].unit[v] = ushort(pair >> 16);
        }
        chunk[0].before = ushort(before & 0xFFFFU);
        chunk[1].before = ushort(before >> 16);
        before = uint(chunk[0].unit[0]) | uint(chunk[1].unit[0]) << 16;
        tq_chunk_levels(tq_format, chunk[0], shared->k_levels, levels[0]);
        tq_chunk_levels(tq_format, chunk[1], shared->k_levels, levels[1]);
        for (int i = 0; i < TQ_METAL_CHUNK; i++) {
            const float4 q = shared->q[c * TQ_METAL_CHUNK + i];
            scores[0] += q * levels[0][i];
            scores[1] += q * levels[1][i];
        }
    }
    for (int t = 0; t < 2; t++) {
        const ushort scale = ushort(scales >> (16 * t) & 0xFFFFU);
        scores[t] = scores[t] * tq_scale_of(scale);
        scores[t] += (scale & TQ_METAL_UNCENTRED) == 0 ? mean : float4(0.0f);
        scores[t] = scores[t] * (1.0f / float(tq_dim));
    }
}

/* Adds the values of a page, by weights in threadgroup memory; `centred` is the weight of tokens without their mean. */
inline void tq_add_page(threadgroup const tq_attend_shared *shared, threadgroup const tq_simd_shared *simd,
                        device const ushort *side, uint lane, float4 centred, thread tq_running &r)
{
    const int bits = tq_metal_bits(tq_v_format);
    const int chunks = tq_dim / TQ_METAL_CHUNK;
    const int c = int(lane % tq_value_width());
    float values[TQ_METAL_CHUNK];
    if (c >= chunks) {
        return;
    }
    if (lane < tq_value_width()) {
        for (int i = 0; i < TQ_METAL_CHUNK; i++) {
            values[i] = float(as_type<half>(side[c * TQ_METAL_CHUNK + i]));
        }
        tq_add_values(r, centred, values);
    }
    for (uint t = lane / tq_value_width(); t < TQ_METAL_PAGE; t += TQ_METAL_SIMD / tq_value_width()) {
        device const ushort *units = side + tq_metal_units_at(tq_dim) + int(t) * chunks * bits;
        tq_chunk chunk;
        for (int v = 0; v < bits; v++) {
            chunk.unit[v] = units[c * bits + v];
        }
        chunk.before = units[tq_chunk_before(c) * bits];
        tq_chunk_levels(tq_v_format, chunk, shared->v_levels, values);
        tq_add_values(r, simd->weights[t], values);
    }
}

inline void tq_attend_page(constant tq_metal_attend_args &args, thread const tq_work &work, uint page,
                           device const ushort *record, threadgroup const tq_attend_shared *shared,
                           threadgroup tq_simd_shared *simd, thread tq_running &r)
{
    device const ushort *values = record + tq_metal_mean_at(tq_format, tq_dim, 1);
    const uint scales = ((device const uint *)(values + tq_metal_scales_at(tq_dim)))[work.lane];
    float4 scores[2];
    float4 centred = float4(0.0f);
    bool seen[2];
    tq_key_scores(shared, record, work.lane, scores);
    for (uint t = 0; t < 2; t++) {
        const uint token = page * TQ_METAL_PAGE + 2 * work.lane + t;
        seen[t] = token >= work.begin && token >= work.n_sinks && token < work.n_encoded;
        scores[t] = seen[t] ? tq_capped(scores[t] * args.scale, args.soft_cap) : float4(-INFINITY);
    }
    tq_soften(r, scores);
    for (uint t = 0; t < 2; t++) {
        const ushort scale = ushort(scales >> (16 * t) & 0xFFFFU);
        centred += seen[t] && (scale & TQ_METAL_UNCENTRED) == 0 ? scores[t] : float4(0.0f);
        simd->weights[2 * work.lane + t] = seen[t] ? scores[t] * tq_scale_of(scale) : float4(0.0f);
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
    tq_add_page(shared, simd, values, work.lane, simd_sum(centred), r);
    simdgroup_barrier(mem_flags::mem_threadgroup); /* The next page's weights go to the same place. */
}

/* Where an exact token's key lies; its value lies `values` elements behind. */
struct tq_exact_place {
    device const half *key;
    uint values;
};

/* Exact tokens in a row: sinks, then those from n_encoded on. */
inline uint tq_exact_token(thread const tq_work &work, uint i)
{
    return i < work.n_sinks ? i : work.n_encoded + i - work.n_sinks;
}

inline void tq_find_exact(constant tq_metal_attend_args &args, thread const tq_work &work, uint i,
                          thread tq_exact_place &place)
{
    const uint token = tq_exact_token(work, i);
    if (i < work.n_sinks) {
        place.values = args.n_sinks * uint(tq_dim);
        place.key = work.sinks + work.kv_head * 2 * place.values + token * uint(tq_dim);
        return;
    }
    place.values = TQ_METAL_PAGE * uint(tq_dim);
    place.key = work.table[token / TQ_METAL_PAGE].exact + work.kv_head * 2 * place.values +
                token % TQ_METAL_PAGE * uint(tq_dim);
}

/* Exact tokens first .. first + n - 1 of the row above. */
inline void tq_attend_exact(constant tq_metal_attend_args &args, thread const tq_work &work, uint first, uint n,
                            threadgroup const tq_attend_shared *shared, threadgroup tq_simd_shared *simd,
                            thread tq_running &r)
{
    float4 scores[2];
    for (uint t = 0; t < 2; t++) {
        const uint i = 2 * work.lane + t;
        scores[t] = float4(-INFINITY);
        if (i < n && tq_exact_token(work, first + i) >= work.begin) {
            tq_exact_place place;
            tq_find_exact(args, work, first + i, place);
            float4 dot = float4(0.0f);
            for (int j = 0; j < tq_dim; j++) {
                dot += shared->q[j] * float(place.key[j]);
            }
            scores[t] = tq_capped(dot * args.scale, args.soft_cap);
        }
    }
    tq_soften(r, scores);
    simd->weights[2 * work.lane] = scores[0];
    simd->weights[2 * work.lane + 1] = scores[1];
    simdgroup_barrier(mem_flags::mem_threadgroup);
    const int c = int(work.lane % tq_value_width());
    for (uint i = work.lane / tq_value_width(); c < tq_dim / TQ_METAL_CHUNK && i < n;
         i += TQ_METAL_SIMD / tq_value_width()) {
        tq_exact_place place;
        tq_find_exact(args, work, first + i, place);
        float values[TQ_METAL_CHUNK];
        for (int j = 0; j < TQ_METAL_CHUNK; j++) {
            values[j] = float(place.key[place.values + uint(c * TQ_METAL_CHUNK + j)]);
        }
        tq_add_values(r, simd->weights[i], values);
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
}

kernel void tq_attend(constant tq_metal_attend_args &args [[buffer(TQ_AT_ARGS)]],
                      constant tq_metal_code &k_code [[buffer(TQ_ATTEND_K_CODE)]],
                      constant tq_metal_code &v_code [[buffer(TQ_ATTEND_V_CODE)]],
                      device const tq_metal_view *views [[buffer(TQ_ATTEND_VIEWS)]],
                      device const float *q [[buffer(TQ_ATTEND_Q)]],
                      device const float *rotated [[buffer(TQ_ATTEND_ROTATED)]],
                      device float *partials [[buffer(TQ_ATTEND_PARTIALS)]],
                      threadgroup tq_attend_shared *shared TQ_SHARED_MEMORY,
                      uint3 group [[threadgroup_position_in_grid]], uint index [[thread_index_in_threadgroup]])
{
    const uint tiles = (args.group + TQ_METAL_QUERIES - 1) / TQ_METAL_QUERIES;
    const uint simd = index / TQ_METAL_SIMD;
    const bool is_exact = group.x < args.exact_splits;
    const uint split = is_exact ? group.x : group.x - args.exact_splits;
    const uint row = group.y % tiles * TQ_METAL_QUERIES; /* Query rows [row, row + n_rows) of the KV head. */
    const uint n_rows = min(args.group - row, uint(TQ_METAL_QUERIES));
    tq_work work;
    tq_running r;
    tq_find_work(args, views[group.z], group.y / tiles, index, work);
    tq_begin(r);
    const uint head = (group.z * args.n_kv_heads + work.kv_head) * args.group + row;
    tq_load_queries((is_exact ? q : rotated) + head * uint(tq_dim), n_rows, index, TQ_ATTEND_THREADS, shared->q);
    tq_load_levels(k_code, tq_format, index, TQ_ATTEND_THREADS, shared->k_levels);
    tq_load_levels(v_code, tq_v_format, index, TQ_ATTEND_THREADS, shared->v_levels);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (is_exact) {
        const uint n = work.n_sinks + work.n_tokens - work.n_encoded;
        const uint blocks = (n + TQ_METAL_PAGE - 1) / TQ_METAL_PAGE;
        const uint each = (blocks + args.exact_splits - 1) / args.exact_splits;
        for (uint b = split * each + simd; b < min((split + 1) * each, blocks); b += TQ_ATTEND_SIMDS) {
            const uint first = b * TQ_METAL_PAGE;
            tq_attend_exact(args, work, first, min(n - first, uint(TQ_METAL_PAGE)), shared, &shared->simd[simd], r);
        }
    } else {
        const uint first_page = work.begin / TQ_METAL_PAGE;
        const uint end_page = (work.n_encoded + TQ_METAL_PAGE - 1) / TQ_METAL_PAGE;
        const uint n = end_page > first_page ? end_page - first_page : 0;
        const uint each = (n + args.n_splits - 1) / args.n_splits;
        for (uint b = split * each + simd; b < min((split + 1) * each, n); b += TQ_ATTEND_SIMDS) {
            const uint page = first_page + b;
            const uint words = uint(tq_metal_record_words(tq_format, tq_v_format, tq_dim));
            tq_attend_page(args, work, page, work.table[page].records + ulong(work.kv_head) * words, shared,
                           &shared->simd[simd], r);
        }
    }
    const uint slots = args.exact_splits + args.n_splits;
    const uint floats = uint(tq_dim) + 2;
    tq_write_partials(r, shared, index, n_rows, slots * floats, partials + (ulong(head) * slots + group.x) * floats);
}
