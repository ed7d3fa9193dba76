import type { ComponentType } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { sessionStatus } from "../api/session.ts";
import { base, hrefOf, navigate, place, restoreScroll } from "../router/router.ts";
import { Button } from "../ui/button.tsx";
import { PageHead, type PageProps } from "../ui/page.tsx";
import { Loading } from "../ui/states.tsx";
import { Toasts } from "../ui/toasts.tsx";
import { Frame } from "./frame.tsx";
import { LoginDialog } from "./login-dialog.tsx";
import { Overlays } from "./overlay-views.tsx";
import { matchRoute, type Route } from "./routes.ts";

const loaded = new Map<Route, ComponentType<PageProps>>();

function NotFound() {
  return (
    <>
      <PageHead title="Not found" sentence="There is no page at this address." />
      <Button href={`${base}chat`}>Open Chat</Button>
    </>
  );
}

/** Loads a page's code; the words of its data come from the page itself. */
function Page({ route, params }: { readonly route: Route; readonly params: PageProps["params"] }) {
  const [, setRound] = useState(0);
  const [isFailed, setFailed] = useState(false);
  const Component = loaded.get(route);
  useEffect(() => {
    if (loaded.has(route)) return;
    let isLeft = false;
    setFailed(false);
    route.load().then(
      (module) => {
        loaded.set(route, module.default);
        if (!isLeft) setRound((round) => round + 1);
      },
      () => {
        if (!isLeft) setFailed(true);
      },
    );
    return () => {
      isLeft = true;
    };
  }, [route]);
  if (Component !== undefined) return <Component key={place.value.path} params={params} />;
  if (!isFailed) return <Loading what="this page" />;
  // After an update of the server, the files of the page that is open are gone.
  return (
    <>
      <PageHead title="Turnwright" sentence="This page could not be loaded. The server may have been updated." />
      <Button onClick={() => location.reload()}>Load again</Button>
    </>
  );
}

/**
 * Puts the focus on the heading after a page was changed, as soon as it is there, so that a reader begins there; unless
 * the page has put it elsewhere.
 */
function useHeadingFocus(path: string): void {
  const isFirst = useRef(true);
  useEffect(() => {
    if (isFirst.current) {
      isFirst.current = false;
      return;
    }
    const opener = document.activeElement;
    let frame = 0;
    const step = () => {
      const active = document.activeElement;
      if (active !== opener && active !== document.body) return;
      const heading = document.querySelector<HTMLElement>("main h1");
      if (heading === null) frame = requestAnimationFrame(step);
      else if (active?.closest("main") === null || active === document.body) heading.focus({ preventScroll: true });
    };
    frame = requestAnimationFrame(step);
    return () => cancelAnimationFrame(frame);
  }, [path]);
}

/** The console: the page of the address, in its frame, behind the login. */
export function App() {
  const { path, search } = place.value;
  const status = sessionStatus.value;
  const match = matchRoute(path);
  useHeadingFocus(path);
  const { entry } = place.value;
  // Each entry of the history has a position of its own, also on the same page, and after a reload.
  useEffect(() => restoreScroll(), [entry]);
  useEffect(() => {
    if (path === "") navigate(`${base}chat`, { replace: true });
    else if (status === "out" && !match?.value.isPublic) {
      navigate(hrefOf("login", { next: path === "" ? undefined : `${path}${search}` }), { replace: true });
    }
  }, [path, search, status, match]);
  if (match?.value.isPublic) {
    return (
      <>
        <main id="main" class="plain" tabIndex={-1}>
          <Page route={match.value} params={match.params} />
        </main>
        <Toasts />
      </>
    );
  }
  if (status === "starting" || status === "out") {
    return (
      <Frame>
        <h1 tabIndex={-1}>Loading…</h1>
      </Frame>
    );
  }
  return (
    <>
      <Frame>
        {match === undefined ? path === "" ? null : <NotFound /> : <Page route={match.value} params={match.params} />}
      </Frame>
      <Overlays />
      {status === "ended" && <LoginDialog />}
      <Toasts />
    </>
  );
}
