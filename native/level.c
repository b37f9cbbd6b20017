/* Which units the processor has and the system lets a process use. */
#include "gemm.h"
#include "units.h"
#include <cpuid.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

/* arch_prctl's, of Linux's asm/prctl.h: leave to use registers that the kernel keeps only for who asks. */
#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18

static atomic_int found = -1, limit = LEVEL_AMX;

static int bit(unsigned word, int place) { return word >> place & 1; }

static enum gemm_level ask(void) {
  unsigned eax, ebx, ecx, edx;
  if (!__builtin_cpu_supports("avx512f")) return LEVEL_NONE; /* which also asks whether the system saves the registers */
  if (!__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) || !bit(eax, 5)) return LEVEL_NONE;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return LEVEL_NONE;
  if (!bit(ebx, 17) || !bit(ebx, 30) || !bit(ebx, 31)) return LEVEL_NONE; /* AVX512 DQ, BW, VL */
#ifdef REPA_EMULATE_AMX
  return LEVEL_AMX;
#else
  if (!bit(edx, 22) || !bit(edx, 24)) return LEVEL_AVX512_BF16;
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 ? LEVEL_AMX : LEVEL_AVX512_BF16;
#endif
}

enum gemm_level gemm_level(void) {
  if (found < 0) found = ask();
  return MIN(found, limit);
}

void gemm_limit(enum gemm_level level) { limit = level; }
