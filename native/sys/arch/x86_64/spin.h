/* What a processor does that waits for another one. */
#ifndef FLASHD_SPIN_X86_64_H
#define FLASHD_SPIN_X86_64_H
static inline void fl_arch_pause(void)
{
  __builtin_ia32_pause();
}
#endif
