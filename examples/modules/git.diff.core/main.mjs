import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { patch, read } from './lib/diff.mjs';

const { before, after, name = 'text' } = JSON.parse(readFileSync(process.env.LUMIO_INPUT, 'utf8'));
if (typeof before !== 'string' || typeof after !== 'string') {
  console.error('expected an input with the texts "before" and "after"');
  process.exit(1);
}
if (typeof name !== 'string' || !/^[A-Za-z0-9._-]{1,100}$/.test(name) || name.startsWith('.')) {
  console.error('expected a "name" of letters, digits, dots, dashes and underscores');
  process.exit(1);
}

const text = patch(before, after, name);
const found = read(text);
writeFileSync(join(process.env.LUMIO_OUTPUT, 'diff.patch'), text);
writeFileSync(join(process.env.LUMIO_OUTPUT, 'diff.json'), JSON.stringify(found, null, 2) + '\n');
console.log(`${found.added} added, ${found.removed} removed, ${found.hunks.length} hunks`);
