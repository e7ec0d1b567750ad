import { randomUUID } from 'node:crypto';
console.log(randomUUID());
