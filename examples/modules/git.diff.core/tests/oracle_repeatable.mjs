// Writes the difference of two fixtures to a file, so that an oracle can compare the file too.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { patch } from '../lib/diff.mjs';

const at = process.argv.indexOf('--moduleRoot');
const root = join(import.meta.dirname, '..', at > 0 ? process.argv[at + 1] : '.');
const fixture = (name) => readFileSync(join(root, 'fixtures', name), 'utf8');
const text = patch(fixture('before.txt'), fixture('after.txt'), 'fixture.txt');
writeFileSync('oracle-output.txt', text);
console.log(`${text.split('\n').length} lines`);
