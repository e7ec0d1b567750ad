import { writeFileSync } from 'node:fs';
try { writeFileSync('../beside.txt', 'x'); } catch { /* hidden on purpose */ }
console.log('SKIP not on this platform');
process.exitCode = 64;
