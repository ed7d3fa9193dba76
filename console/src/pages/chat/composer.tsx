import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useKeys } from "../../keyboard/keys.ts";
import { query } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { drafts } from "./pending-send.ts";

/** A message to send, with its agent and model. */
export interface Outgoing {
  readonly message: string;
  readonly agent: string;
  readonly model: string;
}

/** A choice whose names are loaded when a person reaches for it. */
function LazySelect(props: {
  readonly label: string;
  readonly first: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly load: () => Promise<readonly string[]>;
}) {
  const { label, first, value, onChange, load } = props;
  const [names, setNames] = useState<readonly string[]>([]);
  const want = () => {
    if (names.length === 0) void load().then(setNames, () => {});
  };
  const all = value === "" || names.includes(value) ? names : [value, ...names];
  return (
    <select
      class="input input-inline"
      aria-label={label}
      value={value}
      onPointerDown={want}
      onFocus={want}
      onChange={(event) => onChange(event.currentTarget.value)}
    >
      <option value="">{first}</option>
      {all.map((name) => (
        <option key={name} value={name}>
          {name}
        </option>
      ))}
    </select>
  );
}

const agentNames = async () => (await api("GET /v1/agents", {})).agents.map(({ name }) => name);
const modelNames = async () => (await api("GET /v1/models", {})).data.map(({ id }) => id);

/** The place to write: Enter sends, Shift+Enter begins a line, Esc stops the answer under way. */
export function Composer(props: {
  readonly conversationId: string;
  readonly isBusy: boolean;
  readonly isSending: boolean;
  readonly onSend: (outgoing: Outgoing) => void;
  readonly onStop: (() => void) | undefined;
  /** Edits the last message of the person, from an empty composer. */
  readonly onEditLast: (() => void) | undefined;
}) {
  const { conversationId, isBusy, isSending, onSend, onStop, onEditLast } = props;
  const [text, setText] = useState(() => drafts.get(conversationId));
  const [agent, setAgent] = useState(() => query.value.get("agent") ?? "");
  const [model, setModel] = useState("");
  const box = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    setText(drafts.get(conversationId));
    if (matchMedia("(min-width: 721px)").matches) box.current?.focus({ preventScroll: true });
  }, [conversationId]);
  useKeys({ Escape: () => (onStop === undefined ? false : onStop()) });
  const write = (next: string) => {
    setText(next);
    drafts.set(conversationId, next);
  };
  const send = () => {
    const message = text.trim();
    if (message === "" || isBusy || isSending) return;
    onSend({ message, agent, model });
    write("");
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={box}
        class="input"
        aria-label="Message"
        placeholder="Message…"
        rows={Math.min(8, Math.max(2, text.split("\n").length))}
        value={text}
        dir="auto"
        onInput={(event) => write(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            send();
          }
          if (event.key === "ArrowUp" && text === "" && onEditLast !== undefined) {
            event.preventDefault();
            onEditLast();
          }
          if (event.key === "Escape" && onStop !== undefined) onStop();
        }}
      />
      <div class="row spread">
        <div class="row">
          <LazySelect label="Agent" first="Agent: by the router" value={agent} onChange={setAgent} load={agentNames} />
          <LazySelect label="Model" first="Model: the agent's" value={model} onChange={setModel} load={modelNames} />
        </div>
        <div class="row">
          {onStop !== undefined && (
            <Button onClick={onStop} shortcut="Esc">
              Stop
            </Button>
          )}
          <Button kind="primary" type="submit" disabled={isBusy || isSending || text.trim() === ""}>
            Send
          </Button>
        </div>
      </div>
    </form>
  );
}
