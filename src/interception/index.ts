export { compile, InterceptionProblem, type InterceptionManifest, type InterceptionPolicy } from './policy.ts';
export { SyscallObserver, type SyscallEntry } from './observer.ts';
export { EXEMPT, GROUPS, SYSCALLS, syscallName } from './syscalls.ts';
