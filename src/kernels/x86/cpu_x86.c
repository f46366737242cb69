/* SPDX-License-Identifier: MIT
 *
 * What this processor can run: CPUID says what it has, XGETBV which registers the operating system saves when it
 * switches threads. A feature counts only if both agree. Compiled with the flags of the whole library, because it runs
 * on every x86-64 machine.
 *
 * The avx512 level is one bundle: F, BW, DQ, VL, VBMI, VBMI2, VNNI, GFNI and BITALG. Ice Lake, Zen 4 and everything
 * later have all of it or nothing. What the bundle leaves out is the first generation, Skylake-X and Cascade Lake
 * (without VBMI) and Cannon Lake (without VNNI): they lower the clock of the whole core as long as 512-bit instructions
 * run, which the program round the library pays for; they get avx2. So no list of models is needed. */
#include "kernels/x86/cpu_x86.h"

#include <cpuid.h>

enum { /* The bit numbers of Intel's manual. */
       LEAF1_ECX_FMA = 12,
       LEAF1_ECX_OSXSAVE = 27,
       LEAF1_ECX_AVX = 28,
       LEAF1_ECX_F16C = 29,
       LEAF7_EBX_AVX2 = 5,
       LEAF7_EBX_BMI2 = 8,
       LEAF7_EBX_AVX512F = 16,
       LEAF7_EBX_AVX512DQ = 17,
       LEAF7_EBX_AVX512BW = 30,
       LEAF7_EBX_AVX512VL = 31,
       LEAF7_ECX_AVX512VBMI = 1,
       LEAF7_ECX_AVX512VBMI2 = 6,
       LEAF7_ECX_GFNI = 8,
       LEAF7_ECX_AVX512VNNI = 11,
       LEAF7_ECX_AVX512BITALG = 12,
       LEAF7_1_EAX_AVXVNNI = 4,
       XCR0_XMM = 1,
       XCR0_YMM = 2,
       XCR0_MASKS = 5,
       XCR0_ZMM_LOW = 6, /* The upper halves of zmm0 to zmm15. */
       XCR0_ZMM_HIGH = 7 /* zmm16 to zmm31. */
};

#define BIT(n) (UINT32_C(1) << (n))

static bool has_all(uint64_t bits, uint64_t wanted)
{
    return (bits & wanted) == wanted;
}

tq_cpu_features tq_cpu_decode(const tq_cpuid_dump *dump)
{
    const uint64_t ymm_state = BIT(XCR0_XMM) | BIT(XCR0_YMM);
    const uint64_t zmm_state = BIT(XCR0_MASKS) | BIT(XCR0_ZMM_LOW) | BIT(XCR0_ZMM_HIGH);
    tq_cpu_features features = {false, false, false};
    features.avx2 = has_all(dump->leaf1.ecx,
                            BIT(LEAF1_ECX_OSXSAVE) | BIT(LEAF1_ECX_AVX) | BIT(LEAF1_ECX_FMA) | BIT(LEAF1_ECX_F16C)) &&
                    has_all(dump->leaf7.ebx, BIT(LEAF7_EBX_AVX2) | BIT(LEAF7_EBX_BMI2)) &&
                    has_all(dump->xcr0, ymm_state);
    features.avxvnni = features.avx2 && has_all(dump->leaf7_1.eax, BIT(LEAF7_1_EAX_AVXVNNI));
    features.avx512 =
        features.avx2 && has_all(dump->xcr0, zmm_state) &&
        has_all(dump->leaf7.ebx,
                BIT(LEAF7_EBX_AVX512F) | BIT(LEAF7_EBX_AVX512DQ) | BIT(LEAF7_EBX_AVX512BW) | BIT(LEAF7_EBX_AVX512VL)) &&
        has_all(dump->leaf7.ecx, BIT(LEAF7_ECX_AVX512VBMI) | BIT(LEAF7_ECX_AVX512VBMI2) | BIT(LEAF7_ECX_GFNI) |
                                     BIT(LEAF7_ECX_AVX512VNNI) | BIT(LEAF7_ECX_AVX512BITALG));
    return features;
}

/* XGETBV of register 0, spelt out because the intrinsic asks for a compiler flag. */
static uint64_t read_xcr0(void)
{
    uint32_t low;
    uint32_t high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static tq_cpuid_leaf read_leaf(unsigned leaf, unsigned sub_leaf)
{
    tq_cpuid_leaf read = {0, 0, 0, 0};
    (void)__get_cpuid_count(leaf, sub_leaf, &read.eax, &read.ebx, &read.ecx, &read.edx); /* Zero if there is none. */
    return read;
}

tq_cpuid_dump tq_cpu_dump(void)
{
    tq_cpuid_dump dump = {.leaf1 = read_leaf(1, 0), .leaf7 = read_leaf(7, 0)};
    if (dump.leaf7.eax >= 1) { /* The last sub-leaf. */
        dump.leaf7_1 = read_leaf(7, 1);
    }
    if (has_all(dump.leaf1.ecx, BIT(LEAF1_ECX_OSXSAVE))) {
        dump.xcr0 = read_xcr0();
    }
    return dump;
}

bool tq_cpu_has_avx2(void)
{
    const tq_cpuid_dump dump = tq_cpu_dump();
    return tq_cpu_decode(&dump).avx2;
}

bool tq_cpu_has_avxvnni(void)
{
    const tq_cpuid_dump dump = tq_cpu_dump();
    return tq_cpu_decode(&dump).avxvnni;
}

bool tq_cpu_has_avx512(void)
{
    const tq_cpuid_dump dump = tq_cpu_dump();
    return tq_cpu_decode(&dump).avx512;
}
