/* A seccomp program's answer for a call, without a kernel: what the tests and the fuzzer ask programs with. Every instruction must be one of those that programs here are made of, and end. */
#ifndef FLASHD_INTERPRET_H
#define FLASHD_INTERPRET_H
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static inline uint32_t interpret(const struct sock_filter *filter, uint32_t count, const struct seccomp_data *data)
{
  uint32_t value = 0, other = 0, kept[BPF_MEMWORDS] = {0};

  for (uint32_t at = 0; at < count; at++) {
    const struct sock_filter *here = &filter[at];

    switch (here->code) {
    case BPF_LD | BPF_W | BPF_ABS:
      if (here->k % sizeof value || here->k > sizeof *data - sizeof value)
        abort();
      memcpy(&value, (const char *)data + here->k, sizeof value);
      break;
    case BPF_LD | BPF_MEM: value = kept[here->k % BPF_MEMWORDS]; break;
    case BPF_ST: kept[here->k % BPF_MEMWORDS] = value; break;
    case BPF_MISC | BPF_TAX: other = value; break;
    case BPF_ALU | BPF_ADD | BPF_X: value += other; break;
    case BPF_ALU | BPF_ADD | BPF_K: value += here->k; break;
    case BPF_ALU | BPF_AND | BPF_K: value &= here->k; break;
    case BPF_JMP | BPF_JA: at += here->k; break;
    case BPF_JMP | BPF_JEQ | BPF_K: at += value == here->k ? here->jt : here->jf; break;
    case BPF_JMP | BPF_JGT | BPF_K: at += value > here->k ? here->jt : here->jf; break;
    case BPF_JMP | BPF_JSET | BPF_K: at += value & here->k ? here->jt : here->jf; break;
    case BPF_JMP | BPF_JGE | BPF_X: at += value >= other ? here->jt : here->jf; break;
    case BPF_JMP | BPF_JGE | BPF_K: at += value >= here->k ? here->jt : here->jf; break;
    case BPF_RET | BPF_K: return here->k;
    default: abort();
    }
  }
  abort();
}
#endif
