-- How many of the requests were of a model without a price. A constant default: no row is rewritten, except those below.

alter table auth.usage add column unpriced_requests bigint not null default 0;

comment on column auth.usage.unpriced_requests is 'Of the requests, those that cost_micros leaves out: their model had no price.';

-- Earlier releases did not tell. The owner of the table has no policy of its own.
alter table auth.usage no force row level security;
update auth.usage set unpriced_requests = requests where cost_micros = 0 and prompt_tokens + completion_tokens > 0;
alter table auth.usage force row level security;
