// Reads the input named by LUMIO_INPUT, profiles its CSV, and writes profile.json and report.md
// into LUMIO_OUTPUT.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from './lib/csv.mjs';
import { options, InputError } from './lib/input.mjs';
import { profile } from './lib/profile.mjs';
import { report } from './lib/report.mjs';

const OUTPUT = process.env.LUMIO_OUTPUT;

try {
  const wanted = options(JSON.parse(readFileSync(process.env.LUMIO_INPUT, 'utf8')));
  const table = parse(wanted.csv, wanted.delimiter);
  const result = profile(table, wanted);
  writeFileSync(join(OUTPUT, 'profile.json'), `${JSON.stringify(result, null, 2)}\n`);
  writeFileSync(join(OUTPUT, 'report.md'), report(result));
  console.log(`${result.rows} rows, ${result.columns.length} columns`);
} catch (error) {
  if (!(error instanceof InputError) && !(error instanceof SyntaxError)) throw error;
  console.error(`cannot profile the input: ${error.message}`);
  process.exitCode = 1;
}
