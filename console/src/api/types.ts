// Written by `npm run generate` from packages/contract/openapi.json. Do not edit.

/** Limits of an account over all its sessions and API keys together. Unset fields take the system's default; 0: no limit. */
export type AccountLimits = { readonly rate_limit_per_minute: number | null; readonly rate_limit_per_day: number | null; readonly max_concurrent: number | null; readonly spend_limit_usd: number | null; };

/** Limits of an account over all its sessions and API keys together. Unset fields take the system's default; 0: no limit. */
export type AccountLimitsInput = { readonly rate_limit_per_minute: number | null; readonly rate_limit_per_day: number | null; readonly max_concurrent: number | null; readonly spend_limit_usd: number | null; };

/** A named configuration of prompt, model and tools. */
export type Agent = { readonly name: string; readonly description: string; readonly model: string; readonly tools: readonly string[]; };

/** An API key without its secret. */
export type ApiKey = { readonly id: string; readonly name: string; readonly prefix: string; readonly allowed_tools: readonly string[]; readonly allowed_models: readonly string[]; readonly rate_limit_per_minute: number; readonly rate_limit_per_day: number; readonly expires_at: string | null; readonly last_used_at: string | null; readonly is_revoked: boolean; readonly created_at: string | null; readonly max_concurrent: number; readonly spend_limit_usd: number | null; readonly spent_usd: number; readonly scopes: readonly string[]; readonly may_approve: boolean; readonly parent_id: string; readonly revoked_at: string | null; };

/** A tool call that waits, or waited, for a person's decision. */
export type Approval = { readonly id: string; readonly conversation_id: string; readonly run_id: string; readonly call_id: string; readonly tool_name: string; readonly tool_version: string; readonly arguments: string; readonly status: string; readonly reason: string; readonly decided_by: string; readonly created_at: string | null; readonly decided_at: string | null; readonly edited_arguments: string; readonly expires_at: string | null; readonly decided_by_token_id: string; readonly decided_by_token_type: string; readonly superseded_by: string; readonly decided_by_name: string; readonly decided_via: string; };

/** A decision on one of several calls. */
export type ApprovalDecisionInput = { readonly approval_id: string; readonly approved: boolean; readonly reason: string | null; readonly arguments: Readonly<Record<string, unknown>> | null; readonly arguments_json: string | null; };

/** Outcome of the decision. */
export type ApproveConversationResponse = { readonly conversation: Conversation | null; readonly status: string; readonly response: string | null; };

/** An entry of an audit log. Each holds the hash of the one before it. */
export type AuditEntry = { readonly sequence: number; readonly at: string | null; readonly action: string; readonly outcome: string; readonly actor_id: string; readonly credential_id: string; readonly subject: string; readonly address: string; readonly request_id: string; readonly details: Readonly<Record<string, unknown>> | null; readonly hash: string; };

/** The result of a verification. */
export type AuditVerification = { readonly entries: number; readonly head: string; readonly broken_at: number; readonly fault: string; readonly checked_at: string | null; };

/** Results of the calls. */
export type BatchExecuteToolsResponse = { readonly results: readonly unknown[]; };

/** Outcome of a tool call that was open when its run was cancelled. */
export type CallReceipt = { readonly call_id: string; readonly tool_name: string; readonly outcome: string; };

/** The cancelled run. */
export type CancelRunResponse = { readonly run: RunInfo | null; };

/** The outcome for one run. */
export type CancelRunResult = { readonly run_id: string; readonly cancelled: boolean; readonly receipts: readonly CallReceipt[]; readonly error_reason: string; readonly error: string; };

/** The results, in the order of the request. */
export type CancelRunsResponse = { readonly results: readonly CancelRunResult[]; };

/** No fields: the caller must log in again. */
export type ChangePasswordResponse = Readonly<Record<string, never>>;

/** OpenAI's chat completion. */
export type ChatCompletion = { readonly id: string; readonly object: string; readonly created: number; readonly model: string; readonly choices: readonly Choice[]; readonly usage: Usage | null; };

/** One event of a streamed chat completion. */
export type ChatCompletionChunk = { readonly id: string; readonly object: string; readonly created: number; readonly model: string; readonly choices: readonly ChoiceDelta[]; readonly usage: Usage | null; readonly type: string | null; readonly delta: string | null; };

/** OpenAI's chat completion request. Further fields pass through to the model. */
export type ChatCompletionRequest = { readonly model: string | null; readonly messages: readonly ChatMessageInput[]; readonly tools: readonly ToolDefinitionInput[] | null; readonly tool_choice: unknown; readonly temperature: number | null; readonly max_tokens: number | null; readonly stream: boolean | null; readonly stream_options: StreamOptionsInput | null; readonly response_format: unknown; readonly server_tools: "on" | "off" | null; };

/** One message of a chat. */
export type ChatMessage = { readonly role: string; readonly content: unknown; readonly name: string | null; readonly tool_calls: readonly ToolCall[]; readonly tool_call_id: string | null; };

/** One message of a chat. */
export type ChatMessageInput = { readonly role: "system" | "developer" | "user" | "assistant" | "tool"; readonly content: unknown; readonly name: string | null; readonly tool_calls: readonly ToolCallInput[] | null; readonly tool_call_id: string | null; };

/** One answer. */
export type Choice = { readonly index: number; readonly message: ChatMessage | null; readonly finish_reason: string; };

/** Change of one answer. */
export type ChoiceDelta = { readonly index: number; readonly delta: ChatMessage | null; readonly finish_reason: string | null; };

/** A conversation of a user. */
export type Conversation = { readonly id: string; readonly user_id: string; readonly title: string; readonly status: string; readonly agent_type: string; readonly model: string; readonly current_node: string; readonly message_count: number; readonly tool_call_count: number; readonly total_tokens: number; readonly total_cost: number; readonly tags: readonly string[]; readonly created_at: string | null; readonly updated_at: string | null; readonly last_message_at: string | null; readonly finish_reason: string; readonly archived: boolean; };

/** The created API key. */
export type CreateApiKeyResponse = { readonly api_key: ApiKey | null; readonly key: string; };

/** The first answer. */
export type CreateConversationResponse = { readonly conversation_id: string; readonly message: Message | null; readonly response: string; };

/** The created invite. */
export type CreateInviteResponse = { readonly invite: Invite | null; readonly secret: string; };

/** The stored run. */
export type CreateRunResponse = { readonly run: RunInfo | null; };

/** The created account. */
export type CreateUserResponse = { readonly user: User | null; };

/** The created webhook. */
export type CreateWebhookResponse = { readonly webhook: Webhook | null; readonly secret: string; };

/** Outcome of the decision. */
export type DecideApprovalResponse = { readonly conversation_id: string; readonly status: string; readonly response: string | null; readonly approval: Approval | null; };

/** Outcomes of the decisions. */
export type DecideApprovalsResponse = { readonly results: readonly DecisionResult[]; };

/** Why a decision does not stand. */
export type DecisionError = { readonly code: string; readonly message: string; readonly param: string; };

/** Outcome of one of several decisions. */
export type DecisionResult = { readonly approval_id: string; readonly status: string; readonly approval: Approval | null; readonly error: DecisionError | null; };

/** No fields. */
export type DeleteConversationResponse = Readonly<Record<string, never>>;

/** No fields. */
export type DeleteWebhookResponse = Readonly<Record<string, never>>;

/** Body of every error response. */
export type Error = { readonly success: false; readonly error: { readonly message: string; readonly type: string; readonly param: string | null; readonly code: string; readonly faults: readonly ({ readonly param: string | null; readonly message: string; })[]; readonly approval: { readonly id: string; readonly run_id: string; readonly status: string; readonly reason: string; readonly decided_by: string; readonly decided_by_name: string; readonly decided_via: string; readonly decided_at: string | null; readonly is_edited: boolean; }; }; };

/** The copy. */
export type ForkConversationResponse = { readonly conversation: Conversation | null; };

/** A function call that a model requests. */
export type FunctionCall = { readonly name: string; readonly arguments: string; };

/** A function call that a model requests. */
export type FunctionCallInput = { readonly name: string; readonly arguments: string | null; };

/** Declaration of a function in OpenAI's format. */
export type FunctionDefinition = { readonly name: string; readonly description: string; readonly parameters: Readonly<Record<string, unknown>> | null; readonly strict: boolean | null; };

/** Declaration of a function in OpenAI's format. */
export type FunctionDefinitionInput = { readonly name: string | null; readonly description: string | null; readonly parameters: Readonly<Record<string, unknown>> | null; readonly strict: boolean | null; };

/** The API key. */
export type GetApiKeyResponse = { readonly api_key: ApiKey | null; };

/** An approval. */
export type GetApprovalResponse = { readonly approval: Approval | null; };

/** A conversation with its messages. */
export type GetConversationResponse = { readonly conversation: Conversation | null; readonly messages: readonly Message[]; readonly pending_approvals: readonly Approval[]; readonly next_cursor: string; };

/** The caller's account. */
export type GetCurrentUserResponse = { readonly user: User | null; };

/** The facts. */
export type GetInfoResponse = { readonly version: string; readonly registration: string; readonly demo_model: boolean; readonly currency: string; readonly heartbeat_seconds: number; readonly body_limit_bytes: number; readonly features: readonly string[]; };

/** A JSON Web Key Set (RFC 7517). */
export type GetJwksResponse = { readonly keys: readonly (Readonly<Record<string, unknown>>)[]; };

/** A run. */
export type GetRunResponse = { readonly run: RunInfo | null; readonly steps: readonly RunStep[]; readonly steps_next_cursor: string; };

/** The system as of now. */
export type GetSystemResponse = { readonly asked_at: string | null; readonly parts: readonly SystemPart[]; readonly stores: readonly SystemStore[]; };

/** Usage in the requested days. */
export type GetUsageResponse = { readonly usage: readonly UsageRow[]; readonly total: UsageTotal | null; };

/** The account. */
export type GetUserResponse = { readonly user: User | null; };

/** The delivery with its texts. */
export type GetWebhookDeliveryResponse = { readonly delivery: WebhookDelivery | null; readonly request_body: string; readonly response_body: string; };

/** A webhook. */
export type GetWebhookResponse = { readonly webhook: Webhook | null; };

/** A tool call in the inbox. */
export type InboxCall = { readonly call_id: string; readonly tool_name: string; readonly tool_version: string; readonly effect: string; readonly arguments: string; readonly arguments_bytes: number; readonly is_edited: boolean; };

/** Items that wait for the caller. */
export type InboxCounts = { readonly approvals: number; readonly reviews: number; readonly oldest_at: string | null; };

/** Work for a person: a tool call to decide on, or a run whose calls need a review. */
export type InboxItem = { readonly id: string; readonly kind: string; readonly status: string; readonly conversation_id: string; readonly run_id: string; readonly title: string; readonly agent_type: string; readonly requested_by_token_id: string; readonly requested_by_name: string; readonly calls: readonly InboxCall[]; readonly before: readonly InboxMessage[]; readonly created_at: string | null; readonly waiting_since: string | null; readonly expires_at: string | null; readonly decided_at: string | null; readonly decided_by: string; readonly decided_by_name: string; readonly decided_via: string; readonly reason: string; };

/** The beginning of a message. */
export type InboxMessage = { readonly role: string; readonly name: string; readonly text: string; readonly bytes: number; };

/** A tool as a person needs it to decide on its calls. */
export type InboxTool = { readonly name: string; readonly version: string; readonly effect: string; readonly description: string; readonly parameters: Readonly<Record<string, unknown>> | null; };

/** Permission for one person to register where registration is not open. Never contains the invite's secret. */
export type Invite = { readonly id: string; readonly email: string; readonly created_at: string | null; readonly created_by: string; readonly expires_at: string | null; readonly revoked_at: string | null; readonly used_at: string | null; readonly used_by: string; };

/** The available agents. */
export type ListAgentsResponse = { readonly agents: readonly Agent[]; };

/** A page of runs. */
export type ListAllRunsResponse = { readonly runs: readonly UserRun[]; readonly next_cursor: string; };

/** A page of usage. */
export type ListAllUsageResponse = { readonly usage: readonly UsageGroup[]; readonly total: UsageTotal | null; readonly next_cursor: string; };

/** A page of the caller's API keys. */
export type ListApiKeysResponse = { readonly api_keys: readonly ApiKey[]; readonly next_cursor: string; };

/** A page of approvals. */
export type ListApprovalsResponse = { readonly approvals: readonly Approval[]; readonly next_cursor: string; };

/** A page of the log. */
export type ListAuditEntriesResponse = { readonly entries: readonly AuditEntry[]; readonly next_cursor: string; };

/** A page of conversations. */
export type ListConversationsResponse = { readonly conversations: readonly Conversation[]; readonly total: number; readonly next_cursor: string; };

/** A page of the log. */
export type ListDecisionAuditEntriesResponse = { readonly entries: readonly AuditEntry[]; readonly next_cursor: string; };

/** A page of the inbox. */
export type ListInboxResponse = { readonly items: readonly InboxItem[]; readonly tools: readonly InboxTool[]; readonly counts: InboxCounts | null; readonly next_cursor: string; };

/** A page of invites. */
export type ListInvitesResponse = { readonly invites: readonly Invite[]; readonly next_cursor: string; };

/** A page of messages. */
export type ListMessagesResponse = { readonly messages: readonly Message[]; readonly has_more: boolean; readonly next_cursor: string; };

/** Models in OpenAI's format. */
export type ListModelsResponse = { readonly object: string; readonly data: readonly Model[]; };

/** A page of steps. */
export type ListRunStepsResponse = { readonly steps: readonly RunStep[]; readonly next_cursor: string; };

/** A page of runs. */
export type ListRunsResponse = { readonly runs: readonly RunInfo[]; readonly next_cursor: string; };

/** The caller's live sessions. */
export type ListSessionsResponse = { readonly sessions: readonly Session[]; };

/** The signing keys. */
export type ListSigningKeysResponse = { readonly signing_keys: readonly SigningKey[]; };

/** Tools in OpenAI's format. */
export type ListToolsResponse = { readonly tools: readonly ToolDefinition[]; readonly details: readonly ToolDetails[]; };

/** A page of accounts. */
export type ListUsersResponse = { readonly users: readonly User[]; readonly next_cursor: string; };

/** A page of deliveries. */
export type ListWebhookDeliveriesResponse = { readonly deliveries: readonly WebhookDelivery[]; readonly next_cursor: string; };

/** The caller's webhooks. */
export type ListWebhooksResponse = { readonly webhooks: readonly Webhook[]; };

/** Tokens of the new session. */
export type LoginResponse = { readonly access_token: string; readonly refresh_token: string; readonly token_type: string; readonly expires_in: number; readonly user: User | null; };

/** No fields. */
export type LogoutResponse = Readonly<Record<string, never>>;

/** A message of a conversation. */
export type Message = { readonly id: string; readonly conversation_id: string; readonly role: string; readonly content: string; readonly name: string; readonly tool_calls: readonly ToolCall[]; readonly tool_call_id: string; readonly model: string; readonly prompt_tokens: number; readonly completion_tokens: number; readonly latency_ms: number; readonly sequence_number: number; readonly created_at: string | null; readonly finish_reason: string; readonly reasoning: string; readonly provider_fields: string; readonly run_id: string; readonly truncated_bytes: number; readonly truncated_reasoning_bytes: number; readonly parts: readonly MessagePart[]; };

/** A part of a user's message, beside its text. */
export type MessagePart = { readonly type: string; readonly text: string; readonly image_url: string; readonly truncated_bytes: number; };

/** A part of a user's message, beside its text. */
export type MessagePartInput = { readonly type: "text" | "image"; readonly text: string | null; readonly image_url: string | null; readonly truncated_bytes: number | null; };

/** A model. */
export type Model = { readonly id: string; readonly object: string; readonly created: number; readonly owned_by: string; };

/** How much of the caller's is open; more than 10,000 of a kind count as 10,000. */
export type OpenCounts = { readonly pending: number; readonly needs_review: number; readonly running: number; };

/** The delivery, pending again. */
export type RedeliverWebhookResponse = { readonly delivery: WebhookDelivery | null; };

/** New tokens of the session. */
export type RefreshResponse = { readonly access_token: string; readonly refresh_token: string; readonly token_type: string; readonly expires_in: number; };

/** The created account. */
export type RegisterResponse = { readonly user: User | null; };

/** The password and the number of credentials that ended. */
export type ResetUserPasswordResponse = { readonly password: string; readonly sessions: number; readonly api_keys: number; };

/** The new run. */
export type RetryRunResponse = { readonly run: RunInfo | null; };

/** The run after the review. */
export type ReviewRunResponse = { readonly run: RunInfo | null; };

/** Outcome of one call. */
export type ReviewedCallInput = { readonly call_id: string; readonly outcome: "completed" | "not_done"; readonly output: unknown; readonly output_json: string | null; };

/** The revoked API key. */
export type RevokeApiKeyResponse = { readonly api_key: ApiKey | null; };

/** The revoked invite. */
export type RevokeInviteResponse = { readonly invite: Invite | null; };

/** No fields. */
export type RevokeSessionResponse = Readonly<Record<string, never>>;

/** Number of credentials that ended. */
export type RevokeUserCredentialsResponse = { readonly sessions: number; readonly api_keys: number; };

/** The rotated API key. */
export type RotateApiKeyResponse = { readonly api_key: ApiKey | null; readonly key: string; };

/** The keys after the rotation. */
export type RotateSigningKeyResponse = { readonly key_id: string; readonly key_ids: readonly string[]; };

/** The webhook with its new secret. */
export type RotateWebhookSecretResponse = { readonly webhook: Webhook | null; readonly secret: string; };

/** A run as its user sees it. */
export type RunInfo = { readonly id: string; readonly conversation_id: string; readonly status: string; readonly agent: string; readonly model: string; readonly message: string; readonly response: string; readonly error: string; readonly usage: Usage | null; readonly cost: number; readonly tool_calls: number; readonly attempt: number; readonly last_event_id: string; readonly unsettled_calls: readonly ToolCall[]; readonly receipts: readonly CallReceipt[]; readonly created_at: string | null; readonly updated_at: string | null; readonly deadline_at: string | null; readonly wake_at: string | null; readonly token_id: string; readonly finish_reason: string; readonly last_error: string; readonly error_reason: string; readonly agent_type: string; readonly cost_usd: number; readonly title: string; readonly key_name: string; readonly started_at: string | null; readonly ended_at: string | null; readonly priced: boolean; };

/** A step of a run: a stretch of its time with one cause. The steps are computed from what the journal has stored, so they are as new as the run's last commit; StreamRunEvents tells what happens in between. */
export type RunStep = { readonly id: string; readonly parent_id: string; readonly kind: string; readonly node: string; readonly name: string; readonly status: string; readonly started_at: string | null; readonly ended_at: string | null; readonly attempt: number; readonly worker_id: string; readonly model: string; readonly prompt_tokens: number; readonly completion_tokens: number; readonly cost_usd: number | null; readonly call_id: string; readonly approval_id: string; readonly first_event_id: string; readonly last_event_id: string; readonly error: string; readonly error_reason: string; readonly provider: string; readonly wake_at: string | null; };

/** The answer. */
export type SendMessageResponse = { readonly conversation_id: string; readonly message: Message | null; readonly response: string; };

/** A login. It lasts for as long as it is refreshed in time. */
export type Session = { readonly id: string; readonly created_at: string | null; readonly last_used_at: string | null; readonly expires_at: string | null; readonly is_current: boolean; readonly user_agent: string; readonly address: string; };

/** A key that signs tokens, without its private half. */
export type SigningKey = { readonly key_id: string; readonly algorithm: string; readonly created_at: string | null; readonly retired_at: string | null; readonly state: string; };

/** A change. Only the fields of its type are set. */
export type StreamEventsResponse = { readonly type: string; readonly event_id: string; readonly counts: OpenCounts | null; readonly reset: boolean; readonly run_id: string; readonly conversation_id: string; readonly status: string; readonly approval_id: string; readonly call_id: string; readonly tool_name: string; readonly api_key_id: string; readonly session_id: string; };

/** Options of a stream. */
export type StreamOptionsInput = { readonly include_usage: boolean | null; };

/** An event of the run. Only the fields of its type are set. */
export type StreamRunEventsResponse = { readonly type: string; readonly delta: string; readonly tool_call: ToolCall | null; readonly result: string; readonly usage: Usage | null; readonly conversation_id: string; readonly run_id: string; readonly agent: string; readonly message: Message | null; readonly event_id: string; readonly error: string; readonly since: string; readonly error_reason: string; readonly provider: string; readonly model: string; readonly agent_type: string; readonly at: string | null; readonly in_ms: number; readonly truncated_bytes: number; };

/** An event of the run. Only the fields of its type are set. */
export type StreamTurnResponse = { readonly type: string; readonly delta: string; readonly tool_call: ToolCall | null; readonly result: string; readonly usage: Usage | null; readonly conversation_id: string; readonly run_id: string; readonly agent: string; readonly message: Message | null; readonly event_id: string; readonly since: string; readonly error: string; readonly error_reason: string; readonly provider: string; readonly model: string; readonly agent_type: string; };

/** A breaker that spares a failing model. */
export type SystemBreaker = { readonly provider: string; readonly model: string; readonly state: string; };

/** A part of the mesh. */
export type SystemPart = { readonly name: string; readonly status: string; readonly replicas: readonly SystemReplica[]; };

/** Connections to PostgreSQL. */
export type SystemPool = { readonly max: number; readonly open: number; readonly idle: number; readonly waiting: number; };

/** The model calls of a provider. */
export type SystemQueue = { readonly provider: string; readonly in_progress: number; readonly waiting: number; readonly oldest_wait_ms: number; };

/** One process of a part. Figures are 0 while it is silent. */
export type SystemReplica = { readonly instance: string; readonly is_silent: boolean; readonly version: string; readonly uptime_seconds: number; readonly memory_bytes: number; readonly heap_bytes: number; readonly loop_lag_ms: number; readonly pools: readonly SystemPool[]; readonly queues: readonly SystemQueue[]; readonly breakers: readonly SystemBreaker[]; };

/** A store. */
export type SystemStore = { readonly name: string; readonly status: string; };

/** The delivery of the test. */
export type TestWebhookResponse = { readonly delivery: WebhookDelivery | null; };

/** A tool call in OpenAI's format. */
export type ToolCall = { readonly id: string; readonly type: string; readonly function: FunctionCall | null; };

/** A tool call in OpenAI's format. */
export type ToolCallInput = { readonly id: string | null; readonly type: "" | "function" | null; readonly function: FunctionCallInput; };

/** Declaration of a tool in OpenAI's format. */
export type ToolDefinition = { readonly type: string; readonly function: FunctionDefinition | null; };

/** Declaration of a tool in OpenAI's format. */
export type ToolDefinitionInput = { readonly type: string | null; readonly function: FunctionDefinitionInput | null; };

/** Facts about a tool besides its declaration. */
export type ToolDetails = { readonly name: string; readonly effect: string; readonly requires_approval: boolean; readonly timeout_ms: number; readonly version: string; readonly source: string; };

/** Outcome of the trial. */
export type TryToolResponse = { readonly status: string; readonly output_json: string; readonly error: string; readonly duration_ms: number; readonly conversation_id: string; readonly run_id: string; readonly approval: Approval | null; };

/** The API key after the change. */
export type UpdateApiKeyResponse = { readonly api_key: ApiKey | null; };

/** The changed conversation. */
export type UpdateConversationResponse = { readonly conversation: Conversation | null; };

/** The account after the change. */
export type UpdateUserResponse = { readonly user: User | null; };

/** The webhook after the change. */
export type UpdateWebhookResponse = { readonly webhook: Webhook | null; };

/** Tokens used by model calls. */
export type Usage = { readonly prompt_tokens: number; readonly completion_tokens: number; readonly total_tokens: number; };

/** Sum of the usage that has the same day, user, model and credential, as far as `group_by` names them. */
export type UsageGroup = { readonly day: string; readonly user_id: string; readonly model: string; readonly token_id: string; readonly requests: number; readonly prompt_tokens: number; readonly completion_tokens: number; readonly cost_usd: number; readonly estimated_tokens: number; readonly key_name: string; readonly priced: boolean; };

/** Sum of the usage that has the same day, model and credential, as far as `group_by` names them. */
export type UsageRow = { readonly day: string; readonly model: string; readonly token_id: string; readonly requests: number; readonly prompt_tokens: number; readonly completion_tokens: number; readonly cost_usd: number; readonly estimated_tokens: number; readonly key_name: string; readonly priced: boolean; };

/** Sum of usage. */
export type UsageTotal = { readonly requests: number; readonly prompt_tokens: number; readonly completion_tokens: number; readonly cost_usd: number; readonly estimated_tokens: number; readonly priced: boolean; };

/** Account of a person or program. Never contains the password or its hash. */
export type User = { readonly id: string; readonly email: string; readonly name: string; readonly role: string; readonly is_active: boolean; readonly created_at: string | null; readonly updated_at: string | null; readonly limits: AccountLimits | null; readonly spent_usd: number; };

/** A run and its user. */
export type UserRun = { readonly user_id: string; readonly run: RunInfo | null; };

/** The result. */
export type VerifyAuditLogResponse = { readonly verification: AuditVerification | null; };

/** The result. */
export type VerifyDecisionAuditLogResponse = { readonly verification: AuditVerification | null; };

/** The run in its present state. */
export type WaitRunResponse = { readonly run: RunInfo | null; };

/** A URL that receives events of its owner's runs. */
export type Webhook = { readonly id: string; readonly url: string; readonly events: readonly string[]; readonly description: string; readonly enabled: boolean; readonly disabled_reason: string; readonly created_at: string | null; readonly updated_at: string | null; readonly api_key_id: string; readonly last_failure_at: string | null; };

/** Delivery of one event to one webhook. */
export type WebhookDelivery = { readonly id: string; readonly webhook_id: string; readonly event: string; readonly run_id: string; readonly conversation_id: string; readonly status: string; readonly attempts: number; readonly response_status: number; readonly error: string; readonly created_at: string | null; readonly next_attempt_at: string | null; readonly ended_at: string | null; };

/** The operations of the API, by verb and path: what they take and what they answer. */
export interface Operations {
  readonly "GET /.well-known/jwks.json": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly data: GetJwksResponse;
  };
  readonly "GET /health": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly data: { readonly status: "ok"; };
  };
  readonly "GET /ready": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly data: { readonly status: "ready"; readonly degraded: readonly ({ readonly part: string; readonly serving: number; readonly replicas: number; })[]; };
  };
  readonly "GET /v1/admin/audit/auth": {
    readonly path: undefined;
    readonly query: { readonly limit?: number; readonly cursor?: string; readonly event?: string; readonly user?: string; readonly from?: string; readonly to?: string; };
    readonly body: undefined;
    readonly data: ListAuditEntriesResponse;
  };
  readonly "POST /v1/admin/audit/auth/verify": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly data: VerifyAuditLogResponse;
  };
  readonly "GET /v1/admin/audit/conversation": {
    readonly path: undefined;
    readonly query: { readonly limit?: number; readonly cursor?: string; readonly event?: string; readonly user?: string; readonly from?: string; readonly to?: string; };
    readonly body: undefined;
    readonly data: ListDecisionAuditEntriesResponse;
  };
  readonly "POST /v1/admin/audit/conversation/verify": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly data: VerifyDecisionAuditLogResponse;
  };
  readonly "GET /v1/admin/invites": {
    readonly path: undefined;
    readonly query: { readonly limit?: number; readonly cursor?: string; };
    readonly body: undefined;
    readonly data: ListInvitesResponse;
  };
  readonly "POST /v1/admin/invites": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: { readonly email?: string | null; readonly expires_at?: string | null; };
    readonly data: CreateInviteResponse;
  };
  readonly "DELETE /v1/admin/invites/{invite_id}": {
    readonly path: { readonly invite_id: string; };
    readonly query: undefined;
    readonly body: undefined;
    readonly data: RevokeInviteResponse;
  };
  readonly "GET /v1/admin/runs": {
    readonly path: undefined;
    readonly query: { readonly limit?: number; readonly cursor?: string; readonly user_id?: string; readonly statuses?: readonly ("queued" | "running" | "waiting" | "completed" | "failed" | "cancelled" | "needs_review")[]; readonly agent_type?: string; readonly model?: string; readonly token_id?: string; readonly from?: string; readonly to?: string; readonly run_id?: string; readonly reason?: string; };
    readonly body: undefined;
    readonly data: ListAllRunsResponse;
  };
  readonly "GET /v1/admin/signing-keys": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly data: ListSigningKeysResponse;
  };
  readonly "POST /v1/admin/signing-keys/rotate": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: { readonly retire_previous?: boolean | null; };
    readonly data: RotateSigningKeyResponse;
  };
  readonly "GET /v1/admin/system": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly data: GetSystemResponse;
  };
  readonly "GET /v1/admin/usage": {
    readonly path: undefined;
    readonly query: { readonly start?: string; readonly end?: string; readonly user_id?: string; readonly group_by?: readonly ("day" | "user" | "model" | "credential")[]; readonly limit?: number; readonly cursor?: string; };
    readonly body: undefined;
    readonly data: ListAllUsageResponse;
  };
  readonly "GET /v1/admin/users": {
    readonly path: undefined;
    readonly query: { readonly limit?: number; readonly cursor?: string; readonly q?: string; readonly role?: "admin" | "user" | "agent"; readonly active?: boolean; };
    readonly body: undefined;
    readonly data: ListUsersResponse;
  };
  readonly "POST /v1/admin/users": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: { readonly email: string; readonly password: string; readonly name?: string | null; readonly role?: "admin" | "user" | "agent" | null; };
    readonly data: CreateUserResponse;
  };
  readonly "GET /v1/admin/users/{user_id}": {
    readonly path: { readonly user_id: string; };
    readonly query: undefined;
    readonly body: undefined;
    readonly data: GetUserResponse;
  };
  readonly "PATCH /v1/admin/users/{user_id}": {
    readonly path: { readonly user_id: string; };
    readonly query: undefined;
    readonly body: { readonly role?: "admin" | "user" | "agent" | null; readonly is_active?: boolean | null; readonly name?: string | null; readonly limits?: AccountLimitsInput | null; };
    readonly data: UpdateUserResponse;
  };
  readonly "POST /v1/admin/users/{user_id}/password": {
    readonly path: { readonly user_id: string; };
    readonly query: undefined;
    readonly body: { readonly new_password?: string | null; readonly revoke_api_keys?: boolean | null; };
    readonly data: ResetUserPasswordResponse;
  };
  readonly "POST /v1/admin/users/{user_id}/revoke": {
    readonly path: { readonly user_id: string; };
    readonly query: undefined;
    readonly body: undefined;
    readonly data: RevokeUserCredentialsResponse;
  };
  readonly "GET /v1/agents": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly data: ListAgentsResponse;
  };
  readonly "GET /v1/api-keys": {
    readonly path: undefined;
    readonly query: { readonly limit?: number; readonly cursor?: string; };
    readonly body: undefined;
    readonly data: ListApiKeysResponse;
  };
  readonly "POST /v1/api-keys": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: { readonly name: string; readonly allowed_tools?: readonly string[] | null; readonly allowed_models?: readonly string[] | null; readonly rate_limit_per_minute?: number | null; readonly rate_limit_per_day?: number | null; readonly expires_at?: string | null; readonly max_concurrent?: number | null; readonly spend_limit_usd?: number | null; readonly scopes?: readonly ("account" | "approvals" | "completions" | "conversations:read" | "conversations:write" | "keys" | "models" | "runs" | "tools" | "usage" | "webhooks")[] | null; readonly may_approve?: boolean | null; };
    readonly data: CreateApiKeyResponse;
  };
  readonly "GET /v1/api-keys/{api_key_id}": {
    readonly path: { readonly api_key_id: string; };
    readonly query: undefined;
    readonly body: undefined;
    readonly data: GetApiKeyResponse;
  };
  readonly "DELETE /v1/api-keys/{api_key_id}": {
    readonly path: { readonly api_key_id: string; };
    readonly query: undefined;
    readonly body: undefined;
    readonly data: RevokeApiKeyResponse;
  };
  readonly "PATCH /v1/api-keys/{api_key_id}": {
    readonly path: { readonly api_key_id: string; };
    readonly query: undefined;
    readonly body: { readonly name?: string | null; readonly allowed_tools?: readonly string[] | null; readonly allowed_models?: readonly string[] | null; readonly rate_limit_per_minute?: number | null; readonly rate_limit_per_day?: number | null; readonly max_concurrent?: number | null; readonly spend_limit_usd?: number | null; readonly expires_at?: string | null; readonly never_expires?: boolean | null; readonly scopes?: readonly ("*" | "account" | "approvals" | "completions" | "conversations:read" | "conversations:write" | "keys" | "models" | "runs" | "tools" | "usage" | "webhooks")[] | null; readonly may_approve?: boolean | null; };
    readonly data: UpdateApiKeyResponse;
  };
  readonly "POST /v1/api-keys/{api_key_id}/rotate": {
    readonly path: { readonly api_key_id: string; };
    readonly query: undefined;
    readonly body: { readonly revoke_created?: boolean | null; };
    readonly data: RotateApiKeyResponse;
  };
  readonly "GET /v1/approvals": {
    readonly path: undefined;
    readonly query: { readonly status?: string; readonly limit?: number; readonly cursor?: string; };
    readonly body: undefined;
    readonly data: ListApprovalsResponse;
  };
  readonly "POST /v1/approvals/decisions": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: { readonly decisions: readonly ApprovalDecisionInput[]; readonly via?: string | null; };
    readonly data: DecideApprovalsResponse;
  };
  readonly "GET /v1/approvals/{approval_id}": {
    readonly path: { readonly approval_id: string; };
    readonly query: undefined;
    readonly body: undefined;
    readonly data: GetApprovalResponse;
  };
  readonly "POST /v1/approvals/{approval_id}/decision": {
    readonly path: { readonly approval_id: string; };
    readonly query: undefined;
    readonly body: { readonly approved: boolean; readonly reason?: string | null; readonly arguments?: Readonly<Record<string, unknown>> | null; readonly arguments_json?: string | null; readonly wait?: boolean | null; readonly via?: string | null; };
    readonly data: DecideApprovalResponse;
  };
  readonly "POST /v1/auth/login": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: { readonly email: string; readonly password: string; };
    readonly data: LoginResponse;
  };
  readonly "POST /v1/auth/logout": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly data: LogoutResponse;
  };
  readonly "GET /v1/auth/me": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly data: GetCurrentUserResponse;
  };
  readonly "POST /v1/auth/password": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: { readonly current_password: string; readonly new_password: string; };
    readonly data: ChangePasswordResponse;
  };
  readonly "POST /v1/auth/refresh": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: { readonly refresh_token: string; };
    readonly data: RefreshResponse;
  };
  readonly "POST /v1/auth/register": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: { readonly email: string; readonly password: string; readonly name?: string | null; readonly invite?: string | null; };
    readonly data: RegisterResponse;
  };
  readonly "GET /v1/auth/sessions": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly data: ListSessionsResponse;
  };
  readonly "DELETE /v1/auth/sessions/{session_id}": {
    readonly path: { readonly session_id: string; };
    readonly query: undefined;
    readonly body: undefined;
    readonly data: RevokeSessionResponse;
  };
  readonly "POST /v1/chat/completions": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: ChatCompletionRequest;
    readonly data: ChatCompletion;
  };
  readonly "GET /v1/conversations": {
    readonly path: undefined;
    readonly query: { readonly limit?: number; readonly cursor?: string; readonly q?: string; readonly agent_type?: string; readonly status?: string; readonly from?: string; readonly to?: string; readonly archived?: boolean; };
    readonly body: undefined;
    readonly data: ListConversationsResponse;
  };
  readonly "POST /v1/conversations": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: { readonly conversation_id?: string | null; readonly message: string; readonly agent_type?: string | null; readonly model?: string | null; readonly stream?: boolean | null; readonly concurrency?: string | null; readonly parts?: readonly MessagePartInput[] | null; };
    readonly data: CreateConversationResponse;
  };
  readonly "GET /v1/conversations/{conversation_id}": {
    readonly path: { readonly conversation_id: string; };
    readonly query: { readonly limit?: number; readonly content_limit?: number; };
    readonly body: undefined;
    readonly data: GetConversationResponse;
  };
  readonly "DELETE /v1/conversations/{conversation_id}": {
    readonly path: { readonly conversation_id: string; };
    readonly query: undefined;
    readonly body: undefined;
    readonly data: DeleteConversationResponse;
  };
  readonly "PATCH /v1/conversations/{conversation_id}": {
    readonly path: { readonly conversation_id: string; };
    readonly query: undefined;
    readonly body: { readonly title?: string | null; readonly tags?: readonly unknown[] | null; readonly archived?: boolean | null; };
    readonly data: UpdateConversationResponse;
  };
  readonly "POST /v1/conversations/{conversation_id}/approve": {
    readonly path: { readonly conversation_id: string; };
    readonly query: undefined;
    readonly body: { readonly approved: boolean; readonly reason?: string | null; };
    readonly data: ApproveConversationResponse;
  };
  readonly "POST /v1/conversations/{conversation_id}/fork": {
    readonly path: { readonly conversation_id: string; };
    readonly query: undefined;
    readonly body: { readonly before_sequence: number; };
    readonly data: ForkConversationResponse;
  };
  readonly "GET /v1/conversations/{conversation_id}/messages": {
    readonly path: { readonly conversation_id: string; };
    readonly query: { readonly limit?: number; readonly after?: number; readonly before?: number; readonly cursor?: string; readonly order?: string; readonly content_limit?: number; };
    readonly body: undefined;
    readonly data: ListMessagesResponse;
  };
  readonly "POST /v1/conversations/{conversation_id}/messages": {
    readonly path: { readonly conversation_id: string; };
    readonly query: undefined;
    readonly body: { readonly message: string; readonly agent_type?: string | null; readonly model?: string | null; readonly stream?: boolean | null; readonly concurrency?: string | null; readonly parts?: readonly MessagePartInput[] | null; };
    readonly data: SendMessageResponse;
  };
  readonly "GET /v1/conversations/{conversation_id}/messages/{sequence_number}/content": {
    readonly path: { readonly conversation_id: string; readonly sequence_number: number; };
    readonly query: { readonly part?: number; };
    readonly body: undefined;
    readonly data: undefined;
  };
  readonly "GET /v1/conversations/{conversation_id}/runs": {
    readonly path: { readonly conversation_id: string; };
    readonly query: { readonly status?: string; readonly limit?: number; readonly cursor?: string; readonly statuses?: readonly ("queued" | "running" | "waiting" | "completed" | "failed" | "cancelled" | "needs_review")[]; readonly agent_type?: string; readonly model?: string; readonly token_id?: string; readonly from?: string; readonly to?: string; readonly q?: string; readonly reason?: string; };
    readonly body: undefined;
    readonly data: ListRunsResponse;
  };
  readonly "POST /v1/conversations/{conversation_id}/runs": {
    readonly path: { readonly conversation_id: string; };
    readonly query: undefined;
    readonly body: { readonly message: string; readonly agent_type?: string | null; readonly model?: string | null; readonly concurrency?: string | null; readonly deadline_seconds?: number | null; readonly parts?: readonly MessagePartInput[] | null; };
    readonly data: CreateRunResponse;
  };
  readonly "GET /v1/events": {
    readonly path: undefined;
    readonly query: { readonly after?: string; };
    readonly body: undefined;
    readonly data: undefined;
  };
  readonly "GET /v1/inbox": {
    readonly path: undefined;
    readonly query: { readonly show?: string; readonly order?: string; readonly limit?: number; readonly cursor?: string; };
    readonly body: undefined;
    readonly data: ListInboxResponse;
  };
  readonly "GET /v1/info": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly data: GetInfoResponse;
  };
  readonly "GET /v1/models": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly data: ListModelsResponse;
  };
  readonly "GET /v1/runs": {
    readonly path: undefined;
    readonly query: { readonly conversation_id?: string; readonly status?: string; readonly limit?: number; readonly cursor?: string; readonly statuses?: readonly ("queued" | "running" | "waiting" | "completed" | "failed" | "cancelled" | "needs_review")[]; readonly agent_type?: string; readonly model?: string; readonly token_id?: string; readonly from?: string; readonly to?: string; readonly q?: string; readonly reason?: string; };
    readonly body: undefined;
    readonly data: ListRunsResponse;
  };
  readonly "POST /v1/runs": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: { readonly conversation_id?: string | null; readonly message: string; readonly agent_type?: string | null; readonly model?: string | null; readonly concurrency?: string | null; readonly deadline_seconds?: number | null; readonly parts?: readonly MessagePartInput[] | null; };
    readonly data: CreateRunResponse;
  };
  readonly "POST /v1/runs/cancel": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: { readonly ids: readonly string[]; };
    readonly data: CancelRunsResponse;
  };
  readonly "GET /v1/runs/{run_id}": {
    readonly path: { readonly run_id: string; };
    readonly query: { readonly include?: readonly "steps"[]; };
    readonly body: undefined;
    readonly data: GetRunResponse;
  };
  readonly "POST /v1/runs/{run_id}/cancel": {
    readonly path: { readonly run_id: string; };
    readonly query: undefined;
    readonly body: undefined;
    readonly data: CancelRunResponse;
  };
  readonly "GET /v1/runs/{run_id}/events": {
    readonly path: { readonly run_id: string; };
    readonly query: { readonly after?: string; readonly content_limit?: number; };
    readonly body: undefined;
    readonly data: undefined;
  };
  readonly "POST /v1/runs/{run_id}/retry": {
    readonly path: { readonly run_id: string; };
    readonly query: undefined;
    readonly body: undefined;
    readonly data: RetryRunResponse;
  };
  readonly "POST /v1/runs/{run_id}/review": {
    readonly path: { readonly run_id: string; };
    readonly query: undefined;
    readonly body: { readonly calls: readonly ReviewedCallInput[]; };
    readonly data: ReviewRunResponse;
  };
  readonly "GET /v1/runs/{run_id}/steps": {
    readonly path: { readonly run_id: string; };
    readonly query: { readonly limit?: number; readonly cursor?: string; };
    readonly body: undefined;
    readonly data: ListRunStepsResponse;
  };
  readonly "GET /v1/runs/{run_id}/wait": {
    readonly path: { readonly run_id: string; };
    readonly query: { readonly timeout_seconds?: number; };
    readonly body: undefined;
    readonly data: WaitRunResponse;
  };
  readonly "GET /v1/tools": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly data: ListToolsResponse;
  };
  readonly "POST /v1/tools/batch": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: readonly ToolCallInput[];
    readonly data: BatchExecuteToolsResponse;
  };
  readonly "POST /v1/tools/execute": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: ToolCallInput;
    readonly data: unknown;
  };
  readonly "POST /v1/tools/{tool_name}/try": {
    readonly path: { readonly tool_name: string; };
    readonly query: undefined;
    readonly body: { readonly arguments?: Readonly<Record<string, unknown>> | null; readonly arguments_json?: string | null; };
    readonly data: TryToolResponse;
  };
  readonly "GET /v1/usage": {
    readonly path: undefined;
    readonly query: { readonly start?: string; readonly end?: string; readonly group_by?: readonly ("day" | "model" | "credential")[]; };
    readonly body: undefined;
    readonly data: GetUsageResponse;
  };
  readonly "GET /v1/webhooks": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly data: ListWebhooksResponse;
  };
  readonly "POST /v1/webhooks": {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: { readonly url: string; readonly events?: readonly ("run.completed" | "run.failed" | "run.waiting" | "run.cancelled" | "run.needs_review")[] | null; readonly description?: string | null; };
    readonly data: CreateWebhookResponse;
  };
  readonly "GET /v1/webhooks/{webhook_id}": {
    readonly path: { readonly webhook_id: string; };
    readonly query: undefined;
    readonly body: undefined;
    readonly data: GetWebhookResponse;
  };
  readonly "DELETE /v1/webhooks/{webhook_id}": {
    readonly path: { readonly webhook_id: string; };
    readonly query: undefined;
    readonly body: undefined;
    readonly data: DeleteWebhookResponse;
  };
  readonly "PATCH /v1/webhooks/{webhook_id}": {
    readonly path: { readonly webhook_id: string; };
    readonly query: undefined;
    readonly body: { readonly url?: string | null; readonly events?: readonly ("run.completed" | "run.failed" | "run.waiting" | "run.cancelled" | "run.needs_review")[] | null; readonly description?: string | null; readonly enabled?: boolean | null; };
    readonly data: UpdateWebhookResponse;
  };
  readonly "GET /v1/webhooks/{webhook_id}/deliveries": {
    readonly path: { readonly webhook_id: string; };
    readonly query: { readonly status?: string; readonly limit?: number; readonly cursor?: string; };
    readonly body: undefined;
    readonly data: ListWebhookDeliveriesResponse;
  };
  readonly "GET /v1/webhooks/{webhook_id}/deliveries/{delivery_id}": {
    readonly path: { readonly webhook_id: string; readonly delivery_id: string; };
    readonly query: undefined;
    readonly body: undefined;
    readonly data: GetWebhookDeliveryResponse;
  };
  readonly "POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": {
    readonly path: { readonly webhook_id: string; readonly delivery_id: string; };
    readonly query: undefined;
    readonly body: undefined;
    readonly data: RedeliverWebhookResponse;
  };
  readonly "POST /v1/webhooks/{webhook_id}/rotate": {
    readonly path: { readonly webhook_id: string; };
    readonly query: undefined;
    readonly body: undefined;
    readonly data: RotateWebhookSecretResponse;
  };
  readonly "POST /v1/webhooks/{webhook_id}/test": {
    readonly path: { readonly webhook_id: string; };
    readonly query: undefined;
    readonly body: undefined;
    readonly data: TestWebhookResponse;
  };
}
