// What the module accepts. Every mistake is reported as one sentence that names the field.

/** The input, or the CSV in it, is not what this module can profile. */
export class InputError extends Error {}

const NULLS = ['', 'NA', 'N/A', 'NaN', 'null', 'NULL'];

/** Checks the parsed input document and fills in the defaults. */
export function options(input) {
  if (input === null || typeof input !== 'object' || Array.isArray(input)) {
    throw new InputError('the input must be a JSON object with the member "csv"');
  }
  const { csv, name = 'CSV profile', delimiter, nulls = NULLS, top = 5 } = input;
  if (typeof csv !== 'string'
    || csv.trim() === '') throw new InputError('"csv" must be a text that is not empty');
  if (typeof name !== 'string'
    || name.length > 200) throw new InputError('"name" must be a text of at most 200 characters');
  if (delimiter !== undefined && (typeof delimiter !== 'string'
    || !/^[^"\r\n]$/u.test(delimiter))) {
    throw new InputError('"delimiter" must be one character, not a quote or a line end');
  }
  if (!Array.isArray(nulls) || nulls.some((text) => typeof text !== 'string')) {
    throw new InputError('"nulls" must be a list of texts');
  }
  if (!Number.isInteger(top) || top < 1
    || top > 50) throw new InputError('"top" must be a whole number from 1 to 50');
  return { csv, name: name.replace(/\s+/gu, ' ').trim(), delimiter, nulls: new Set(nulls), top };
}
