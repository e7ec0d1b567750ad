/**
 * Lines that both texts have, that only the second has (+), that only the first has (-), in their
 * order.
 */
export function diff(before, after) {
  const [one, two] = [before, after].map((text) => text.split('\n'));
  // common[i][j]: length of the longest common lines of what follows line i and line j.
  const common = Array.from({ length: one.length + 1 }, () => new Uint32Array(two.length + 1));
  for (let i = one.length - 1; i >= 0; i -= 1) {
    for (let j = two.length - 1; j >= 0; j -= 1) {
      common[i][j] = one[i] === two[j] ? common[i + 1][j + 1] + 1
        : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const lines = [];
  let [i, j] = [0, 0];
  while (i < one.length || j < two.length) {
    if (i < one.length && j < two.length && one[i] === two[j]) {
      lines.push(` ${one[i]}`);
      i += 1;
      j += 1;
    } else if (j < two.length && (i === one.length || common[i][j + 1] > common[i + 1][j])) {
      lines.push(`+${two[j]}`);
      j += 1;
    } else {
      lines.push(`-${one[i]}`);
      i += 1;
    }
  }
  const count = (sign) => lines.filter((line) => line[0] === sign).length;
  return { added: count('+'), removed: count('-'), lines };
}
