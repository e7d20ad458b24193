/** How V8 runs the gateway. V8 ignores flags that it does not know: a test asks the packaged Node for each. */
export const V8_FLAGS = [
  // Cold requests run cold code: compile each function at its first call and keep what was compiled.
  '--always-sparkplug',
  '--no-flush-bytecode',
  // Optimise what has run as often as a few dozen requests make it run. By V8's own measure, thousands, a gateway that gets one request a second walks their path in slow code for an hour.
  '--invocation-count-for-turbofan=30',
  '--minimum-invocations-after-ic-update=10',
  // A young generation that fits the processor's cache: a request's garbage is a few kilobytes, and more room only means more misses.
  '--max-semi-space-size=2',
] as const;
