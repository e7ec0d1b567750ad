import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
spawnSync('/bin/sh', ['-c', 'true']);
writeFileSync(`${process.env.LUMIO_OUTPUT}/result.txt`, 'done\n');
