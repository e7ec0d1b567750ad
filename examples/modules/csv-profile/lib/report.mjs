// The profile as Markdown for people. Everything that came from the data is escaped, so a cell
// cannot become markup.

const BARS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/** Renders a profile from profile.mjs. */
export function report(profile) {
  const parts = [
    `# ${text(profile.name)}`,
    `${profile.rows} rows, ${profile.columns.length} columns, `
      + `${profile.duplicate_rows} repeated rows.`,
    '## What stands out',
    profile.findings.length > 0
      ? profile.findings.map((finding) => `- ${escaped(line(finding))}`).join('\n') : 'Nothing.',
    '## Columns',
    table(['column', 'type', 'values', 'missing', 'different'], profile.columns.map((column) => [
      column.name, column.type, column.values, column.nulls, column.distinct,
    ])),
  ];
  const numeric = profile.columns.filter((column) => column.numbers);
  if (numeric.length > 0) parts.push('## Numbers', numbers(numeric));
  const repeated = profile.columns.filter((column) => column.top[0]?.count > 1);
  if (repeated.length > 0) parts.push('## Frequent values', ...repeated.map(frequent));
  return `${parts.join('\n\n')}\n`;
}

function numbers(columns) {
  const heads = ['column', 'min', '5 %', '25 %', 'median', '75 %', '95 %', 'max', 'mean',
    'std. dev.', 'shape'];
  return table(heads, columns.map(({ name, numbers: n }) => [
    name, ...[n.min, n.quantiles.p05, n.quantiles.p25, n.quantiles.p50, n.quantiles.p75,
      n.quantiles.p95, n.max, n.mean]
      .map(short), n.standard_deviation === null ? '' : short(n.standard_deviation),
        shape(n.histogram.counts),
  ]));
}

function frequent({ name, top, values }) {
  const rows = top.map(({ value, count }) => [value, count,
    `${((100 * count) / values).toFixed(1)} %`]);
  return `### ${text(name)}\n\n${table(['value', 'count', 'share'], rows)}`;
}

function table(heads, rows) {
  const all = [heads, heads.map(() => '---'),
    ...rows.map((row) => row.map((cell) => text(String(cell))))];
  return all.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const short = (number) => String(Number(number.toPrecision(6)));

function shape(counts) {
  const highest = counts.reduce((a, b) => Math.max(a, b), 1);
  return counts.map((count) => BARS[Math.round((count / highest) * (BARS.length - 1))]).join('');
}

const line = (raw) => raw.replace(/\s+/gu, ' ').slice(0, 240);

const text = (raw) => escaped([...line(raw)].slice(0, 80).join(''));

const escaped = (raw) => raw.replace(/[\\`*_{}[\]<>|#!]/gu, (mark) => `\\${mark}`);
