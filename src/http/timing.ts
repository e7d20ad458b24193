/** Server-Timing: milliseconds with three digits after the point, without the cost of toFixed. */
import { PHASE_NAMES, REWIND_PHASE_NAMES, type Created, type Rewound } from '../sandbox/protocol.ts';

const FRACTIONS = Array.from({ length: 1000 }, (_, value) => '.' + String(value).padStart(3, '0'));

export function milliseconds(microseconds: number): string {
  const whole = Math.max(0, Math.round(microseconds));
  return Math.floor(whole / 1000) + FRACTIONS[whole % 1000]!;
}

export function serverTiming(queueMs: number, totalMs: number, loadUs: number, handlerUs: number, created: Created | undefined, rewound?: Rewound): string {
  let text = 'queue;dur=' + milliseconds(queueMs * 1000);
  if (created !== undefined) {
    for (let phase = 0; phase < PHASE_NAMES.length; phase++) {
      text += ', ' + PHASE_NAMES[phase]! + ';dur=' + milliseconds(created.phases[phase]! / 1000);
    }
  }
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
