// A reader for RFC 4180: quoted fields, doubled quotes, CRLF or LF, an optional byte order mark.
import { InputError } from './input.mjs';

const CANDIDATES = [',', ';', '\t', '|'];

/** Reads `text` into `{ delimiter, header, rows }`; all rows are as wide as the header. */
export function parse(text, delimiter) {
  const body = text.startsWith('\uFEFF') ? text.slice(1) : text;
  const separator = delimiter ?? guess(body);
  const records = split(body, separator);
  const header = names(records.shift() ?? []);
  records.forEach((record, index) => {
    if (record.length !== header.length) {
      const fields = `${record.length} fields, the header has ${header.length}`;
      throw new InputError(`record ${index + 2} has ${fields}`);
    }
  });
  return { delimiter: separator, header, rows: records };
}

/** The candidate that the header row holds most often, outside quotes; a comma if none is there. */
function guess(text) {
  const end = text.search(/\r?\n/u);
  const first = (end < 0 ? text : text.slice(0, end)).replace(/"[^"]*"/gu, '');
  const counted = CANDIDATES.map((candidate) => [candidate, first.split(candidate).length]);
  return counted.reduce((best, next) => (next[1] > best[1] ? next : best))[0];
}

function names(record) {
  const seen = new Set();
  return record.map((raw, index) => {
    const name = raw.trim() || `column ${index + 1}`;
    if (seen.has(name)) throw new InputError(`the header names "${name}" twice`);
    seen.add(name);
    return name;
  });
}

/** The records of `text`. A line with nothing on it is layout, not a record. */
function split(text, separator) {
  const records = [];
  let record = [];
  let at = 0;
  while (at < text.length) {
    const start = at;
    const field = text[at] === '"' ? quoted(text, at, records.length) : plain(text, at, separator);
    record.push(field.value);
    at = field.end;
    if (text[at] === separator) {
      at += 1;
      if (at < text.length) continue;
      record.push('');
    }
    const width = lineEnd(text, at);
    if (width === 0 && at < text.length) {
      throw new InputError(`record ${records.length + 1} has text after a closing quote`);
    }
    if (record.length > 1 || at > start) records.push(record);
    record = [];
    at += width;
  }
  return records;
}

const lineEnd = (text, at) => (text[at] === '\n' ? 1 : text.startsWith('\r\n', at) ? 2 : 0);

function plain(text, start, separator) {
  let end = start;
  while (end < text.length && text[end] !== separator && lineEnd(text, end) === 0) end += 1;
  return { value: text.slice(start, end), end };
}

function quoted(text, start, record) {
  let value = '';
  let from = start + 1;
  for (;;) {
    const quote = text.indexOf('"', from);
    if (quote < 0) throw new InputError(`record ${record + 1} opens a quote that is never closed`);
    value += text.slice(from, quote);
    if (text[quote + 1] !== '"') return { value, end: quote + 1 };
    value += '"';
    from = quote + 2;
  }
}
