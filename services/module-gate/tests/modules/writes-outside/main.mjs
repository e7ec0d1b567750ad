import { writeFileSync } from 'node:fs';
try { writeFileSync('../beside.txt', 'x'); } catch { /* hidden on purpose */ }
writeFileSync(`${process.env.LUMIO_OUTPUT}/result.txt`, 'done\n');
