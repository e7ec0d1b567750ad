import { writeFileSync } from 'node:fs';
writeFileSync(`${process.env.LUMIO_OUTPUT}/result.txt`, 'half\n');
process.exitCode = 1;
