// The routes, behind the mark #: so that any host of static files serves every page, and none of
// them is mistaken for a route of the gateway.

import {
  createHashHistory,
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Link,
} from "@tanstack/react-router";

import { texts } from "@/texts";
import { Button, Empty, Notice, Skeleton } from "@/ui";

import { Shell } from "./pages/Shell";
import { WalletPage } from "./pages/Wallet";

const root = createRootRoute({
  component: Shell,
  notFoundComponent: () => (
    <Empty title={texts.notFound.title} action={<Link to="/">{texts.notFound.back}</Link>} />
  ),
});

const wallet = createRoute({ getParentRoute: () => root, path: "/", component: WalletPage });

const run = createRoute({
  getParentRoute: () => root,
  path: "/runs/$id",
  component: lazyRouteComponent(() => import("./pages/Run"), "RunPage"),
});

const build = createRoute({
  getParentRoute: () => root,
  path: "/build",
  component: lazyRouteComponent(() => import("./pages/Builder"), "BuilderPage"),
});

const operator = createRoute({
  getParentRoute: () => root,
  path: "/operator",
  component: lazyRouteComponent(() => import("./pages/Operator"), "OperatorPage"),
});

export const router = createRouter({
  routeTree: root.addChildren([wallet, run, build, operator]),
  history: createHashHistory(),
  scrollRestoration: true,
  defaultPendingComponent: () => <Skeleton lines={6} />,
  defaultErrorComponent: ({ error }) => (
    <Notice
      kind="bad"
      title={texts.crash.title}
      action={<Button onClick={() => location.reload()}>{texts.start.reload}</Button>}
    >
      <p>{texts.crash.todo}</p>
      <p className="code">{String(error)}</p>
    </Notice>
  ),
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
