// From a table to its profile: a plain object whose members always come in the same order.
import { describe, tidy } from './numbers.mjs';
import { day, typeOf } from './types.mjs';

/** Profiles `table` (from csv.mjs) under `wanted` (from input.mjs). */
export function profile(table, wanted) {
  const columns = table.header.map((name, index) => column(name,
    table.rows.map((row) => row[index]), wanted));
  const distinct = new Set(table.rows.map((row) => JSON.stringify(row)));
  const result = {
    name: wanted.name,
    rows: table.rows.length,
    delimiter: table.delimiter,
    duplicate_rows: table.rows.length - distinct.size,
    columns,
  };
  return { ...result, findings: findings(result) };
}

function column(name, cells, wanted) {
  const values = cells.map((cell) => cell.trim()).filter((cell) => !wanted.nulls.has(cell));
  const type = typeOf(values);
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return {
    name,
    type,
    values: values.length,
    nulls: cells.length - values.length,
    distinct: counts.size,
    top: frequent(counts, wanted.top),
    ...details(type, values),
  };
}

/** The most frequent values; equal counts are ordered by code unit, never by locale. */
function frequent(counts, limit) {
  const ordered = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  return ordered.slice(0, limit).map(([value, count]) => ({ value, count }));
}

function details(type, values) {
  if (type === 'integer' || type === 'number') return { numbers: describe(values.map(Number)) };
  if (type === 'date') return { dates: calendar(values) };
  if (type !== 'text') return {};
  const lengths = values.map((value) => [...value].length);
  return { lengths: { min: lengths.reduce((a, b) => Math.min(a, b)),
    max: lengths.reduce((a, b) => Math.max(a, b)) } };
}

function calendar(values) {
  const days = Float64Array.from(new Set(values.map(day))).sort();
  const missing = days[days.length - 1] - days[0] + 1 - days.length;
  const steps = Array.from(days.slice(1), (next, index) => next - days[index]);
  return {
    first: iso(days[0]),
    last: iso(days[days.length - 1]),
    days_missing: missing,
    longest_gap_days: steps.reduce((a, b) => Math.max(a, b), 0),
  };
}

const iso = (days) => new Date(days * 86_400_000).toISOString().slice(0, 10);

/** What a careful reader would look at first, in a fixed order. */
function findings({ rows, duplicate_rows: duplicates, columns }) {
  const list = [];
  if (rows === 0) list.push('the table has a header and no rows');
  if (duplicates > 0) list.push(`${duplicates} rows repeat an earlier row exactly`);
  for (const { name, type, values, nulls, distinct, numbers, dates } of columns) {
    const share = rows > 0 ? tidy((100 * nulls) / rows) : 0;
    if (type === 'empty' && rows > 0) list.push(`"${name}" has no value at all`);
    else if (nulls > 0) {
      list.push(`"${name}" lacks ${nulls} of ${rows} values (${share.toFixed(1)} %)`);
    }
    if (values > 1 && distinct === 1) list.push(`"${name}" never changes`);
    if (values > 1 && distinct === rows) {
      list.push(`"${name}" is different in every row: it can serve as a key`);
    }
    if (dates?.days_missing > 0) {
      list.push(`"${name}" leaves out ${dates.days_missing} days between its first and its last`);
    }
    if (dates && dates.days_missing === 0
      && values > 1) list.push(`"${name}" covers every day from ${dates.first} to ${dates.last}`);
    if (numbers?.outliers > 0) {
      const far = 'far from the rest (beyond 1.5 interquartile ranges)';
      list.push(`"${name}" has ${numbers.outliers} values ${far}`);
    }
  }
  return list;
}
