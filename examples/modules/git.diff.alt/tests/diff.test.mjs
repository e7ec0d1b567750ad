import assert from 'node:assert/strict';
import { diff } from '../lib/diff.mjs';

assert.deepEqual(diff('a\nb', 'a\nb'), { added: 0, removed: 0, lines: [' a', ' b'] });
assert.deepEqual(diff('a\nb\nc', 'a\nx\nc'), { added: 1, removed: 1,
  lines: [' a', '-b', '+x', ' c'] });
assert.deepEqual(diff('', 'a'), { added: 1, removed: 1, lines: ['-', '+a'] });
console.log('ok');
