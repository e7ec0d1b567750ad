import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { diff } from './lib/diff.mjs';

const { before, after } = JSON.parse(readFileSync(process.env.LUMIO_INPUT, 'utf8'));
if (typeof before !== 'string' || typeof after !== 'string') {
  console.error('expected an input with the texts "before" and "after"');
  process.exit(1);
}
const found = diff(before, after);
writeFileSync(join(process.env.LUMIO_OUTPUT, 'diff.json'), JSON.stringify(found, null, 2) + '\n');
console.log(`${found.added} added, ${found.removed} removed`);
