/* System call numbers (arch/x86/entry/syscalls/syscall_64.tbl). */
#ifndef FLASHD_PARASITE_NUMBERS_H
#define FLASHD_PARASITE_NUMBERS_H
enum {
  FL_NR_read = 0, FL_NR_write = 1, FL_NR_open = 2, FL_NR_close = 3, FL_NR_lseek = 8, FL_NR_mmap = 9, FL_NR_mprotect = 10, FL_NR_munmap = 11, FL_NR_brk = 12, FL_NR_rt_sigaction = 13, FL_NR_rt_sigprocmask = 14, FL_NR_pread64 = 17, FL_NR_ioctl = 16, FL_NR_sched_yield = 24, FL_NR_madvise = 28, FL_NR_sendmsg = 46,
  FL_NR_recvmsg = 47, FL_NR_socketpair = 53, FL_NR_fcntl = 72, FL_NR_chdir = 80, FL_NR_fchdir = 81, FL_NR_setsid = 112,
  FL_NR_setgroups = 116, FL_NR_setresuid = 117, FL_NR_setresgid = 119, FL_NR_capset = 126, FL_NR_prctl = 157, FL_NR_chroot = 161, FL_NR_futex = 202, FL_NR_set_tid_address = 218,
  FL_NR_clock_gettime = 228, FL_NR_timer_create = 222, FL_NR_timer_delete = 226, FL_NR_exit_group = 231, FL_NR_epoll_ctl = 233, FL_NR_set_robust_list = 273, FL_NR_timerfd_create = 283,
  FL_NR_timerfd_settime = 286, FL_NR_signalfd4 = 289, FL_NR_eventfd2 = 290, FL_NR_epoll_create1 = 291, FL_NR_dup3 = 292, FL_NR_pipe2 = 293, FL_NR_prlimit64 = 302,
  FL_NR_setns = 308, FL_NR_seccomp = 317, FL_NR_rseq = 334, FL_NR_move_mount = 429, FL_NR_pidfd_open = 434, FL_NR_clone3 = 435, FL_NR_close_range = 436,
  FL_NR_landlock_restrict_self = 446
};
#endif
