// The reader: what RFC 4180 asks for, and the mistakes it must name.
import assert from 'node:assert/strict';
import { parse } from '../lib/csv.mjs';
import { InputError, options } from '../lib/input.mjs';

const rows = (text, delimiter) => parse(text, delimiter).rows;

assert.deepEqual(rows('a,b\n1,2\n'), [['1', '2']], 'a last line end starts no record');
assert.deepEqual(rows('a,b\r\n1,2\r\n\r\n3,4'), [['1', '2'], ['3', '4']],
  'CRLF, and an empty line between records');
assert.deepEqual(rows('a,b\n"x, ""y""\nz",2'), [['x, "y"\nz', '2']],
  'quotes keep separators, quotes and line ends');
assert.deepEqual(rows('a,b\n1,'), [['1', '']], 'a separator at the very end leaves an empty field');
assert.deepEqual(rows('a,b\n,\n'), [['', '']], 'a record of empty fields is a record');
assert.deepEqual(rows('a\n""\n'), [['']], 'an empty quoted field is a record');
assert.equal(parse('a;b\n1;2').delimiter, ';', 'the delimiter is found in the header');
assert.deepEqual(parse('\uFEFFa\tb\n1\t2').header, ['a', 'b'],
  'a byte order mark is no part of a name');
assert.deepEqual(rows('a:b\n1:2', ':'), [['1', '2']], 'a stated delimiter holds');

assert.throws(() => parse('a,b\n1\n'), { message: 'record 2 has 1 fields, the header has 2' });
assert.throws(() => parse('a\n"open'), { message: 'record 2 opens a quote that is never closed' });
assert.throws(() => parse('a,b\n"x"y,2'), { message: 'record 2 has text after a closing quote' });
assert.throws(() => parse('a,a\n1,2'), { message: 'the header names "a" twice' });
for (const bad of [null, [], {}, { csv: ' ' }, { csv: 'a', top: 0 }, { csv: 'a', delimiter: '""' },
  { csv: 'a', nulls: [1] }]) {
  assert.throws(() => options(bad), InputError, JSON.stringify(bad));
}
console.log('csv: ok');
