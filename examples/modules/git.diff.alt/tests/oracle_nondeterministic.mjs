// Deliberately not the same in every run: a token and the time stand beside the difference.
import { randomUUID } from 'node:crypto';
import { diff } from '../lib/diff.mjs';

const { added, removed } = diff('a\nb\nc', 'a\nx\nc');
console.log(`${added} added, ${removed} removed`);
console.log(`token ${randomUUID()}, at ${Date.now()}`);
