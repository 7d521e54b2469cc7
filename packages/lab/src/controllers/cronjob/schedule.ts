import { WeftError } from '@weft/plan';

/** Minutes, hours, days, months and weekdays at which something is due. */
export interface Schedule {
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly days: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  readonly weekdays: ReadonlySet<number>;
  /** Without a restriction of both days and weekdays, both have to fit; with one of each, either. */
  readonly eitherDay: boolean;
}

const NAMED: Readonly<Record<string, string>> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};
const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

/** Parses the five fields of cron, or `@daily` and its like. Throws WeftError `SCHEDULE_INVALID`. */
export function parseSchedule(text: string): Schedule {
  const fields = (NAMED[text.trim()] ?? text).trim().split(/\s+/);
  const [minute, hour, day, month, weekday] = fields;
  if (fields.length !== 5 || !minute || !hour || !day || !month || !weekday) {
    throw invalid(text, `expected exactly 5 fields, found ${fields.length}`);
  }
  const weekdays = parseField(text, weekday, 0, 7, WEEKDAYS);
  if (weekdays.delete(7)) weekdays.add(0);
  return {
    minutes: parseField(text, minute, 0, 59),
    hours: parseField(text, hour, 0, 23),
    days: parseField(text, day, 1, 31),
    months: parseField(text, month, 1, 12, MONTHS, 1),
    weekdays,
    eitherDay: !/^[*?]/.test(day) && !/^[*?]/.test(weekday),
  };
}

function parseField(
  text: string,
  field: string,
  min: number,
  max: number,
  names: string[] = [],
  first = 0,
): Set<number> {
  const out = new Set<number>();
  const number = (word: string): number => {
    const named = names.indexOf(word.toLowerCase());
    const value = named >= 0 ? named + first : /^\d+$/.test(word) ? Number(word) : Number.NaN;
    if (!(value >= min && value <= max)) throw invalid(text, `"${word}" is not between ${min} and ${max}`);
    return value;
  };
  for (const part of field.split(',')) {
    const [range = '', stepText] = part.split('/');
    const step = stepText === undefined ? 1 : Number(stepText);
    if (!Number.isInteger(step) || step < 1) throw invalid(text, `"${stepText}" is not a step`);
    const [from = '', to] = range.split('-');
    const all = from === '*' || from === '?';
    const low = all ? min : number(from);
    const high = all ? max : to === undefined ? (stepText === undefined ? low : max) : number(to);
    for (let value = low; value <= high; value += step) out.add(value);
  }
  return out;
}

function invalid(text: string, why: string): WeftError {
  return new WeftError({ code: 'SCHEDULE_INVALID', message: `the schedule "${text}" is not valid: ${why}` });
}

/**
 * The first time after `after` (milliseconds since the epoch) at which the schedule is due, or undefined when there is
 * none within five years. `timeZone` is an IANA name; the default is UTC.
 */
export function nextTime(schedule: Schedule, after: number, timeZone = 'UTC'): number | undefined {
  const clock = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    weekday: 'short',
  });
  let at = (Math.floor(after / 60_000) + 1) * 60_000;
  const end = after + 5 * 366 * 86_400_000;
  while (at < end) {
    const now = wallClock(clock, at);
    if (!schedule.months.has(now.month) || !dayFits(schedule, now)) {
      // To the next midnight; an hour that is skipped or doubled is corrected by the next look at the clock.
      at += (24 - now.hour) * 3_600_000 - now.minute * 60_000;
    } else if (!schedule.hours.has(now.hour)) at += (60 - now.minute) * 60_000;
    else if (!schedule.minutes.has(now.minute)) at += 60_000;
    else return at;
  }
  return undefined;
}

interface WallClock {
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly weekday: number;
}

function wallClock(clock: Intl.DateTimeFormat, at: number): WallClock {
  const parts = new Map(clock.formatToParts(at).map((p) => [p.type, p.value]));
  const number = (type: Intl.DateTimeFormatPartTypes): number => Number(parts.get(type));
  const weekday = WEEKDAYS.indexOf((parts.get('weekday') ?? '').toLowerCase());
  return { month: number('month'), day: number('day'), hour: number('hour'), minute: number('minute'), weekday };
}

function dayFits(schedule: Schedule, now: WallClock): boolean {
  const day = schedule.days.has(now.day);
  const weekday = schedule.weekdays.has(now.weekday);
  return schedule.eitherDay ? day || weekday : day && weekday;
}

/** More missed times than this are not counted; Kubernetes warns from here on. */
const MANY = 100;

/** The last time after `since` and up to `now` at which the schedule was due, and how many there were, at most 101. */
export function dueTimes(
  schedule: Schedule,
  since: number,
  now: number,
  timeZone?: string,
): { last: number | undefined; missed: number } {
  const next = (after: number): number | undefined => {
    const at = nextTime(schedule, after, timeZone);
    return at !== undefined && at <= now ? at : undefined;
  };
  let last: number | undefined;
  let missed = 0;
  for (let at = next(since); at !== undefined; at = next(at)) {
    last = at;
    if (++missed > MANY) break;
  }
  if (missed <= MANY) return { last, missed };
  // Walking through a year of minutes takes too long: look back from the end, further each time.
  for (let window = 60_000; window < now - since; window *= 2) {
    for (let at = next(now - window); at !== undefined; at = next(at)) last = at;
    if (last !== undefined && last > now - window) break;
  }
  return { last, missed };
}
