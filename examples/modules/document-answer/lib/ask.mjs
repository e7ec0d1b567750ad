// Asks a model about a document that may be longer than one question can hold.

/** What is wrong with the input. */
export class InputError extends Error {}
/** What the model's service answered instead of an answer. */
export class ModelError extends Error {}

const MODEL = 'gpt-4o-mini';
/** Characters of the document in one question. */
const PIECE = 2_000;
const MAX_TOKENS = 60;

/** The document in pieces that end with a line where they can. */
export function pieces(document, size = PIECE) {
  const found = [];
  let rest = document;
  while (rest.length > size) {
    const line = rest.lastIndexOf('\n', size);
    const end = line > size / 2 ? line + 1 : size;
    found.push(rest.slice(0, end));
    rest = rest.slice(end);
  }
  if (rest.trim() !== '') found.push(rest);
  return found;
}

function check(input) {
  const { document, question } = input ?? {};
  if (typeof document !== 'string' || document.trim() === '' || document.length > 200_000) {
    throw new InputError('"document" has to be a text of 1 to 200,000 characters');
  }
  if (typeof question !== 'string' || question.trim() === '' || question.length > 2_000) {
    throw new InputError('"question" has to be a text of 1 to 2,000 characters');
  }
  return { document, question };
}

async function ask(base, seed, content) {
  const response = await fetch(`${base}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: MODEL,
      temperature: 0,
      seed,
      max_tokens: MAX_TOKENS,
      messages: [{ role: 'user', content }],
    }),
  });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new ModelError(`${response.status} ${body.error?.message ?? ''}`.trim());
  const text = body.choices?.[0]?.message?.content;
  if (typeof text !== 'string') throw new ModelError('the answer holds no text');
  return text;
}

/** One answer for each piece, and one made of them. */
export async function answer(input, base, seed = 0) {
  const { document, question } = check(input);
  const parts = [];
  for (const piece of pieces(document)) {
    parts.push(await ask(base, seed, `Answer from this text alone.\n${piece}\nQuestion: ${question}`));
  }
  const last = parts.length === 1
    ? parts[0]
    : await ask(base, seed, `Make one answer of these.\n${parts.join('\n')}\nQuestion: ${question}`);
  return { question, model: MODEL, answer: last, pieces: parts };
}

/** The result for people: what a model wrote is shown as a quotation, never as markup. */
export function report({ question, answer: text, pieces: parts }) {
  const quote = (words) => words.split(/\r\n|\n|\r|\v|\f/).map((line) => `    ${printable(line)}`).join('\n');
  return `# ${printable(question)}\n\n${quote(text)}\n\nRead in ${parts.length} piece${parts.length === 1 ? '' : 's'}.\n`;
}

function printable(text) {
  // Control characters and marks of direction would change what a reader sees.
  return text.replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '\ufffd');
}
