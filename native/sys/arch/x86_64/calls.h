/*
 * What deny_filter.c must know of this CPU: its audit architecture, the foreign call table it shares numbers with, and the calls only
 * it has.
 */
#ifndef FLASHD_CALLS_ARCH_H
#define FLASHD_CALLS_ARCH_H
#include <linux/audit.h>

#define FL_AUDIT_ARCH AUDIT_ARCH_X86_64
#define FL_FOREIGN_CALLS_FROM 0x40000000u      /* __X32_SYSCALL_BIT: the same calls under other numbers */

#define FL_DENIED_HERE \
  SYS_iopl, SYS_ioperm, SYS_modify_ldt,        /* I/O ports; segments used in kernel exploits */ \
  SYS__sysctl, SYS_create_module, SYS_get_kernel_syms, SYS_query_module, SYS_uselib, SYS_ustat, SYS_sysfs /* long gone or obsolete */
#endif
