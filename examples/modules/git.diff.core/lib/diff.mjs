// git finds the difference; this only asks it and reads the answer.
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

// Nothing of whoever runs this may change what git prints: no configuration, no language, no
// colours.
const ENV = {
  PATH: process.env.PATH,
  HOME: process.env.HOME,
  LC_ALL: 'C',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_OPTIONAL_LOCKS: '0',
};
const OPTIONS = ['--no-index', '--no-color', '--no-ext-diff', '--no-textconv', '--unified=3'];

/**
 * The patch from one text to the other; empty where they are equal. `name` is what the file is
 * called in it.
 */
export function patch(before, after, name = 'text') {
  if (before === after) return '';
  const work = join(process.env.TMPDIR, 'git-diff');
  try {
    for (const [side, text] of [['before', before], ['after', after]]) {
      const file = join(work, side, name);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, text);
    }
    const args = ['diff', ...OPTIONS, '--src-prefix=', '--dst-prefix=', join('before', name),
      join('after', name)];
    const git = spawnSync('git', args, { cwd: work, env: ENV, encoding: 'utf8',
      maxBuffer: 64 << 20 });
    if (git.error) throw git.error;
    // 0: equal, 1: different, anything else: git could not decide.
    if (git.status > 1) throw new Error(`git diff ended with ${git.status}: ${git.stderr}`);
    return git.stdout.replaceAll(/^(diff --git )before\/(.*) after\/(.*)$/gm, '$1a/$2 b/$3')
      .replaceAll(/^--- before\//gm, '--- a/')
      .replaceAll(/^\+\+\+ after\//gm, '+++ b/');
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The hunks of a patch, with the numbers of lines added and removed. */
export function read(text) {
  const hunks = [];
  let added = 0;
  let removed = 0;
  for (const line of text.split('\n')) {
    const head = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(line);
    if (head) {
      const [before, beforeLines, after,
        afterLines] = head.slice(1).map((number) => Number(number ?? 1));
      hunks.push({ before, beforeLines, after, afterLines, lines: [] });
    } else if (hunks.length > 0 && /^[-+ \\]/.test(line)) {
      hunks.at(-1).lines.push(line);
      if (line[0] === '+') added += 1;
      if (line[0] === '-') removed += 1;
    }
  }
  return { added, removed, hunks };
}

/** The difference of two texts. */
export function diff(before, after, name) {
  return read(patch(before, after, name));
}
