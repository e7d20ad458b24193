/** Server-Timing: milliseconds with three digits after the point, without the cost of toFixed. */
import { PHASE_NAMES, type Created } from '../sandbox/protocol.ts';

const FRACTIONS = Array.from({ length: 1000 }, (_, value) => '.' + String(value).padStart(3, '0'));

export function milliseconds(microseconds: number): string {
  const whole = Math.max(0, Math.round(microseconds));
  return Math.floor(whole / 1000) + FRACTIONS[whole % 1000]!;
}

export function serverTiming(queueMs: number, totalMs: number, loadUs: number, handlerUs: number, created: Created | undefined): string {
  let text = 'queue;dur=' + milliseconds(queueMs * 1000);
  if (created !== undefined) {
    for (let phase = 0; phase < PHASE_NAMES.length; phase++) {
      text += ', ' + PHASE_NAMES[phase]! + ';dur=' + milliseconds(created.phases[phase]! / 1000);
    }
  }
  if (loadUs > 0) text += ', load;dur=' + milliseconds(loadUs);
  return text + ', handler;dur=' + milliseconds(handlerUs) + ', total;dur=' + milliseconds(totalMs * 1000);
}
