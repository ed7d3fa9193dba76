alter table auth.usage drop column estimated_tokens;
