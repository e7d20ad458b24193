/** Server-Timing: milliseconds with three digits after the point, without the cost of toFixed. */
import { REWIND_PHASE_NAMES, type Rewound } from '../sandbox/protocol.ts';

const FRACTIONS = Array.from({ length: 1000 }, (_, value) => '.' + String(value).padStart(3, '0'));

export function milliseconds(microseconds: number): string {
  const whole = Math.max(0, Math.round(microseconds));
  return Math.floor(whole / 1000) + FRACTIONS[whole % 1000]!;
}

/** start: how the instance came about, as Addon.startTiming tells it; "" of one that was there already. */
export function serverTiming(queueMs: number, totalMs: number, loadUs: number, handlerUs: number, start: string, rewound?: Rewound): string {
  let text = 'queue;dur=' + milliseconds(queueMs * 1000) + start;
  if (rewound !== undefined) text += rewindTiming(rewound);
  if (loadUs > 0) text += ', load;dur=' + milliseconds(loadUs);
  return text + ', handler;dur=' + milliseconds(handlerUs) + ', total;dur=' + milliseconds(totalMs * 1000);
}

/** Of the rewind before this request, which took none of its time. */
function rewindTiming({ writtenPages, droppedPages, phases }: Rewound): string {
  let text = `, rewind;desc="${writtenPages + droppedPages} pages";dur=${milliseconds(phases.reduce((sum, us) => sum + us, 0))}`;
  for (const [phase, us] of phases.entries()) text += `, rewind-${REWIND_PHASE_NAMES[phase]};dur=${milliseconds(us)}`;
  return text;
}
