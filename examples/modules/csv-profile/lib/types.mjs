// The type of a column is the narrowest one that every value of it has.

const INTEGER = /^[+-]?\d{1,15}$/u;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$/u;
const BOOLEAN = /^(true|false|yes|no)$/iu;
const DATE = /^(\d{4})-(\d{2})-(\d{2})$/u;
const TIMESTAMP =
  /^(\d{4}-\d{2}-\d{2})[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?$/u;

const TESTS = [
  ['integer', (text) => INTEGER.test(text)],
  ['number', (text) => NUMBER.test(text) && Number.isFinite(Number(text))],
  ['boolean', (text) => BOOLEAN.test(text)],
  ['date', (text) => day(text) !== null],
  ['timestamp', (text) => day(TIMESTAMP.exec(text)?.[1] ?? '') !== null],
];

/**
 * The type of a column with these values (nulls left out): `integer`, `number`, `boolean`, `date`,
 * `timestamp`, `text`, `empty`.
 */
export function typeOf(values) {
  if (values.length === 0) return 'empty';
  const found = TESTS.find(([, holds]) => values.every(holds));
  return found ? found[0] : 'text';
}

/**
 * Days since 1970-01-01 of an ISO date that exists in the calendar, else null. No time zone takes
 * part.
 */
export function day(text) {
  const parts = DATE.exec(text);
  if (!parts) return null;
  const [year, month, date] = parts.slice(1).map(Number);
  const milliseconds = Date.UTC(year, month - 1, date);
  return new Date(milliseconds).toISOString().startsWith(text) ? milliseconds / 86_400_000 : null;
}
