import assert from 'node:assert/strict';
import { answer, InputError, pieces, report } from '../lib/ask.mjs';

// Every piece is there once, in order, and none is too long.
for (const document of ['a', 'line one\nline two\nline three\n', 'x'.repeat(95), `${'y'.repeat(30)}\n`.repeat(9)]) {
  const found = pieces(document, 40);
  assert.equal(found.join(''), document);
  assert.ok(found.every((piece) => piece.length <= 40));
}

await assert.rejects(answer({ document: '', question: 'q' }, ''), InputError);
await assert.rejects(answer({ document: 'd' }, ''), InputError);

// What a model writes cannot steer a terminal or a reader.
const text = report({ question: 'q\u001b[31m', answer: 'a\u001b[2J\u202eb\nc', pieces: ['a'] });
assert.ok(!/[\u001b\u202e]/u.test(text));
assert.match(text, /^ {4}a/mu);
