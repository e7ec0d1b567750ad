// What the operator's panels are made of.

import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";

import { texts } from "@/texts";
import { Card, Empty, Failure, Skeleton } from "@/ui";

const t = texts.operator;

interface PanelProps<T> {
  name: keyof typeof t.tabs;
  load: () => Promise<T>;
  isEmpty: (data: T) => boolean;
  empty: string;
  children: (data: T) => ReactNode;
}

/** One question to the gateway, with its loading, failing and empty states. */
export function Panel<T>({ name, load, isEmpty, empty, children }: PanelProps<T>) {
  const answer = useQuery({ queryKey: ["operator", name], queryFn: load });
  return (
    <Card title={t.tabs[name]}>
      {answer.isPending && <Skeleton lines={4} />}
      {answer.error && <Failure error={answer.error} onRetry={() => answer.refetch()} />}
      {answer.data !== undefined &&
        (isEmpty(answer.data) ? <Empty title={empty} /> : children(answer.data))}
    </Card>
  );
}

interface TableProps {
  label: string;
  heads: string[];
  rows: { key: string; cells: ReactNode[] }[];
}

export function Table({ label, heads, rows }: TableProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls is reached by keys
    <section className="table-scroll" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {heads.map((head) => (
              <th key={head} scope="col">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ key, cells }) => (
            <tr key={key}>
              {cells.map((cell, index) => (
                <td key={heads[index]}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** The run's own page, by the beginning of its id. */
export const runLink = (id: string) => (
  <Link to="/runs/$id" params={{ id }}>
    {id.slice(0, 13)}
  </Link>
);
