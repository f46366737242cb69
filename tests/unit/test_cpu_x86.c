/* SPDX-License-Identifier: MIT
 *
 * Which x86-64 backends a processor gets, from what CPUID and XGETBV say. The machine marked "recorded" is one that
 * tq_cpu_dump read; all others are composed from public lists of what these processors have. */
#include "support.h"

#include "kernels/x86/cpu_x86.h"

typedef struct machine {
    const char *name;
    tq_cpuid_dump dump;
    tq_cpu_features expected;
} machine;

/* Registers stand in the order eax, ebx, ecx, edx; a missing leaf is {0}. */
static const machine MACHINES[] = {
    {"Nehalem: before AVX", {{0x000106A5, 0x00100800, 0x0098E3BD, 0xBFEBFBFF}, {0}, {0}, 0}, {false, false, false}},
    {"Sandy Bridge: AVX, not AVX2",
     {{0x000206A7, 0x00100800, 0x1FBAE3BF, 0xBFEBFBFF}, {0}, {0}, 0x7},
     {false, false, false}},
    {"Haswell",
     {{0x000306C3, 0x00100800, 0x7FFAFBFF, 0xBFEBFBFF}, {0, 0x000027AB, 0, 0}, {0}, 0x7},
     {true, false, false}},
    {"Haswell under a system that does not enable AVX: no OSXSAVE",
     {{0x000306C3, 0x00100800, 0x77FAFBFF, 0xBFEBFBFF}, {0, 0x000027AB, 0, 0}, {0}, 0},
     {false, false, false}},
    {"Haswell under a system that saves only xmm",
     {{0x000306C3, 0x00100800, 0x7FFAFBFF, 0xBFEBFBFF}, {0, 0x000027AB, 0, 0}, {0}, 0x3},
     {false, false, false}},
    {"Skylake-X: AVX-512 without VBMI",
     {{0x00050654, 0x00100800, 0x7FFEFBFF, 0xBFEBFBFF}, {0, 0xD39FFFFB, 0x00000008, 0}, {0}, 0x2FF},
     {true, false, false}},
    {"Cascade Lake: VNNI, not VBMI",
     {{0x00050657, 0x00100800, 0x7FFEFBFF, 0xBFEBFBFF}, {0, 0xD39FFFFB, 0x00000808, 0}, {0}, 0x2FF},
     {true, false, false}},
    {"Cannon Lake: VBMI, not VNNI",
     {{0x00060663, 0x00100800, 0x7FFAFBBF, 0xBFEBFBFF}, {0, 0xF2BF67EB, 0x0000001E, 0}, {0}, 0xE7},
     {true, false, false}},
    {"Ice Lake",
     {{0x000706E5, 0x00100800, 0x7FFAFBBF, 0xBFEBFBFF}, {0, 0xF2BF27EF, 0x40405F4E, 0}, {0}, 0x2E7},
     {true, false, true}},
    {"Ice Lake under a system that does not save zmm",
     {{0x000706E5, 0x00100800, 0x7FFAFBBF, 0xBFEBFBFF}, {0, 0xF2BF27EF, 0x40405F4E, 0}, {0}, 0x7},
     {true, false, false}},
    {"Ice Lake under a system that saves the masks and half of zmm",
     {{0x000706E5, 0x00100800, 0x7FFAFBBF, 0xBFEBFBFF}, {0, 0xF2BF27EF, 0x40405F4E, 0}, {0}, 0x67},
     {true, false, false}},
    {"Alder Lake: AVX-VNNI, AVX-512 switched off",
     {{0x00090672, 0x00100800, 0x7FFAFBFF, 0xBFEBFBFF}, {2, 0x239CA7EB, 0x98C027AC, 0}, {0x00001C10, 0, 0, 0}, 0x207},
     {true, true, false}},
    {"Zen 3",
     {{0x00A20F10, 0x00100800, 0x7ED8320B, 0x178BFBFF}, {0, 0x219C97A9, 0x0040068C, 0}, {0}, 0x207},
     {true, false, false}},
    {"Zen 4",
     {{0x00A60F12, 0x00100800, 0x7ED8320B, 0x178BFBFF}, {1, 0xF1BF97A9, 0x00405FCE, 0}, {0x00000020, 0, 0, 0}, 0x2E7},
     {true, false, true}},
    {"Zen 5, recorded in a virtual machine",
     {{0x00B00F21, 0x01020800, 0xFFFA3203, 0x178BFBFF},
      {0x00000001, 0xF1BF07AB, 0x18415FDE, 0x9C000110},
      {0x00000030, 0, 0, 0},
      0x2E7},
     {true, true, true}},
};

static const machine *machine_called(const char *name)
{
    for (size_t i = 0; i < sizeof MACHINES / sizeof *MACHINES; i++) {
        if (strcmp(MACHINES[i].name, name) == 0) {
            return &MACHINES[i];
        }
    }
    fail_msg("no machine is called %s", name);
    return NULL;
}

static void test_machines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof MACHINES / sizeof *MACHINES; i++) {
        const machine *m = &MACHINES[i];
        const tq_cpu_features got = tq_cpu_decode(&m->dump);
        if (got.avx2 != m->expected.avx2 || got.avxvnni != m->expected.avxvnni || got.avx512 != m->expected.avx512) {
            fail_msg("%s: avx2 %d, avxvnni %d, avx512 %d", m->name, got.avx2, got.avxvnni, got.avx512);
        }
    }
}

/* A machine that lacks any one feature of a level lacks the level. */
static void test_every_bit_counts(void **state)
{
    (void)state;
    static const unsigned leaf1_ecx[] = {12, 27, 28, 29}; /* FMA, OSXSAVE, AVX, F16C */
    static const unsigned leaf7_ebx[] = {5, 8};           /* AVX2, BMI2 */
    static const unsigned avx512_ebx[] = {16, 17, 30, 31};
    static const unsigned avx512_ecx[] = {1, 6, 8, 11, 12}; /* VBMI, VBMI2, GFNI, VNNI, BITALG */
    const tq_cpuid_dump whole = machine_called("Zen 5, recorded in a virtual machine")->dump;
    for (size_t i = 0; i < sizeof leaf1_ecx / sizeof *leaf1_ecx; i++) {
        tq_cpuid_dump dump = whole;
        dump.leaf1.ecx &= ~(1U << leaf1_ecx[i]);
        const tq_cpu_features got = tq_cpu_decode(&dump);
        assert_false(got.avx2 || got.avxvnni || got.avx512);
    }
    for (size_t i = 0; i < sizeof leaf7_ebx / sizeof *leaf7_ebx; i++) {
        tq_cpuid_dump dump = whole;
        dump.leaf7.ebx &= ~(1U << leaf7_ebx[i]);
        const tq_cpu_features got = tq_cpu_decode(&dump);
        assert_false(got.avx2 || got.avxvnni || got.avx512);
    }
    for (size_t i = 0; i < sizeof avx512_ebx / sizeof *avx512_ebx; i++) {
        tq_cpuid_dump dump = whole;
        dump.leaf7.ebx &= ~(1U << avx512_ebx[i]);
        const tq_cpu_features got = tq_cpu_decode(&dump);
        assert_true(got.avx2 && got.avxvnni && !got.avx512);
    }
    for (size_t i = 0; i < sizeof avx512_ecx / sizeof *avx512_ecx; i++) {
        tq_cpuid_dump dump = whole;
        dump.leaf7.ecx &= ~(1U << avx512_ecx[i]);
        const tq_cpu_features got = tq_cpu_decode(&dump);
        assert_true(got.avx2 && got.avxvnni && !got.avx512);
    }
}

/* The compiler's run-time library reads the same registers with code of its own. */
static void test_this_machine(void **state)
{
    (void)state;
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
                        __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("gfni") &&
                        __builtin_cpu_supports("avx512bitalg");
    assert_int_equal(tq_cpu_has_avx2(), avx2);
    assert_int_equal(tq_cpu_has_avx512(), avx512);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_machines),
        cmocka_unit_test(test_every_bit_counts),
        cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
