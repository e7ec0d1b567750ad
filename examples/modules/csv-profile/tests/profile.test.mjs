// The profile: known numbers for a known table, and the invariants that module.json states.
import assert from 'node:assert/strict';
import { parse } from '../lib/csv.mjs';
import { options } from '../lib/input.mjs';
import { profile } from '../lib/profile.mjs';
import { report } from '../lib/report.mjs';

const CSV = 'id,day,size,ok,note\n1,2024-02-28,1.5,yes,a|b\n2,2024-02-29,,no,NA\n'
  + '3,2024-03-02,3.5,yes,<b>\n4,2024-03-02,4,yes,\n';
const run = (input) => {
  const wanted = options(input);
  return profile(parse(wanted.csv, wanted.delimiter), wanted);
};
const result = run({ csv: CSV });
const [id, day, size, ok, note] = result.columns;

assert.deepEqual(result.columns.map((column) => column.type),
  ['integer', 'date', 'number', 'boolean', 'text']);
assert.deepEqual(id.numbers.quantiles, { p05: 1.15, p25: 1.75, p50: 2.5, p75: 3.25, p95: 3.85 });
assert.equal(size.numbers.mean, 3, 'an empty cell is no zero');
assert.equal(size.numbers.standard_deviation, 1.32287565553);
assert.deepEqual([size.values, size.nulls], [3, 1]);
assert.deepEqual(day.dates, { first: '2024-02-28', last: '2024-03-02', days_missing: 1,
  longest_gap_days: 2 });
assert.deepEqual(ok.top, [{ value: 'yes', count: 3 }, { value: 'no', count: 1 }]);
assert.deepEqual(note.top.map((entry) => entry.value), ['<b>', 'a|b'],
  'equal counts are ordered by code unit');
for (const column of result.columns) assert.equal(column.values + column.nulls, result.rows,
  column.name);

assert.equal(run({ csv: 'd\n2023-02-29\n' }).columns[0].type, 'text',
  'a day that does not exist is no date');
assert.equal(run({ csv: 'n\n0.1\n0.2\n0.3\n' }).columns[0].numbers.mean, 0.2,
  'sums are compensated');
assert.equal(run({ csv: 'a,b\n1,2\n1,2\n' }).duplicate_rows, 1);
assert.deepEqual(run({ csv: 'a,b\n' }).findings, ['the table has a header and no rows']);
assert.deepEqual(run({ csv: 'a\n-\n', nulls: ['-'] }).columns[0].type, 'empty');

const page = report(result);
assert.equal(page, report(run({ csv: CSV })), 'the same input gives the same bytes');
assert.ok(report(run({ csv: 'n\na|b\na|b\n' })).includes('| a\\|b | 2 | 100.0 % |'),
  'a cell cannot break the table');
const markup = report(run({ csv: 'n\n<b>\n<b>\n' }));
assert.ok(markup.includes('\\<b\\>') && !markup.includes('<b>'), 'a cell cannot become markup');
console.log('profile: ok');
