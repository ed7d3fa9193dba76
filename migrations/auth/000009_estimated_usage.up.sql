alter table auth.usage add column estimated_tokens bigint not null default 0;

comment on column auth.usage.estimated_tokens is 'How many of the tokens were estimated, because the endpoint of the model did not count them or cannot have counted right.';
