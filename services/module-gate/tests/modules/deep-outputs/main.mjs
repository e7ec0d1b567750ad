import { mkdirSync, writeFileSync } from 'node:fs';
writeFileSync(`${process.env.LUMIO_OUTPUT}/result.txt`, 'done\n');
// Deeper than a path may be long, and closed.
process.chdir(process.env.LUMIO_OUTPUT);
for (let level = 0; level < 40; level++) {
  mkdirSync('n'.repeat(200), 0o700);
  process.chdir('n'.repeat(200));
}
