// Reads a document and a question, asks a model about each piece of the document, and leaves what
// it answered.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { answer, InputError, ModelError, report } from './lib/ask.mjs';

try {
  const input = JSON.parse(readFileSync(process.env.LUMIO_INPUT, 'utf8'));
  const result = await answer(input, process.env.OPENAI_BASE_URL, Number(process.env.LUMIO_SEED));
  const output = process.env.LUMIO_OUTPUT;
  writeFileSync(join(output, 'answer.json'), `${JSON.stringify(result, null, 2)}\n`);
  writeFileSync(join(output, 'answer.md'), report(result));
  console.log(`${result.pieces.length} pieces read`);
} catch (error) {
  const known = [InputError, ModelError, SyntaxError].some((kind) => error instanceof kind);
  if (!known) throw error;
  console.error(`cannot answer: ${error.message}`);
  process.exitCode = 1;
}
