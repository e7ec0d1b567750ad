import { readFileSync, writeFileSync } from 'node:fs';
const { sleep_ms: wanted = 0 } = JSON.parse(readFileSync(process.env.LUMIO_INPUT, 'utf8'));
await new Promise((resolve) => setTimeout(resolve, wanted));
writeFileSync(`${process.env.LUMIO_OUTPUT}/seed.txt`, `${process.env.LUMIO_SEED}\n`);
