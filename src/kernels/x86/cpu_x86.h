/* SPDX-License-Identifier: MIT
 *
 * Which x86-64 backends the processor and the operating system can run. */
#ifndef TQ_CPU_X86_H
#define TQ_CPU_X86_H

#include <stdbool.h>
#include <stdint.h>

/* What the instruction CPUID returns for one leaf. */
typedef struct tq_cpuid_leaf {
    uint32_t eax, ebx, ecx, edx;
} tq_cpuid_leaf;

/* Everything the decision reads. Leaves that the processor does not have are zero. */
typedef struct tq_cpuid_dump {
    tq_cpuid_leaf leaf1;
    tq_cpuid_leaf leaf7;   /* Leaf 7, sub-leaf 0. */
    tq_cpuid_leaf leaf7_1; /* Leaf 7, sub-leaf 1. */
    uint64_t xcr0;         /* From XGETBV: the registers that the operating system saves. Zero without OSXSAVE. */
} tq_cpuid_dump;

typedef struct tq_cpu_features {
    bool avx2;    /* AVX2, FMA, F16C, BMI2, and the 256-bit registers. */
    bool avxvnni; /* avx2 and AVX-VNNI. */
    bool avx512;  /* avx2, the bundle that cpu_x86.c names, the 512-bit registers and the masks. */
} tq_cpu_features;

/* Asks this machine. */
tq_cpuid_dump tq_cpu_dump(void);

/* What a machine with these answers can run. */
tq_cpu_features tq_cpu_decode(const tq_cpuid_dump *dump);

/* The conditions of backends.def, for this machine. */
bool tq_cpu_has_avx2(void);
bool tq_cpu_has_avxvnni(void);
bool tq_cpu_has_avx512(void);

#endif /* TQ_CPU_X86_H */
