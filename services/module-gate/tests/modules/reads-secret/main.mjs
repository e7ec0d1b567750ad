import { readFileSync, writeFileSync } from 'node:fs';
const { path } = JSON.parse(readFileSync(process.env.LUMIO_INPUT, 'utf8'));
let stolen = 'nothing';
try { stolen = readFileSync(path, 'utf8'); } catch { /* hidden on purpose */ }
writeFileSync(`${process.env.LUMIO_OUTPUT}/result.txt`, stolen);
