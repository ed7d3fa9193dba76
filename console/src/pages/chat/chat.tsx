import { useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import { hrefOf, navigate } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog, DialogActions } from "../../ui/dialog.tsx";
import { FormError, TextField } from "../../ui/field.tsx";
import { Menu } from "../../ui/menu.tsx";
import { PageHead, type PageProps } from "../../ui/page.tsx";
import { refusalOf } from "../../ui/refusal.ts";
import { toast } from "../../ui/toasts.tsx";
import { Composer } from "./composer.tsx";
import { ConversationList } from "./conversation-list.tsx";
import { ThreadView } from "./thread-view.tsx";
import { useThread } from "./use-thread.ts";

function Rename(props: {
  readonly id: string;
  readonly title: string;
  readonly onDone: () => void;
  readonly onClose: () => void;
}) {
  const { id, onDone, onClose } = props;
  const [title, setTitle] = useState(props.title);
  const [refusal, setRefusal] = useState<string>();
  const save = async () => {
    try {
      await api("PATCH /v1/conversations/{conversation_id}", { path: { conversation_id: id }, body: { title } });
      onDone();
    } catch (error) {
      const { faults, sentence } = refusalOf(error);
      setRefusal(faults.title ?? sentence);
    }
  };
  return (
    <Dialog title="Rename the conversation" onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        <FormError text={refusal} />
        <TextField label="Title" value={title} onInput={setTitle} maxLength={200} />
        <DialogActions>
          <Button onClick={onClose}>Keep it</Button>
          <Button kind="primary" type="submit">
            Rename
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}

/** Chat: the conversations, and one of them. */
export default function ChatPage({ params }: PageProps) {
  const { conversation: id } = params;
  const isNew = id === undefined || id === "new";
  const conversationId = isNew ? "" : id;
  const thread = useThread(conversationId);
  const [round, setRound] = useState(0);
  const [isRenaming, setRenaming] = useState(false);
  const conversation = thread.stored.data?.conversation ?? undefined;
  const title = id === undefined ? "Chat" : isNew ? "New chat" : conversation?.title || "Conversation";
  const refresh = () => {
    setRound((value) => value + 1);
    thread.stored.reload();
  };
  const act = async (work: () => Promise<unknown>, words: string) => {
    try {
      await work();
      toast(words);
      navigate(hrefOf("chat"));
    } catch (error) {
      toast(refusalOf(error).sentence ?? "It could not be done.", { isError: true });
    }
  };
  const path = { conversation_id: conversationId };
  return (
    <div class={`chat ${id === undefined ? "chat-list" : "chat-open"}`}>
      <ConversationList currentId={conversationId} round={round} />
      <section class="thread-box" aria-label="Conversation">
        <PageHead
          title={isNew ? "Chat" : title}
          heading={<bdi>{title}</bdi>}
          sentence={
            <a class="chat-back" href={hrefOf("chat")}>
              All conversations
            </a>
          }
        >
          {!isNew && (
            <Menu
              label="Conversation"
              items={[
                { label: "Rename…", run: () => setRenaming(true) },
                {
                  label: conversation?.archived ? "Take from the archive" : "Archive",
                  run: () =>
                    void act(
                      () =>
                        api("PATCH /v1/conversations/{conversation_id}", { path, body: { archived: !conversation?.archived } }),
                      conversation?.archived ? "The conversation is back." : "The conversation is archived.",
                    ),
                },
                {
                  label: "Delete",
                  run: () =>
                    void act(() => api("DELETE /v1/conversations/{conversation_id}", { path }), "The conversation is deleted."),
                },
              ]}
            >
              ⋯
            </Menu>
          )}
        </PageHead>
        <ThreadView thread={thread} isNew={isNew} />
        <p class="visually-hidden" role="status">
          {thread.announcement}
        </p>
        <Composer
          conversationId={conversationId}
          isBusy={thread.isBusy}
          isSending={thread.outgoing !== ""}
          onSend={thread.send}
          onStop={thread.stop}
          onEditLast={undefined}
        />
      </section>
      {isRenaming && (
        <Rename
          id={conversationId}
          title={conversation?.title ?? ""}
          onClose={() => setRenaming(false)}
          onDone={() => {
            setRenaming(false);
            refresh();
          }}
        />
      )}
    </div>
  );
}
