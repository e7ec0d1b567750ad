import assert from 'node:assert/strict';
import { diff, patch, read } from '../lib/diff.mjs';

const before = 'one\ntwo\nthree\nfour\n';
const after = 'one\n2\nthree\nfour\nfive\n';

assert.deepEqual(diff(before, before), { added: 0, removed: 0, hunks: [] });
assert.equal(patch('', ''), '');

const found = diff(before, after, 'numbers.txt');
assert.deepEqual([found.added, found.removed, found.hunks.length], [2, 1, 1]);
assert.ok(patch(before, after, 'numbers.txt').includes('--- a/numbers.txt\n+++ b/numbers.txt\n'));

// The patch, applied, gives the second text.
const applied = [];
for (const line of found.hunks[0].lines) if (line[0] === ' '
  || line[0] === '+') applied.push(line.slice(1));
assert.equal(applied.join('\n') + '\n', after);

// A last line without its end is said so and is no line of its own.
const open = read(patch('a', 'b'));
assert.deepEqual([open.added, open.removed], [1, 1]);
console.log('ok');
